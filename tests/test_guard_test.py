"""`genvet guard-test` in both directions: what an endpoint exposes is found, and what it does not is not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genvet.core.data import Images
from genvet.core.errors import BadInput, BudgetSpent
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.queries import Queries, Reply
from genvet.core.report import Finding, Measure, Report
from genvet.core.rng import Rng
from genvet.core.severity import Severity
from genvet.defences.query.gaussian_noise import GaussianNoise
from genvet.engine.endpoint import SHARES, Allowance, Known, Outcome, guard_test
from genvet.engine.exposure import EXPOSURES, compared, weighed
from genvet.nets.between import Between

SHAPE, DIM = (1, 8, 8), 6
THIEF = "adversarial:steps=2,batch=8,capacity=2,latent=4"


def records(seed: int, n: int = 40) -> Images:
    x = torch.rand(n, *SHAPE, generator=torch.manual_seed(seed)) * 2 - 1
    return Images(x, tuple(f"{seed}-{i}" for i in range(n)))


class ByHeart(nn.Module):
    """Puts out one of a few images, blurred a little: which, the latent decides."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.register_buffer("x", x)
        self.register_buffer("ways", torch.randn(DIM, len(x)))

    def forward(self, z: Tensor) -> Tensor:
        return self.x[(z @ self.ways).argmax(1)] * 0.9


def generator(x: Tensor) -> Generator:
    return Generator(module=ByHeart(x).eval(), latent=Latent(DIM), shape=SHAPE, name="by heart")


class Picky(Between):
    """Answers no latent of another length than the prior's, and none that it answered twice."""

    def __init__(self, view: Queries) -> None:
        super().__init__(view)
        self.seen: dict[bytes, int] = {}

    def _passed(self, z: Tensor, labels: Tensor | None) -> Reply:
        length = z.norm(dim=1) / DIM**0.5
        fits = (length > 0.15) & (length < 1.9)
        for i, row in enumerate(z):
            name = row.numpy().tobytes()
            self.seen[name] = self.seen.get(name, 0) + 1
            fits[i] &= self.seen[name] <= 2
        rows = fits.nonzero().flatten()
        return Reply(self.inner.ask(z[rows]).images, rows, (~fits).long())


def attacked(view: Any, budget: int = 2000, **known: Any) -> Outcome:
    return guard_test(view, budget, Known(**known), attacker=THIEF, seed=3)


def measures(done: Outcome, technique: str) -> dict[str, Measure]:
    (found,) = (f for f in done.findings if f.technique == technique)
    return {m.name: m for m in found.measures}


def severity(done: Outcome, technique: str) -> Severity:
    return next(f.severity for f in done.findings if f.technique == technique)


def test_a_model_that_knows_its_data_by_heart_is_found_and_its_twin_is_not() -> None:
    members, others = records(1), records(2)
    for inside, worst in ((members, Severity.HIGH), (records(3), Severity.INFO)):
        view = generator(inside.x).seen_as(Queries)
        done = attacked(view, members=members, non_members=others)
        assert severity(done, "membership.nearest") is worst, done.findings[0].summary
        assert (severity(done, "membership.latent_recovery_black_box") >= Severity.MEDIUM) == (inside is members)
        assert done.findings[0].technique == "endpoint" and done.findings[0].severity >= worst
        assert not done.not_checked and done.used == view.used <= 2000


def test_every_part_stays_within_its_share() -> None:
    view = generator(records(1).x).seen_as(Queries)
    done = attacked(view, 1000, members=records(1), non_members=records(2))
    used = {f.technique.rpartition(".")[2]: f.queries for f in done.findings[1:]}
    shares = dict(
        zip(("honest", "borders", "fidelity", "nearest", "latent_recovery_black_box"), SHARES.values(), strict=True)
    )
    assert used.keys() == shares.keys() and all(0.5 * 1000 * shares[n] <= used[n] <= 1000 * shares[n] for n in used)
    with pytest.raises(BadInput, match="so few queries"):
        attacked(view, 999)


def test_what_a_policy_refuses_is_told_beside_what_it_answers() -> None:
    bare = generator(records(1).x)
    for view, far, again in ((bare.seen_as(Queries), 1.0, 1.0), (Picky(bare.seen_as(Queries)), 0.0, 2 / 13)):
        found = measures(attacked(view), "borders")
        assert found["ordinary.answered"].value == pytest.approx(1, abs=0.2)
        assert {found[f"far-{c}.answered"].value for c in (10, 100)} == {far}
        assert found["near-mode.answered"].value == far
        assert found["repeated.answered"].value == pytest.approx(again, abs=0.04)
        assert found["drifting.answered"].value == pytest.approx(1, abs=0.2)  # this policy knows nothing of steps
    assert severity(attacked(bare.seen_as(Queries)), "borders") is Severity.LOW


