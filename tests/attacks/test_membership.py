"""Membership on planted truth: what memorised is caught, what never saw either set is not, and what cannot be told."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from genvet.attacks.membership import critic_score, density_ratio, latent_recovery, nearest, reconstruction, shadow
from genvet.attacks.membership import latent_recovery_black_box as black_box
from genvet.attacks.membership.copying import Copying
from genvet.attacks.membership.critic_score import CriticScore
from genvet.attacks.membership.density_ratio import DensityRatio
from genvet.attacks.membership.exposed import Exposed
from genvet.attacks.membership.latent_recovery import LatentRecovery
from genvet.attacks.membership.latent_recovery_black_box import LatentRecoveryBlackBox
from genvet.attacks.membership.monte_carlo import MonteCarlo
from genvet.attacks.membership.nearest import Nearest
from genvet.attacks.membership.reconstructed import Reconstructed
from genvet.attacks.membership.reconstruction import Reconstruction
from genvet.attacks.membership.records import Seen
from genvet.cli import main
from genvet.core.data import Critic, Images, Split
from genvet.core.errors import BadInput, BudgetSpent, Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.queries import Gallery, Queries, Samples
from genvet.core.rng import Rng
from genvet.files.convert import save
from genvet.files.splits import load_split
from genvet.maths import shadow_signals
from genvet.maths.membership import auc
from genvet.nets import classifiers, dcgan, stylegan1, stylegan2, stylegan3
from genvet.nets.nearest_samples import nearest_samples
from genvet.nets.spaces import pixels
from genvet.training import adversarial
from genvet.training.shadows import kept_in


def blobs(n: int, seed: int) -> Images:
    """Two blobs each, and noise: no two alike."""
    rng = Rng(seed, "blobs").block()
    y, x = torch.meshgrid(torch.linspace(-1, 1, 8), torch.linspace(-1, 1, 8), indexing="ij")
    at, wide = 1.4 * torch.rand(n, 2, 2, 1, 1, generator=rng) - 0.7, 0.1 + 0.4 * torch.rand(n, 2, 1, 1, generator=rng)
    drawn = (-((x - at[:, :, 0]).square() + (y - at[:, :, 1]).square()) / wide).exp().amax(1, keepdim=True)
    noise = torch.randn(n, 1, 8, 8, generator=rng)
    return Images((2 * drawn - 1 + 0.4 * noise).clamp(-1, 1), tuple(f"{seed}-{i}" for i in range(n)))


MEMBERS, OTHERS, UNSEEN = blobs(64, 1), blobs(256, 2), blobs(200, 3)


class Memory(nn.Module):
    """Gives one of the images that it holds, a little off."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.register_buffer("x", x)

    def forward(self, z: Tensor) -> Tensor:
        return self.x[z[:, : len(self.x)].argmax(1)] + 0.05 * z[:, -1].view(-1, 1, 1, 1)  # type: ignore[index]


def memoriser(images: Images) -> Generator:
    return Generator(module=Memory(images.x).eval(), latent=Latent(len(images) + 1), shape=(1, 8, 8), name="memory")


def stranger() -> Generator:
    """Makes such images, and never saw one of either set."""
    return memoriser(blobs(900, 9))


