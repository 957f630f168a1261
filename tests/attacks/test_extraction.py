"""Thefts against known truth: an exact copy is at the null floor, another is not, and budgets end gracefully."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from genvet.attacks.extraction.accuracy_mh import AccuracyMH
from genvet.attacks.extraction.accuracy_white_box import AccuracyWhiteBox
from genvet.attacks.extraction.asking import SILENCE, Asking
from genvet.attacks.extraction.fidelity import Fidelity
from genvet.attacks.extraction.measuring import Beside, Sides, sides
from genvet.attacks.extraction.refining import Insider
from genvet.attacks.extraction.stolen import Stolen
from genvet.cli import main
from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput, BudgetSpent, Refused, Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.queries import Endpoint, Queries, Reply
from genvet.core.rng import Rng
from genvet.engine import measured
from genvet.files.convert import load_saved, save
from genvet.files.critic import load_critic
from genvet.maths.divergence import jensen_shannon
from genvet.maths.gaussians import Grid
from genvet.nets import dcgan
from genvet.training.dense import Dense, Given

THIEF = "dense:steps=300,batch=64,width=32,average=0.9,rate=0.002"


class Ring(nn.Module):
    """Points near a circle: (n, 2) -> (n, 1, 1, 2)."""

    def __init__(self, radius: float = 0.5) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, z: Tensor) -> Tensor:
        return (self.radius * nn.functional.normalize(z, dim=1) + 0.05 * z).view(-1, 1, 1, 2)


def ring(radius: float = 0.5) -> Generator:
    return Generator(module=Ring(radius), latent=Latent(2), shape=(1, 1, 2), name="ring")


def real(n: int = 4000) -> Images:
    return Images(ring(0.6).sample(n, Rng(77)), ("",) * n)


def against(target: Generator, n: int = 1500) -> Sides:
    view = target.seen_as(Queries)
    assert isinstance(view, Endpoint)
    return sides(view, Beside(reference=real()), n, 10, Rng(3))


def test_an_exact_copy_is_at_the_floor_and_another_is_not() -> None:
    held = against(ring())
    copy, other = (held.fidelity(held.space_of(g.sample(1500, Rng(9))), Rng(4)) for g in (ring(), ring(0.7)))
    assert copy.kernel.low <= 0 <= copy.kernel.high and copy.js.low <= 0.001
    assert copy.frechet.value < 5 * copy.null["frechet"] + 1e-5 and copy.js.value < 3 * (9 / 4 / 1500)
    assert other.kernel.low > 0 and other.frechet.low > copy.frechet.high


def test_its_accuracy_is_that_of_the_target() -> None:
    held = against(ring())
    target, copy = (
        held.accuracy(rows, Rng(4)) for rows in (held.target[0], held.space_of(ring().sample(1500, Rng(9))))
    )
    assert target and copy and copy.frechet.low <= target.frechet.value <= copy.frechet.high
    assert target.frechet.low > 4 * target.null["frechet"]
    assert held.real is not None and float(held.shares(held.real[0]).sum()) == pytest.approx(1)


def steal(target: Generator | Endpoint, given: Beside | None = None, **knobs: object) -> Stolen:
    probe = Fidelity.model_validate({"attacker": THIEF, "queries": 2000, "samples": 500, "clusters": 8, **knobs})
    result, _ = measured(probe, target, given or Beside(), seed=1)
    assert isinstance(result, Stolen)
    return result


def test_a_theft_comes_near_its_target_and_counts_its_queries() -> None:
    found, fresh = steal(ring(), Beside(reference=real())), steal(ring(), attacker=THIEF.replace("300", "1"))
    assert found.fidelity.frechet.high < 0.6 * fresh.fidelity.frechet.low
    assert found.queries == 2000 + 1000 and found.loot.asked == 2000 and found.measured == 1000
    told = {m.name: m for m in found.measures()}
    assert told["fidelity.js"].unit == "nats" and told["fidelity.js"].chance is not None
    assert told["accuracy.frechet"].value is not None and told["target.kernel"].low is not None
    assert {m.name: m.value for m in fresh.measures()}["accuracy.frechet"] is None
    assert found.sides.space == "pixels"


def test_a_budget_that_ends_midway_leaves_what_was_answered() -> None:
    found = steal(Endpoint(ring(), budget=1200), queries=100_000)
    assert found.loot.asked == 600 and found.measured == 600 and len(found.loot.x) == 600
    assert "ended it after 600 of 100000" in found.summary()
    kept = steal(Endpoint(ring(), budget=1200), Beside(undefended=ring()), queries=100_000)
    assert kept.loot.asked == 1200 and kept.measured == 0
    with pytest.raises(BudgetSpent):
        steal(Endpoint(ring(), budget=0))
    small = Endpoint(ring(), budget=60)
    with pytest.raises(BadInput, match="80 queries or more"):
        steal(small)
    assert small.used == 0, "it is told before a network is trained that nobody could measure"


@pytest.mark.parametrize("prior", ["normal", "uniform", "samples"])
def test_a_prior_may_be_a_guess(prior: str) -> None:
    assert steal(ring(), prior=prior, attacker=THIEF.replace("300", "5"), queries=100).loot.asked == 100


class Moody(Endpoint):
    """Answers each second query, twice."""

    def ask(self, z: Tensor, labels: Tensor | None = None) -> Reply:
        owner = torch.arange(0, len(z), 2).repeat_interleave(2)
        return Reply(self(z, labels)[owner], owner, torch.arange(len(z)) % 2)


class Mute(Endpoint):
    def ask(self, z: Tensor, labels: Tensor | None = None) -> Reply:
        return Reply(self(z, labels)[:0], torch.empty(0, dtype=torch.long), torch.ones(len(z), dtype=torch.long))


def test_several_images_a_query_and_none_are_taken_as_they_come() -> None:
    asking = Asking(Moody(ring()), "declared", 7, Rng(0))
    one = asking.take(10)
    assert one is not None and one.shape == (10, 1, 1, 2) and torch.equal(one[0], one[1])
    assert asking.answered >= 10 and len(asking.ask(20)) >= 20
    with pytest.raises(Refused, match=f"{SILENCE}"):
        Asking(Mute(ring()), "declared", 500, Rng(0)).take(500)
    ended = Asking(Endpoint(ring(), budget=5), "declared", 3, Rng(0))
    assert ended.take(4) is not None and ended.take(4) is None and ended.spent


def test_what_does_not_fit_is_refused_before_a_query_is_spent() -> None:
    target = Endpoint(ring())
    with pytest.raises(BadInput, match="no recipe"):
        steal(target, attacker="nonsense")
    assert target.used == 0
    with pytest.raises(BadInput, match="too few real samples"):
        steal(target, Beside(reference=real(10)), attacker=THIEF.replace("300", "1"))


def test_the_command_leaves_the_stolen_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Rng(0).seeded():
        target = dcgan.build(latent=4, capacity=2, size=8)
    target.module.eval()
    save(target, "target.safetensors")
    words = "--attacker sngan:steps=2,batch=4,capacity=4,latent=4 --queries 64 --samples 24 --clusters 3 --out o"
    with pytest.raises(SystemExit) as stop:
        main(["attack", "fidelity", "target.safetensors", *words.split()])
    assert stop.value.code == 0
    stolen, critic = load_saved("o/stolen.safetensors"), load_critic("o/critic.safetensors")
    assert stolen.name == "sngan" and stolen.shape == critic.shape == target.shape
    assert math.isfinite(float(critic(stolen.sample(2, Rng(0)).clone()).sum())) and Path("o/report.html").exists()
    np.savez("new.npz", x=np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8))
    words = (
        "--data new.npz --steps 1 --batch 4 --capacity 4 --latent 4 --rate 1e-9 --start o/stolen.safetensors --out t"
    )
    with pytest.raises(SystemExit) as stop:
        main(["train", "sngan", *words.split(), "--device", "cpu"])
    assert stop.value.code == 0
    moved = load_saved("t/generator.safetensors").module.state_dict()
    assert torch.allclose(moved["dense.weight"], stolen.module.state_dict()["dense.weight"], atol=1e-6)


# With the target's critic


class Ratio(nn.Module):
    """A critic that knows the ratio of two mixtures on a grid, and tells it as log-odds."""

    def __init__(self, real: Grid, made: Grid, sure: float = 1.0) -> None:
        super().__init__()
        self.real, self.made, self.sure = real, made, sure

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return (self.sure * (self.real.log_density(x) - self.made.log_density(x))).float()[:, None]


class Uneven(nn.Module):
    """Latents (n, 3) -> points of a mixture, (n, 1, 1, 2): the first picks a Gaussian, the others a place in it."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, z: Tensor) -> Tensor:
        which = torch.bucketize(torch.special.ndtr(z[:, 0].double()), self.grid.shares.cumsum(0)[:-1])
        return (self.grid.means[which] + self.grid.std * z[:, 1:]).float().view(-1, 1, 1, 2)


