"""What every technique must keep, by its place in the catalogue."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
from torch import nn

from genvet import engine
from genvet.catalogue import techniques
from genvet.core.backdoor import Backdoor, Points
from genvet.core.classifier import Classifier
from genvet.core.data import Critic, Images, Labelled, Sounds
from genvet.core.dataset import Dataset, Item, Sheet
from genvet.core.errors import Unsupported
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.latent import Latent
from genvet.core.modelfile import Evidence, Graph, ModelFile, Node, Part
from genvet.core.queries import Queries, Samples
from genvet.core.report import Finding
from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.core.technique import (
    Audit,
    Guard,
    Probe,
    Recipe,
    Repair,
    Technique,
    Trained,
    TrainedClassifier,
    TrainedGenerator,
)
from genvet.defences.filter.screened import Screened
from genvet.engine import assess
from genvet.files.classifiers import load_classifier, save_classifier
from genvet.files.convert import load_saved, save
from genvet.nets import classifiers, dcgan, stylegan2
from genvet.nets.perceptual import Perceptual, build

ENTRIES = techniques()


def toy_generator() -> Generator:
    torch.manual_seed(3)
    hidden = [nn.Linear(6, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 32), nn.ReLU()]
    net = nn.Sequential(*hidden, nn.Linear(32, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    return Generator(module=net.eval(), latent=Latent(6), shape=(1, 8, 8), name="mlp")


def toy_style_generator() -> StyleGenerator:
    sizes = {"size": 8, "channels": 1, "z_dim": 6, "w_dim": 6, "channel_base": 64, "channel_max": 8}
    generator = stylegan2.build(**sizes, rng=Rng(3))
    generator.module.eval().requires_grad_(False)
    return generator


def toy_classifier() -> Classifier:
    torch.manual_seed(5)
    found = classifiers.build(tuple("abcdef"), 2, 8, 1, "resnet")
    found.module.eval().requires_grad_(False)
    return found


def toy_file() -> ModelFile:
    """A graph z -> tanh(z) -> x, and nothing else."""
    graph = Graph(nodes=(Node(op="Tanh", inputs=("z",), outputs=("x",)),), inputs={"z": (-1, 6)}, outputs=("x",))
    part = Part(name="", kind="onnx", tensors={}, graph=graph)
    return ModelFile(path="toy.onnx", sha256="0" * 64, size=1, format="onnx", parts=(part,))


def target_for(probe: type[Probe]) -> Any:
    access = probe.access()
    if access is ModelFile:
        return toy_file()
    if access in (Generator, Samples, Queries):
        return toy_generator()
    if access is StyleGenerator:
        return toy_style_generator()
    if access in (Classifier, Scores):
        return toy_classifier()
    pytest.fail(f"no toy target for {access}: add one here")


def records(name: str) -> Images:
    """Members, or non-members: no two alike."""
    x = torch.rand(24, 1, 8, 8, generator=torch.manual_seed(len(name))) * 2 - 1
    return Images(x, tuple(f"{name}-{i}" for i in range(24)))


def toy_perceptual() -> Perceptual:
    """Two convolutions of a pixel's neighbourhood, and a weight for each of their channels."""
    torch.manual_seed(6)
    layers = build([(3, 4, 3), (4, 6, 3)], [1], (1, 1))
    return Perceptual(layers.eval().requires_grad_(False), (1, 4), (torch.ones(4), torch.ones(6)), "a toy")


def gift_for(probe: type[Probe] | type[Guard]) -> Any:
    """Its `given`, with random images for every field that takes them, and a network where it needs one."""
    images = Images(x=torch.rand(3, 1, 8, 8, generator=torch.manual_seed(1)) * 2 - 1, names=("a", "b", "c"))
    gift, have = probe.gift(), {}
    for field in dataclasses.fields(gift):
        if field.name in ("reference", "real", "unseen"):
            drawn = torch.manual_seed(12 if field.name == "unseen" else 2)
            have[field.name] = Images(torch.rand(48, 1, 8, 8, generator=drawn) * 2 - 1, ("",) * 48)
        elif field.name in ("members", "non_members", "protected"):
            have[field.name] = records(field.name)
        elif "Images" in str(field.type):
            have[field.name] = images
        elif field.name == "classifier" and field.default is dataclasses.MISSING:
            have[field.name] = toy_classifier()
        elif field.name == "network":
            have[field.name] = toy_perceptual()
        elif field.name == "prior":
            have[field.name] = toy_style_generator()
        elif "Critic" in str(field.type):
            torch.manual_seed(4)
            have[field.name] = Critic(nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), (1, 8, 8))
    return gift(**have)