@cache
def overfitted() -> Critic:
    """Learned by heart which 64 images are real, against fresh ones of the same kind."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.LeakyReLU(), nn.Linear(96, 1))
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    for step in range(250):
        fake = blobs(64, 100 + step).x
        loss = nn.functional.softplus(-module(MEMBERS.x)).mean() + nn.functional.softplus(module(fake)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Critic(module.eval(), (1, 8, 8))


def measured(found: Exposed | Reconstructed, name: str) -> float:
    return next(m.value for m in found.measures() if m.name == name)  # type: ignore[return-value]


def by_critic(members: Images, others: Images, **knobs: object) -> Exposed:
    given = critic_score.Given(members=members, non_members=others, unseen=UNSEEN, critic=overfitted())
    return CriticScore(**knobs)(stranger().seen_as(Samples), given, Rng(0))  # type: ignore[arg-type]


def by_nearest(target: Generator, reference: Generator | None = None, **knobs: object) -> Exposed:
    given = nearest.Given(members=MEMBERS, non_members=OTHERS, unseen=UNSEEN, reference_model=reference)
    return Nearest(samples=3000, **knobs)(target.seen_as(Samples), given, Rng(0))  # type: ignore[arg-type]


def test_a_critic_that_learned_by_heart_gives_its_members_away() -> None:
    found = by_critic(MEMBERS, OTHERS)
    assert found.first.auc > 0.9 and found.first.interval.low > 0.85 and found.first.p_holm < 1e-6
    assert found.first.decisions.accuracy > 0.8 and found.first.decisions.accuracy_interval.low > 0.6
    assert found.first.permuted[0] == pytest.approx(0.5, abs=0.02)
    low, high = found.first.unseen[1]  # type: ignore[index]
    assert low < 0.5 < high
    assert "are told from non-members" in found.summary()


def test_where_neither_set_was_seen_nothing_is_told() -> None:
    for found in (by_critic(blobs(200, 5), OTHERS), by_nearest(stranger(), stranger()), by_nearest(stranger())):
        for signal in found.signals.values():
            assert signal.interval.low < 0.5 < signal.interval.high and signal.p_holm > 0.05
        assert found.summary().startswith("No member is told from non-members")


def test_a_generator_that_memorised_is_caught_by_its_samples_and_shows_whom_it_holds() -> None:
    found = by_nearest(memoriser(MEMBERS), stranger())
    assert [round(s.auc, 2) for s in found.signals.values()] == [1.0, 1.0]
    assert found.first.interval.high == 1.0 and 0.95 < found.first.interval.low < 1
    off = (found.beside["nearest sample"][:64].clamp(-1, 1) - MEMBERS.x).flatten(1).norm(dim=1)
    assert torch.allclose(off.double(), -found.first.score[:64], atol=1e-4)
    table = found.tables()[1]
    assert all(row[2] == 0 and str(row[0]).startswith("1-") for row in table.rows)


def test_samples_pass_by_in_parts_and_give_the_nearest_of_all() -> None:
    records, target = MEMBERS.x[:9], stranger().seen_as(Samples)
    found = nearest_samples(target, records, pixels(), 1000, Rng(1), part=256)
    parts = [target.sample(n, Rng(1).fork(str(i))) for i, n in enumerate((256, 256, 256, 232))]
    apart = torch.cdist(records.flatten(1).double(), torch.cat(parts).clamp(-1, 1).flatten(1).double())
    assert torch.equal(found.number, apart.argmin(1))
    assert torch.allclose(found.distance, apart.amin(1), atol=1e-6)
    assert torch.equal(found.x, torch.cat(parts)[found.number])


def test_a_budget_that_ends_midway_leaves_what_was_measured() -> None:
    given = nearest.Given(members=MEMBERS, non_members=OTHERS)
    found = Nearest(samples=20_000)(memoriser(MEMBERS).seen_as(Samples, budget=5000), given, Rng(0))
    assert found.asked == 5000 and found.first.auc > 0.99 and "ended after 5000" in found.summary()
    with pytest.raises(BudgetSpent):
        Nearest(samples=100)(memoriser(MEMBERS).seen_as(Samples, budget=0), given, Rng(0))


SETS: dict[str, Any] = {"members": MEMBERS, "non_members": OTHERS}


def samplers() -> dict[str, tuple[Any, Any]]:
    """Every attack that takes samples alone, each asking for more than it will be given."""
    recipe = "adversarial:steps=2,batch=8,capacity=2,latent=4"
    return {
        "nearest": (Nearest(samples=9000), nearest.Given(**SETS)),
        "monte carlo": (MonteCarlo(samples=9000), Seen(**SETS)),
        "density": (DensityRatio(samples=9000), density_ratio.Given(**SETS, reference=blobs(600, 11))),
        "copying": (Copying(samples=9000, cells=2), Seen(**SETS)),
        "critic": (CriticScore(samples=9000), critic_score.Given(**SETS, critic=overfitted())),
        "shadow": (shadow.Shadow(recipe=recipe, shadows=2, samples=9000), shadow.Given(**SETS)),
    }


class Silent(Gallery):
    """Refuses at the end of its budget, and never says what is left of it."""

    left = None  # type: ignore[assignment]


@pytest.mark.parametrize("name", samplers())
def test_a_budget_that_ends_midway_leaves_what_any_attack_was_given(name: str) -> None:
    """As far as the budget goes, and by whole parts where the target does not say how far that is."""
    attack, given = samplers()[name]
    view = memoriser(MEMBERS).seen_as(Samples, budget=5000)
    found = attack(view, given, Rng(0))
    assert found.queries == view.used == 5000 and "ended after 5000 of 9000 samples" in found.summary()
    view = Silent(memoriser(MEMBERS), 5000)
    found = attack(view, given, Rng(0))
    assert found.queries == view.used < 5000 and ("ended after 4096" in found.summary()) != (name == "critic")
    view = memoriser(MEMBERS).seen_as(Samples, budget=0)
    if name == "critic":  # its scores rest on no sample
        assert attack(view, given, Rng(0)).first.auc > 0.9
    else:
        with pytest.raises(BudgetSpent):
            attack(view, given, Rng(0))


@pytest.mark.parametrize("off", [0.0, 0.01])
def test_a_record_of_both_sets_is_refused_by_name(off: float) -> None:
    twice = Images(torch.cat([OTHERS.x, MEMBERS.x[7:8] + off]), (*OTHERS.names, "copy"))
    with pytest.raises(BadInput, match=r"copy is (nearly )?1-7"):
        by_critic(MEMBERS, twice)


def test_false_alarms_take_enough_non_members() -> None:
    with pytest.raises(BadInput, match="1000 or more"):
        by_critic(MEMBERS, OTHERS, fpr=0.01)
    found = by_critic(MEMBERS, blobs(1000, 4))
    assert measured(found, "tpr-at-0.01") > 0.3 and found.first.caught[0.001] is None
    with pytest.raises(BadInput, match="--split"):
        CriticScore()(stranger().seen_as(Samples), critic_score.Given(members=MEMBERS, critic=overfitted()), Rng(0))


def test_people_are_drawn_as_wholes() -> None:
    """The same scores say less where they are of few people."""
    people = (torch.arange(64) // 16, 10 + torch.arange(256) // 64)
    alone = by_critic(MEMBERS, OTHERS).first.interval
    given = critic_score.Given(split=Split(MEMBERS, OTHERS, people), critic=overfitted())
    found = CriticScore(samples=0)(stranger().seen_as(Samples), given, Rng(0))
    assert found.first.interval.high - found.first.interval.low != alone.high - alone.low
    assert "No person is in both sets" in found.summary()
    shared = Split(MEMBERS, OTHERS, (people[0], people[1] - 10))
    found = CriticScore(samples=0)(
        stranger().seen_as(Samples), critic_score.Given(split=shared, critic=overfitted()), Rng(0)
    )
    assert "4 of 4 persons are in both sets" in found.summary()


def smooth(images: Images, seed: int = 0) -> Generator:
    """A small network that was trained to give these images at known latents: its loss there is near nothing."""
    torch.manual_seed(seed)
    z = torch.randn(len(images), 16)
    module = nn.Sequential(nn.Linear(16, 128), nn.LeakyReLU(), nn.Linear(128, 64), nn.Unflatten(1, (1, 8, 8)))
    optimiser = torch.optim.Adam(module.parameters(), 5e-3)
    for _ in range(400):
        loss = (module(z) - images.x).square().flatten(1).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Generator(module=module.eval(), latent=Latent(16), shape=(1, 8, 8), name="smooth")


FEW, REST = Images(MEMBERS.x[:32], MEMBERS.names[:32]), Images(OTHERS.x[:64], OTHERS.names[:64])


def recovered(target: Generator, **knobs: object) -> Exposed:
    given = latent_recovery.Given(members=FEW, non_members=REST, reference_model=smooth(blobs(32, 8), 1))
    return LatentRecovery(restarts=4, steps=150, **knobs)(target, given, Rng(0))  # type: ignore[arg-type]


def test_what_was_learned_by_heart_is_recovered_from_a_latent() -> None:
    found = recovered(smooth(FEW))
    assert all(s.auc > 0.9 for s in found.signals.values()), {n: s.auc for n, s in found.signals.items()}
    off = (found.beside["recovered"] - found.cohort.x).square().flatten(1).sum(1)
    assert torch.allclose(off.double(), -found.first.score, rtol=1e-3, atol=1e-3)
    alone = recovered(smooth(blobs(32, 7)))
    assert alone.first.interval.low < 0.5 < alone.first.interval.high


def test_queries_alone_recover_it_too_and_cost_what_is_said() -> None:
    target = smooth(FEW).seen_as(Queries)
    given = black_box.Given(members=FEW, non_members=REST)
    found = LatentRecoveryBlackBox(samples=1000, steps=40, pairs=12)(target, given, Rng(0))  # type: ignore[arg-type]
    assert found.first.auc > 0.9 and found.asked == target.used == 1000 + 96 * 40 * 24
    less = LatentRecoveryBlackBox(samples=1000, steps=0)(smooth(FEW).seen_as(Queries), given, Rng(0))  # type: ignore[arg-type]
    assert (
        bool((found.first.score >= less.first.score).all()) and found.first.score.mean() > 0.7 * less.first.score.mean()
    )
    poor = smooth(FEW).seen_as(Queries, budget=5000)
    found = LatentRecoveryBlackBox(samples=1000, steps=40, pairs=12)(poor, given, Rng(0))  # type: ignore[arg-type]
    assert found.asked <= 5000 and "budget ended" in found.summary()
    poor = smooth(FEW).seen_as(Queries, budget=300)
    found = LatentRecoveryBlackBox(samples=1000, steps=40, pairs=12)(poor, given, Rng(0))  # type: ignore[arg-type]
    assert found.asked == 300, "less than a batch is asked for, too"


def test_density_over_that_of_the_world_tells_whom_a_generator_holds() -> None:
    """Far from all samples, densities are too small for any number; their logarithms still rank."""
    given = density_ratio.Given(members=MEMBERS, non_members=OTHERS, reference=blobs(600, 11))
    found = DensityRatio(samples=3000, directions=16)(memoriser(MEMBERS).seen_as(Samples), given, Rng(0))
    assert found.first.auc > 0.75 and found.first.p_holm < 1e-4
    alone = DensityRatio(samples=3000)(stranger().seen_as(Samples), given, Rng(0))
    assert alone.first.interval.low < 0.5 < alone.first.interval.high
    among = density_ratio.Given(members=MEMBERS, non_members=OTHERS, reference=OTHERS)
    with pytest.raises(BadInput, match="2-0"):
        DensityRatio()(stranger().seen_as(Samples), among, Rng(0))


def test_whole_sets_are_told_better_than_records() -> None:
    """Of 200 samples, half of the members have none near by; of a set of 16, hardly ever all."""
    given = Seen(members=MEMBERS, non_members=OTHERS)
    found = MonteCarlo(samples=60, size=16)(memoriser(MEMBERS).seen_as(Samples), given, Rng(0))
    assert found.sets is not None and found.sets[:2] == (20, 16)
    assert found.sets[2] > found.first.auc > 0.5 and measured(found, "sets.auc") == found.sets[2]
    alone = MonteCarlo(samples=2000, size=16)(stranger().seen_as(Samples), given, Rng(0))
    assert alone.first.interval.low < 0.5 < alone.first.interval.high


def test_shadows_tell_records_that_look_like_members_to_any_model() -> None:
    """Easy records score high in every model: only beside the shadows does what the target learned stand out."""
    rng = Rng(0, "signals").block()
    easy, inside = 3 * torch.randn(400, generator=rng), torch.rand(16, 400, generator=rng) < 0.5
    signal = easy + 1.5 * inside.float() + torch.randn(16, 400, generator=rng)
    mine = torch.arange(400) < 200
    target = easy + 1.5 * mine.float() + torch.randn(400, generator=rng)
    plain = auc(target[mine], target[~mine])
    idle = shadow_signals.standardised(easy + torch.randn(400, generator=rng))
    target, signal = shadow_signals.standardised(target), shadow_signals.standardised(signal)
    ways = [
        shadow_signals.likelihood_ratio(target, signal, inside),
        shadow_signals.above_outside(target, signal, inside),
        shadow_signals.relative(target, signal, inside),
        shadow_signals.relative(target, signal, inside, 0.5),
    ]
    found = [auc(w[mine], w[~mine]) for w in ways]
    assert plain < 0.7 and min(found) > 0.75, (plain, found)
    lies = [shadow_signals.likelihood_ratio(idle, signal, inside), shadow_signals.relative(idle, signal, inside)]
    assert all(0.42 < auc(w[mine], w[~mine]) < 0.58 for w in lies)
    never = inside & (torch.arange(400) > 5)  # some were in no shadow at all
    assert shadow_signals.likelihood_ratio(target, signal, never).isfinite().all()


def test_a_finished_shadow_model_is_never_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = shadow.Given(members=FEW, non_members=REST, critic=overfitted())
    attack = shadow.Shadow(recipe="adversarial:steps=3,batch=8,capacity=2,latent=4", shadows=4, samples=60)
    target, made = stranger().seen_as(Samples), []
    train = adversarial.run

    def stopped(duel: Any, recipe: Any, steps: int, x: Tensor, rng: Rng) -> Any:
        made.append(rng.purpose)
        if len(made) == 3:
            raise KeyboardInterrupt
        return train(duel, recipe, steps, x, rng)

    monkeypatch.setattr(adversarial, "run", stopped)
    with kept_in(tmp_path), pytest.raises(KeyboardInterrupt):
        attack(target, given, Rng(0))
    with kept_in(tmp_path):
        again = attack(target, given, Rng(0))
    assert len(made) == len(set(made)) + 1 == 5, "two were kept, the third began anew"
    monkeypatch.setattr(adversarial, "run", train)
    whole = attack(target, given, Rng(0))
    for name, signal in whole.signals.items():
        assert torch.allclose(signal.score, again.signals[name].score, rtol=1e-5, atol=1e-6), name
    with pytest.raises(BadInput, match="capacity"):
        shadow.Shadow(recipe="adversarial:capacity=no")(target, given, Rng(0))


def copied(target: Generator) -> Any:
    given = Seen(members=MEMBERS, non_members=Images(OTHERS.x[:64], OTHERS.names[:64]))
    return Copying(samples=800, cells=2)(target.seen_as(Samples), given, Rng(0))


def test_copies_are_told_from_samples_that_are_merely_good() -> None:
    found, honest = copied(memoriser(MEMBERS)), copied(stranger())
    assert found.statistic.value < -3 and found.copies == 800 and found.control == 0 and found.gone == 64
    assert found.nearer.value == 1.0 and found.p == 0.001 and "copying" in found.summary()
    assert abs(honest.statistic.value) < 3 and honest.copies == honest.control == 0
    assert honest.nearer.low < 0.5 < honest.nearer.high and honest.p > 0.05


def by_reconstruction(target: Generator, **knobs: Any) -> Reconstructed:
    noise = torch.randn(32, 1, 8, 8, generator=Rng(5).block())
    similar = Images((FEW.x + 0.5 * noise).clamp(-1, 1), FEW.names)
    given = reconstruction.Given(members=FEW, non_members=REST, similar=similar, critic=overfitted())
    return Reconstruction(**{"samples": 300, "restarts": 2, "steps": 120, **knobs})(target, given, Rng(0))


def test_similar_images_lead_to_what_was_learned_by_heart_and_to_nothing_elsewhere() -> None:
    found, honest = by_reconstruction(smooth(FEW)), by_reconstruction(smooth(blobs(32, 7)))
    assert measured(found, "pixels.nearer") > 0.9 and measured(found, "pixels.gained") > 0.9
    assert "they are reconstructed" in found.summary() and found.x.shape == (32, 1, 8, 8)
    assert measured(found, "pixels.nearer.ordinary") < measured(found, "pixels.nearer")
    assert measured(honest, "pixels.gained") < 0.75 and "as near already" in honest.summary()


def test_samples_are_ranked_by_membership() -> None:
    found = by_reconstruction(memoriser(Images(torch.cat([FEW.x, blobs(300, 6).x]), ("",) * 332)), guide="membership")
    assert measured(found, "pixels.nearer") > measured(found, "pixels.nearer.ordinary") + 0.2
    with pytest.raises(BadInput, match="keep"):
        by_reconstruction(stranger(), guide="membership", keep=300)


@pytest.mark.parametrize(("net", "space"), [(stylegan2, "z"), (stylegan1, "w"), (stylegan3, "w"), (stylegan2, "both")])
def test_attributes_lead_through_each_space_of_a_style_generator(net: Any, space: str) -> None:
    times, more = (2, {"layers": 5}) if net is stylegan3 else (1, {})
    style = net.build(size=8 * times, z_dim=8, w_dim=8, channels=1, channel_base=64, channel_max=8, rng=Rng(3), **more)
    style.module.eval().requires_grad_(False)
    with Rng(2).seeded():
        judge = classifiers.build(("dark", "light"), 2, 8 * times, 1, "resnet")
    judge.module.eval().requires_grad_(False)
    few, rest = (Images(i.x.repeat_interleave(times, 2).repeat_interleave(times, 3), i.names) for i in (FEW, REST))
    given = reconstruction.Given(members=few, non_members=rest, classifier=judge)
    attack = Reconstruction(guide="attributes", space=space, samples=64, restarts=2, steps=25)  # type: ignore[arg-type]
    found = attack(style, given, Rng(0))
    best = style.sample(64, Rng(0).fork("guesses")).clamp(-1, 1)
    assert bool((judge(found.x).diagonal() >= judge(best).amax(0) - 1e-4).all()), "no worse than where it began"
    if space == "both":
        with pytest.raises(Unsupported, match="no space w"):
            attack(stranger(), given, Rng(0))


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generator = dcgan.build(latent=4, capacity=2, size=8)
    generator.module.eval()
    save(generator, tmp_path / "model.safetensors")
    x = ((torch.cat([MEMBERS.x, OTHERS.x])[:, 0] + 1) * 127.5).round().byte().numpy()
    mark = np.arange(len(x)) < 64
    np.savez(tmp_path / "split.npz", x=x, member=mark, subject=np.arange(len(x)))
    split = load_split(tmp_path / "split.npz")
    assert len(split.members) == 64 and split.people is not None and len(split.people[1]) == 256
    with pytest.raises(SystemExit) as stop:
        main(["attack", "nearest", "model.safetensors", "--split", "split.npz", "--samples", "100", "--out", "out"])
    assert stop.value.code == 0
    assert (tmp_path / "out/report.html").is_file() and (tmp_path / "out/membership.nearest.safetensors").is_file()
    np.savez(tmp_path / "bare.npz", x=x)
    with pytest.raises(BadInput, match="does not say who is a member"):
        load_split(tmp_path / "bare.npz")


def test_a_folder_tells_members_and_people_by_its_folders(tmp_path: Path) -> None:
    for side, people in (("members", "anna bob"), ("non-members", "carl anna")):
        for person in people.split():
            (tmp_path / side / person).mkdir(parents=True)
            for i in range(2):
                picture = np.full((8, 8), 20 * len(person) + i + 9 * len(side), dtype=np.uint8)
                Image.fromarray(picture).save(tmp_path / side / person / f"{i}.png")
    split = load_split(tmp_path, (1, 8, 8))
    assert split.people is not None and [p.tolist() for p in split.people] == [[0, 0, 1, 1], [0, 0, 2, 2]]
    assert split.members.names[0] == "anna/0.png" and split.non_members.x.shape == (4, 1, 8, 8)
    (tmp_path / "members/anna/0.png").rename(tmp_path / "members/0.png")
    assert load_split(tmp_path, (1, 8, 8)).people is None, "where one shows nobody, nobody is known"
    with pytest.raises(BadInput, match="who is a member"):
        load_split(tmp_path / "members")