@pytest.mark.parametrize(("by", "worst"), [("fresh", Severity.MEDIUM), ("keyed", Severity.LOW)])
def test_noise_that_averages_away_is_found(by: Any, worst: Severity) -> None:
    bare = generator(records(1).x)
    guard = GaussianNoise(sigma=0.2, drawn=by)
    view = guard(bare.seen_as(Queries), guard.gift()(), Rng(1))
    done = guard_test(view, 3000, Known(undefended=bare), attacker=THIEF, plain=False)
    gain = measures(done, "borders")["averaging.gain"]
    assert severity(done, "borders") is worst
    assert (gain.low is not None and gain.low > 5) if worst is Severity.MEDIUM else abs(gain.value or 0) < 0.1
    psnr = measures(done, "honest")["psnr"]
    assert psnr.value == pytest.approx(20.4, abs=0.5)  # 20 log10(2 / 0.2), and what is clipped


def test_the_bare_model_stands_beside() -> None:
    bare = generator(records(1).x)
    done = attacked(Picky(bare.seen_as(Queries)), undefended=bare)
    attacker, client = ({row[0]: row for row in table.rows} for table in done.findings[0].tables)
    assert attacker["borders far-100.answered"][1] == 0 and attacker["borders far-100.answered"][-1] == 1
    assert client["honest latency.p50 (s)"][1] > 0 and client["honest queries-per-second"][-1] > 0
    assert {g.technique: g.reason for g in done.not_checked} == {
        "membership.nearest": "not_requested",
        "membership.latent_recovery_black_box": "not_requested",
    }


class Drawn(Between):
    """A service that draws its latents itself."""

    chooses = False

    def _passed(self, z: Tensor, labels: Tensor | None) -> Reply:
        return self.inner.ask(z, labels)


def test_a_service_that_draws_its_latents_is_tested_by_its_samples() -> None:
    members = records(1)
    done = attacked(Drawn(generator(members.x).seen_as(Queries)), members=members, non_members=records(2))
    assert [f.technique for f in done.findings[1:]] == ["honest", "extraction.fidelity", "membership.nearest"]
    assert severity(done, "membership.nearest") is Severity.HIGH
    assert {g.reason for g in done.not_checked} == {"not_applicable"}


def test_an_allowance_ends_where_it_should() -> None:
    view = generator(records(1).x).seen_as(Queries, budget=100)
    allowance = Allowance(view, 10)
    allowance.ask(torch.randn(8, DIM))
    assert (allowance.left, allowance.used, view.left) == (2, 8, 92)
    with pytest.raises(BudgetSpent):
        allowance.ask(torch.randn(3, DIM))
    assert view.left == 92 and Allowance(view, 1000).left == 92


def finding(technique: str, value: float, reach: float = 0.05, **more: Any) -> Finding:
    names = {e.measure for e in EXPOSURES if e.technique == technique}
    told = [Measure(name=name, value=value, low=value - reach, high=value + reach) for name in sorted(names)]
    told.append(Measure(name="p", value=more.pop("p", 1e-6)))
    config = more.pop("config", {"samples": 7})
    of = {"version": 1, "access": "Queries", "severity": Severity.INFO, "summary": "s", "measures": tuple(told)}
    return Finding(technique=technique, config=config, **of, **more)


def report(*findings: Finding) -> Report:
    return Report.model_construct(findings=findings)


@pytest.mark.parametrize(
    ("then", "now", "change"),
    [(0.6, 0.75, "rose"), (0.6, 0.65, "within intervals"), (0.75, 0.6, "fell")],
)
def test_exposure_rises_beyond_both_intervals(then: float, now: float, change: str) -> None:
    table, rose, unclear = compared([finding("membership.nearest", now)], report(finding("membership.nearest", then)))
    assert [row[-1] for row in table.rows] == [change] and bool(rose) == (change == "rose") and not unclear


def test_a_copy_that_comes_nearer_is_more_exposure() -> None:
    table, rose, _ = compared([finding("extraction.fidelity", 0.6)], report(finding("extraction.fidelity", 0.75)))
    assert {row[-1] for row in table.rows} == {"rose"} and len(rose) == 2


def test_what_was_measured_otherwise_does_not_compare() -> None:
    now = finding("membership.nearest", 0.9, config={"samples": 8})
    _, rose, unclear = compared([now], report(finding("membership.nearest", 0.6), finding("borders", 0.1)))
    assert not rose and len(unclear) == 1 + sum(e.technique == "borders" for e in EXPOSURES)


@pytest.mark.parametrize(
    ("auc", "p", "worst"),
    [(0.9, 1e-6, "high"), (0.7, 1e-6, "medium"), (0.56, 1e-6, "low"), (0.52, 1e-6, "info"), (0.9, 0.02, "info")],
)
def test_severities_rest_on_intervals(auc: float, p: float, worst: str) -> None:
    assert weighed(finding("membership.nearest", auc, p=p)).severity == Severity(worst)