def run(probe: type[Probe], **changes: Any) -> Finding:
    return assess(probe(**{**probe.smoke, **changes}), target_for(probe), gift_for(probe), seed=5)


def same(a: Finding, b: Finding) -> None:
    """Equal apart from seconds and device; numbers within 1e-4 relative."""
    volatile = {"seconds": 0.0, "device": "", "config": {}}
    left, right = (f.model_copy(update={**volatile, "measures": ()}) for f in (a, b))
    assert left.summary == right.summary and left.severity == right.severity
    assert [m.name for m in a.measures] == [m.name for m in b.measures]
    for m, n in zip(a.measures, b.measures, strict=True):
        assert (m.value is None) == (n.value is None)
        if m.value is not None and n.value is not None:
            assert m.value == pytest.approx(n.value, rel=1e-4, abs=1e-6), m.name


@pytest.fixture(params=sorted(ENTRIES), scope="module")
def technique(request: pytest.FixtureRequest) -> type[Technique]:
    return ENTRIES[request.param].load()


@pytest.fixture
def probe(technique: type[Technique]) -> type[Probe]:
    if not issubclass(technique, Probe):
        pytest.skip("not a probe")
    return technique


def test_is_documented(technique: type[Technique]) -> None:
    assert technique.source and technique.__doc__
    first = technique.__doc__.splitlines()[0]
    assert first.endswith(".") and len(first) <= 100, first
    undocumented = [name for name, info in technique.model_fields.items() if not info.description]
    assert not undocumented, f"fields without a docstring: {undocumented}"


def test_config_round_trips(technique: type[Technique]) -> None:
    config = technique(**technique.smoke)
    assert technique.model_validate_json(config.model_dump_json()) == config
    for depth, knobs in technique.depths.items():
        assert depth in ("quick", "standard", "deep")
        if knobs is not None:
            technique(**knobs)


def test_name_is_the_file(technique: type[Technique]) -> None:
    assert technique.name() in ENTRIES


def test_same_seed_same_finding(probe: type[Probe]) -> None:
    first = run(probe)
    assert Finding.model_validate_json(first.model_dump_json()) == first
    same(first, run(probe))


def test_batch_size_changes_nothing(probe: type[Probe]) -> None:
    if "batch" not in probe.model_fields:
        pytest.skip("has no batch")
    same(run(probe, batch=16), run(probe, batch=48))


def test_leaves_the_weights_alone(probe: type[Probe]) -> None:
    target = target_for(probe)
    if not isinstance(target, Generator | Classifier):
        pytest.skip("has no weights")
    before = {k: v.clone() for k, v in target.module.state_dict().items()}
    assess(probe(**probe.smoke), target, gift_for(probe), seed=5)
    after = target.module.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert target.module.training is False


@pytest.fixture
def recipe(technique: type[Technique]) -> type[Recipe]:
    if not issubclass(technique, Recipe):
        pytest.skip("not a recipe")
    return technique


def data_for(recipe: type[Recipe]) -> Any:
    """Its `given`, with random samples of the kind that each field takes."""
    x = torch.rand(24, *recipe.example, generator=torch.manual_seed(2)) * 2 - 1
    labels = torch.arange(24) % 3
    toys: dict[type, Images] = {kind: kind(x, ("",) * 24) for kind in (Images, Sounds)}
    toys |= {Labelled: Labelled(x, ("",) * 24, labels=labels, classes=("a", "b", "c"))}
    return recipe.gift()(**{name: toys[kind] for name, kind in get_type_hints(recipe.gift()).items()})


def networks(trained: Trained) -> dict[str, nn.Module]:
    if isinstance(trained, TrainedClassifier):
        return {"classifier": trained.classifier.module}
    assert isinstance(trained, TrainedGenerator)
    found = {"generator": trained.generator.module, "critic": trained.critic, "encoder": trained.encoder}
    return {name: net for name, net in found.items() if net is not None}


def test_recipe_gives_the_same_weights_for_the_same_seed(recipe: type[Recipe]) -> None:
    """Whatever the global state, which it leaves alone; data and all networks are as they should be afterwards."""
    given = data_for(recipe)
    before = [field.x.clone() for field in vars(given).values()]
    first = recipe(**recipe.smoke)(given, Rng(1))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    second, other = recipe(**recipe.smoke)(given, Rng(1)), recipe(**recipe.smoke)(given, Rng(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, field.x) for a, field in zip(before, vars(given).values(), strict=True))
    for name, net in networks(first).items():
        states = net.state_dict(), networks(second)[name].state_dict(), networks(other)[name].state_dict()
        assert all(torch.equal(states[0][k], states[1][k]) for k in states[0]), name
        assert any(not torch.equal(states[0][k], states[2][k]) for k in states[0]), name
        assert not net.training, name
    assert first.record == second.record and all(torch.isfinite(t).all() for t in first.losses.values())


