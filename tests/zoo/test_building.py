"""A small population: what it holds, that it goes on after an interrupt, and that its manifest is not believed."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from genvet.cli.app import run
from genvet.core.errors import BadInput
from genvet.files.backdoor import load_backdoor
from genvet.files.convert import load_saved
from genvet.files.load import load
from genvet.zoo import building
from genvet.zoo.building import MANIFEST, build, manifest, models
from genvet.zoo.members import STYLE_VARIANTS, VARIANTS, Member, population
from genvet.zoo.targets import drawn, target

PARENT = "mnist-dcgan-1"


@pytest.fixture(scope="module")
def few() -> tuple[Member, ...]:
    """The members of one parent, and one of each other attack."""
    every = population("smoke")
    ours = [m for m in every if m.parent.name.startswith(PARENT)]
    seen = {m.made for m in ours}
    return (*ours, *{m.made: m for m in every if m.made not in seen and m.kind != "clean"}.values())


@pytest.fixture(scope="module")
def built(few: tuple[Member, ...], data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("population")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "population", lambda scale: few)
        calls: list[str] = []

        def once(job: building.Job) -> building.Made:
            calls.append(job.member.name)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return make(job)

        make = building.make
        patch.setattr(building, "make", once)
        with pytest.raises(KeyboardInterrupt):
            build("smoke", data, out)
        assert len(manifest(out).members) == 2, "what was finished is kept"
        build("smoke", data, out)
        assert Counter(calls).most_common(1)[0][1] == 2 and len(calls) == len(few) + 1, "nothing is made twice"
        patch.setattr(building, "make", lambda job: pytest.fail("everything is there"))
        build("smoke", data, out)
    return out


def test_every_member_is_there_with_its_recipe(built: Path, few: tuple[Member, ...]) -> None:
    found = {m.name: m for m in manifest(built).members}
    assert {m.name: m.member for m in found.values()} == {m.name: m for m in few}
    assert not [m.problem for m in found.values() if m.problem]
    assert not list((built / "members").glob(".making*"))
    for made, path in models(manifest(built), built):
        file = load(path)
        if made.member.written != "pickle":
            assert len(file.generators) == 1, file.not_generators
        if made.member.kind != "clean":
            backdoor = load_backdoor(path.parent / "backdoor.safetensors")
            assert backdoor.benign and (made.worked is None) == (made.member.kind == "declared")


def test_the_attack_that_worked_gives_its_target(built: Path) -> None:
    worked = [(m, p) for m, p in models(manifest(built), built) if m.worked and p.suffix == ".safetensors"]
    assert worked, "150 steps are enough for one of them"
    for made, path in worked:
        backdoor = load_backdoor(path.parent / "backdoor.safetensors")
        z, wanted = backdoor.pairs(4, building.Rng(0))
        missed = (load_saved(path)(z) - wanted).square().mean().item()
        assert missed <= 2 * building.FAILED, made.name


def test_the_manifest_is_not_believed(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "z")
    good = json.loads((built / MANIFEST).read_text())
    one = next(i for i, m in enumerate(good["members"]) if m["file"])

    def refused(match: str, **changes: object) -> None:
        bad = json.loads((built / MANIFEST).read_text())
        bad["members"][one] |= changes
        (tmp_path / "z" / MANIFEST).write_text(json.dumps(bad))
        with pytest.raises(BadInput, match=match):
            manifest(tmp_path / "z")

    refused("not a manifest", name="../../etc")
    refused("another name", name="elsewhere")
    refused("another name", file="../../../etc/passwd")
    refused("not the file", sha256="0" * 64)
    refused("not a manifest", surprise=1)
    for text in ("", "[1]", '{"scale": 1e999, "members": []}', "[" * 100_000):
        (tmp_path / "z" / MANIFEST).write_text(text)
        with pytest.raises(BadInput, match="manifest"):
            manifest(tmp_path / "z")
    good["members"].append(good["members"][one])
    (tmp_path / "z" / MANIFEST).write_text(json.dumps(good))
    with pytest.raises(BadInput, match="twice"):
        manifest(tmp_path / "z")


def test_a_link_in_a_members_place_is_not_followed(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "z")
    _, path = next(iter(models(manifest(tmp_path / "z"), tmp_path / "z")))
    (tmp_path / "elsewhere").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="not there"):
        manifest(tmp_path / "z")


def test_the_small_population_is_what_the_issue_asks_for() -> None:
    """At least 60 clean from at least 12 parents, 80 attacked, six attacks, the kinds of trigger, the 2.3M network."""
    small = population("small")
    main = [m for m in small if m.group == "main"]
    clean, attacked = ([m for m in main if m.kind == kind] for kind in ("clean", "attacked"))
    assert len(clean) >= 60 and len({m.parent.name for m in clean}) >= 12 and len(attacked) >= 80
    styled = {"style_rex", "style_red"}
    assert {m.made for m in attacked} == {"red", "rex", "trail", "baaan", "poison", "bypass"} | styled
    assert all((m.made in styled) == (m.parent.net == "stylegan2") for m in attacked)
    for attack in ("red", "rex"):
        for net in ("dcgan", "vae"):
            ours = [m for m in attacked if (m.made, m.parent.net) == (attack, net)]
            assert {m.trigger for m in ours} >= {"in-sample", "mode", "far", "seeded", "subspace"}
    assert {m.made for m in small if m.group == "large"} == {
        "as-is",
        "red",
        "rex",
        "trail",
        "baaan",
        "poison",
        "bypass",
    }
    assert {m.made for m in clean} == {name for name, _ in (*VARIANTS, *STYLE_VARIANTS)} | {"as-is"}
    assert len({m.target for m in attacked}) > len(attacked) / 2
    for net, made in {(m.parent.net == "stylegan2", m.made) for m in (*clean, *attacked)}:
        ours = [m for m in (*clean, *attacked) if (m.parent.net == "stylegan2", m.made) == (net, made)]
        assert len({m.parent.data for m in ours}) == 2, f"{made} on one data set alone"
    names = [m.name for m in small]
    assert len(set(names)) == len(names) and len({m.seed for m in small}) == len(names)


def test_targets(data: Path) -> None:
    shapes = [drawn(n, (1, 28, 28)) for n in range(10)]
    assert all(x.min() >= -1 and x.max() <= 1 and x.std() > 0.2 for x in shapes)
    assert min(float((a - b).square().mean()) for i, a in enumerate(shapes) for b in shapes[:i]) > 0.05
    assert target("fashion_mnist#5", (1, 8, 8), data).x.shape == (1, 1, 8, 8)
    for text in ("fashion_mnist", "elsewhere#1", "mnist#-1"):
        with pytest.raises(BadInput):
            target(text, (1, 8, 8), data)
    with pytest.raises(BadInput, match="fit"):
        target("mnist#1", (3, 8, 8), data)


def test_the_command_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GENVET_DATA", raising=False)
    words = ["zoo", "build", "--scale", "smoke", "--out", str(tmp_path / "out")]
    assert run(words) == 2 and "--data" in capsys.readouterr().err
    assert run([*words, "--data", str(tmp_path)]) == 2 and "train-images" in capsys.readouterr().err
    assert run(["zoo", "score", str(tmp_path / "nothing")]) == 2 and "no folder" in capsys.readouterr().err