EVEN = Grid(side=3, step=0.6, std=0.1)
MADE = Grid(side=3, step=0.6, std=0.1, weights=(6, 1, 1, 1, 3, 1, 1, 1, 1))


def mixture(grid: Grid, n: int, seed: int) -> Images:
    return Images(grid.sample(n, Rng(seed, "mixture")).view(-1, 1, 1, 2), ("",) * n)


def uneven() -> Generator:
    return Generator(module=Uneven(MADE), latent=Latent(3), shape=(1, 1, 2), name="uneven")


def insider(sure: float = 1.0, **more: object) -> Insider:
    critic = Critic(Ratio(EVEN, MADE, sure), (1, 1, 2))
    return Insider(critic=critic, real=mixture(EVEN, 1000, 1), reference=mixture(EVEN, 2000, 2), **more)  # type: ignore[arg-type]


MH = {"attacker": "dense:steps=1", "refined": 1500, "chain": 30, "samples": 400, "clusters": 9}


def js_to_real(x: Tensor) -> float:
    return float(jensen_shannon(EVEN.cells(x.view(-1, 2)), EVEN.masses(EVEN)))


@pytest.mark.parametrize("sampler", ["metropolis", "rejection"])
def test_refinement_by_a_critic_that_knows_reaches_the_real_distribution(sampler: str) -> None:
    result, finding = measured(
        AccuracyMH.model_validate({**MH, "sampler": sampler, "shifted": False}), uneven(), insider(), seed=1
    )
    assert isinstance(result, Stolen)
    told = {m.name: m.value for m in finding.measures}
    assert js_to_real(result.loot.x) < 0.25 * js_to_real(uneven().sample(1500, Rng(3)))
    raw = told["queries.raw"]
    assert raw is not None and raw == told["queries"] and raw > 1.5 * len(result.loot.x)
    assert 0 < told["acceptance"] < 1  # type: ignore[operator]
    if sampler == "metropolis":
        assert raw == 1000 + 30 * 1500 and len(result.loot.x) + told["stuck"] == 1500  # type: ignore[operator]
    assert all(abs(told[f"calibration.{m}.z"]) < 4 for m in ("isotonic", "logistic", "identity"))  # type: ignore[arg-type]
    assert told["refined.kernel"] < 0.25 * told["target.kernel"] and "farther" not in finding.summary  # type: ignore[operator]
    astray = result.sides.accuracy(result.sides.space_of(result.loot.x + 0.4), Rng(2))
    assert "farther from real data than plain answers: kernel" in replace(result, refined=astray).summary()