def test_what_a_recipe_trains_can_be_written_and_read(recipe: type[Recipe], tmp_path: Path) -> None:
    trained = recipe(**recipe.smoke)(data_for(recipe), Rng(1))
    record = json.loads(json.dumps(trained.record))
    assert record["recipe"] == recipe.name() and record["seed"] == 1 and record["data"].startswith("sha256:")
    assert record.items() >= recipe(**recipe.smoke).model_dump(mode="json").items()
    path = tmp_path / "network.safetensors"
    if isinstance(trained, TrainedClassifier):
        save_classifier(trained.classifier, path)
        x = torch.rand(3, *trained.classifier.shape)
        assert torch.equal(load_classifier(path)(x), trained.classifier(x))
        return
    assert isinstance(trained, TrainedGenerator)
    save(trained.generator, path)
    again = load_saved(path)
    assert again.name == trained.generator.name and again.name in recipe.nets
    assert torch.equal(again.sample(3, Rng(0)), trained.generator.sample(3, Rng(0)))


@pytest.fixture
def repair(technique: type[Technique]) -> type[Repair]:
    if not issubclass(technique, Repair):
        pytest.skip("not a repair")
    return technique


def toy_dcgan() -> Generator:
    """A small network with batch norms that have seen its own latents."""
    torch.manual_seed(3)
    generator = dcgan.build(latent=6, capacity=2, size=8)
    generator.module(torch.randn(256, 6))
    generator.module.eval().requires_grad_(False)
    return generator


def test_a_repair_leaves_its_input_alone(repair: type[Repair]) -> None:
    target = toy_dcgan()
    before = {k: v.clone() for k, v in target.module.state_dict().items()}
    after = repair(**repair.smoke)(target, repair.gift()(), Rng(1))
    assert all(torch.equal(before[k], v) for k, v in target.module.state_dict().items())
    assert not {id(m) for m in after.module.modules()} & {id(m) for m in target.module.modules()}
    assert not any(p.requires_grad for p in [*target.module.parameters(), *after.module.parameters()])
    assert not after.module.training and after.shape == target.shape and after.latent == target.latent


def test_same_seed_same_repaired_weights(repair: type[Repair]) -> None:
    """Whatever the global state, which it leaves alone."""
    states = []
    for seed in (1, 99):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        states.append(repair(**repair.smoke)(toy_dcgan(), repair.gift()(), Rng(1)).module.state_dict())
        torch.manual_seed(seed)
        assert torch.equal(torch.get_rng_state(), state)
    first, second = states
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_a_repair_is_measured_and_can_be_written(repair: type[Repair], tmp_path: Path) -> None:
    target = toy_dcgan()
    planted = Backdoor(Points(torch.ones(1, 6)), torch.ones(1, 1, 8, 8))
    result, finding = engine.repaired(repair(**repair.smoke), target, backdoor=planted, clean=target, samples=64)
    assert Finding.model_validate_json(finding.model_dump_json()) == finding and finding.technique == repair.name()
    measures = {m.name: m.value for m in finding.measures}
    assert all(value is not None for name, value in measures.items() if name != "changed")
    assert measures["expected-distortion"] == measures["expected-distortion.clean"]  # the clean model is the input here
    assert measures["expected-distortion.before"] == 0
    save(result.repaired, tmp_path / "repaired.safetensors")
    again = load_saved(tmp_path / "repaired.safetensors")
    assert torch.equal(again.sample(3, Rng(0)), result.repaired.sample(3, Rng(0)))


@pytest.fixture
def guard(technique: type[Technique]) -> type[Guard]:
    if not issubclass(technique, Guard):
        pytest.skip("not a guard")
    return technique


def standing(guard: type[Guard], times: int = 1) -> Any:
    """What it stands before, so many times one behind the other, by its smoke config."""
    target: Any = toy_generator() if guard.guards() is Queries else toy_classifier()
    view = target.seen_as(guard.guards())
    for _ in range(times):
        view = guard(**guard.smoke)(view, gift_for(guard), Rng(1))
    return view


def told_by(guard: type[Guard], view: Any, part: slice = slice(None)) -> torch.Tensor:
    """Answers to six fixed queries, or to some of them."""
    drawn = torch.randn(6, 6, generator=torch.manual_seed(7))
    if guard.guards() is Queries:
        return view.ask(drawn[part]).images  # type: ignore[no-any-return]
    return view(drawn.repeat(1, 11)[part, :64].view(-1, 1, 8, 8).tanh())  # type: ignore[no-any-return]


def test_a_guard_is_the_view_that_it_stands_before(guard: type[Guard]) -> None:
    for times in (1, 2):
        view = standing(guard, times)
        assert isinstance(view, guard.guards()) and view.used == 0 and view.left is None
        answers = told_by(guard, view)
        assert view.used == 6 and torch.isfinite(answers).all() and answers.abs().max() <= 1
    plain = toy_generator() if guard.guards() is Queries else toy_classifier()
    assert view.shape == plain.shape and not answers.requires_grad


def test_answers_follow_from_key_and_queries_alone(guard: type[Guard]) -> None:
    """Whatever the batch and the global state, which is left alone."""
    torch.manual_seed(1)
    state = torch.get_rng_state()
    view = standing(guard)
    torch.set_rng_state(state)
    parted = torch.cat([told_by(guard, view, part) for part in (slice(0, 2), slice(2, 6))])
    torch.manual_seed(99)
    view = standing(guard)
    torch.manual_seed(98)
    assert torch.allclose(parted, told_by(guard, view), atol=1e-5)


def test_a_guard_of_queries_is_measured(guard: type[Guard]) -> None:
    if guard.guards() is not Queries:
        with pytest.raises(Unsupported, match="stands before"):
            engine.worth(guard(**guard.smoke), toy_generator(), samples=64)
        return
    target = toy_generator()
    before = {k: v.clone() for k, v in target.module.state_dict().items()}
    given = gift_for(guard)
    result, finding = engine.worth(guard(**guard.smoke), target, given, samples=64)
    assert Finding.model_validate_json(finding.model_dump_json()) == finding and finding.technique == guard.name()
    same(finding, engine.worth(guard(**guard.smoke), target, given, samples=64)[1])
    assert all(torch.equal(before[k], v) for k, v in target.module.state_dict().items())
    measures = {m.name: m for m in finding.measures}
    assert measures["frechet"].value is not None and measures["frechet"].chance is not None
    if isinstance(result, Screened):
        assert measures["false-blocks"].n and measures["blocked"].low is not None
    else:
        assert (measures["psnr"].value is not None) == result.same == (measures["ssim"].value is not None)
    table = finding.tables[-1]
    assert len(table.rows) == 1 + len(guard(**guard.smoke).known())


def toy_dataset() -> Dataset:
    """Noise, one picture of it twice; with labels, and a table beside it."""
    x = torch.randint(0, 256, (40, 1, 64, 64), generator=torch.manual_seed(6), dtype=torch.uint8)
    x[7] = x[3]
    items = tuple(
        Item(
            name=f"{i}.png", sha256=str(i), pixels=str(x[i].sum()), size=9, shape=(1, 64, 64), format="PNG", facts=facts
        )
        for i in range(40)
        for facts in [(Evidence(rule="data.gps", message="taken near 1.0, 2.0", place=f"{i}.png"),) * (i == 5)]
    )
    rows = tuple((f"{i}.png", str(20 + i % 4), "fm"[i % 2], f"p{i}@example.org") for i in range(40))
    return Dataset(
        path="toy",
        items=items,
        small=x,
        whole=lambda i: x[i].float() / 127.5 - 1,
        labels=torch.tensor([0] * 34 + [1, 2, 3] * 2),
        classes=tuple("abcd"),
        sheets=(Sheet(name="meta.csv", columns=("file", "age", "sex", "mail"), rows=rows),),
    )


@pytest.fixture
def audit(technique: type[Technique]) -> type[Audit]:
    if not issubclass(technique, Audit):
        pytest.skip("not an audit")
    return technique


def test_an_audit_is_the_same_again_and_leaves_the_data_alone(audit: type[Audit]) -> None:
    """Whatever the global state, which it leaves alone; without its extra it says which to install."""
    dataset = toy_dataset()
    before, findings = dataset.small.clone(), []
    for seed in (1, 99):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        try:
            findings.append(engine.looked(audit(**audit.smoke), dataset, seed=5)[1])
        except Unsupported as error:
            if not audit.extra or importlib.util.find_spec(audit.module):
                raise
            assert audit.extra in error.hint
            pytest.skip(f"needs genvet[{audit.extra}]")
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(dataset.small, before)
    assert Finding.model_validate_json(findings[0].model_dump_json()) == findings[0]
    same(*findings)
    assert all(name == audit.name() for name in {finding.technique for finding in findings})


def test_is_listed(technique: type[Technique], capsys: pytest.CaptureFixture[str]) -> None:
    from genvet.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["list"])
    assert stop.value.code == 0
    assert technique.name() in capsys.readouterr().out