def test_what_the_identity_takes_for_log_odds_is_tested() -> None:
    knobs = {**MH, "refined": 300, "calibration": "identity"}
    _, finding = measured(AccuracyMH.model_validate(knobs), uneven(), insider(sure=5.0), seed=1)
    told = {m.name: m.value for m in finding.measures}
    assert abs(told["calibration.identity.z"]) > 4 > abs(told["calibration.isotonic.z"])  # type: ignore[arg-type]
    assert "identity calibration fails its test" in finding.summary


class Certain(nn.Module):
    """Real samples lie on the left; everything that is generated lies on the right."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x.flatten(1)[:, :1] < 0, 1e4, -1e4)


class Indifferent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), 1)


def split(critic: nn.Module) -> tuple[Generator, Insider]:
    """A target on the right, and real data on the left."""

    class Right(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return (0.5 + 0.05 * z).view(-1, 1, 1, 2)

    target = Generator(module=Right(), latent=Latent(2), shape=(1, 1, 2), name="right")
    real = Images(-0.5 + 0.05 * torch.randn(100, 1, 1, 2, generator=Rng(0).block()), ("",) * 100)
    return target, Insider(critic=Critic(critic, (1, 1, 2)), real=real)


def test_a_critic_that_separates_everything_leaves_nothing_and_says_so() -> None:
    target, given = split(Certain())
    knobs = {**MH, "refined": 50, "samples": 24}
    with pytest.raises(Unsupported, match=r"of 1600 queries, 0 samples are left \(acceptance 0\)"):
        measured(AccuracyMH.model_validate({**knobs, "calibration": "identity"}), target, given)


class NoNumber(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.full((len(x), 1), torch.nan)


def test_a_critic_of_no_numbers_or_of_other_images_is_refused() -> None:
    target, given = split(NoNumber())
    with pytest.raises(BadInput, match="no numbers"):
        measured(AccuracyMH.model_validate(MH), target, given)
    other = Insider(critic=Critic(Indifferent(), (1, 8, 8)), real=given.real)
    view = Endpoint(target)
    with pytest.raises(BadInput, match="other images"):
        measured(AccuracyMH.model_validate(MH), view, other)
    assert view.used == 0


def test_latents_are_those_of_any_batch() -> None:
    """However they are cut into batches, and where calibration has taken some before."""
    whole = ring().latent.sample(0, 2500, Rng(4))
    for batch in (7, 256, 1024, 3000):
        asking = Asking(Endpoint(ring()), "declared", batch, Rng(4))
        first, rest = asking.take(100), asking.ask(2400)
        assert first is not None
        assert torch.allclose(torch.cat([first, rest]), ring()(whole), atol=1e-6), batch


def test_a_critic_that_separates_nothing_takes_everything() -> None:
    target, given = split(Indifferent())
    for calibration in ("isotonic", "logistic", "identity"):
        knobs = {**MH, "refined": 50, "samples": 24, "calibration": calibration}
        result, finding = measured(AccuracyMH.model_validate(knobs), target, given)
        told = {m.name: m.value for m in finding.measures}
        assert told["acceptance"] == 1 and told["stuck"] == 0 and len(result.loot.x) == 50  # type: ignore[attr-defined]
        assert "tells nothing apart" in finding.summary


def test_a_budget_that_ends_the_chains_leaves_what_they_came_to() -> None:
    view = Endpoint(uneven(), budget=1000 + 1500 * 7 + 400)
    result, finding = measured(AccuracyMH.model_validate(MH), view, insider(undefended=uneven()), seed=1)
    assert "ended the chains after" in finding.summary and len(result.loot.x) > 900  # type: ignore[attr-defined]
    with pytest.raises(Unsupported, match="before the critic was calibrated"):
        measured(AccuracyMH.model_validate(MH), Endpoint(uneven(), budget=50), insider(undefended=uneven()))


def test_from_within_the_critic_goes_on_learning_and_real_data_are_learned_from() -> None:
    recipe = Dense(steps=20, batch=32, width=16)
    trained = recipe(Given(mixture(EVEN, 500, 3)), Rng(0))
    assert trained.critic is not None
    given = Insider(critic=Critic(trained.critic, (1, 1, 2)), real=mixture(EVEN, 100, 1))
    knobs = {**MH, "attacker": "dense:steps=2,width=16,batch=32,rate=1e-9", "refined": 90, "samples": 24, "share": 0.25}
    result, _ = measured(AccuracyWhiteBox.model_validate(knobs), trained.generator, given, seed=1)
    assert isinstance(result, Stolen) and result.critic is not None
    weights = [net.state_dict()["1.weight"] for net in (result.critic, trained.critic)]
    assert torch.allclose(*weights, atol=1e-6), "it begins where the target's ended"
    refined = len(result.loot.x) * 3 // 4
    assert "of them different" in result.summary()
    assert torch.equal(result.loot.x[refined:], given.real.x[: len(result.loot.x) - refined])
    with pytest.raises(BadInput, match="unlike the target's"):
        measured(AccuracyWhiteBox.model_validate({**knobs, "attacker": "dense:width=8"}), trained.generator, given)
