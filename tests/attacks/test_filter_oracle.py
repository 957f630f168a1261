"""A filter of outputs tells who is protected where it blocks, and less where it is silent; without one nobody is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genvet import engine
from genvet.attacks.membership.exposed import Exposed
from genvet.attacks.membership.filter_oracle import FilterOracle, Given
from genvet.core.data import Images
from genvet.core.errors import BudgetSpent
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.defences.filter.embedding import Embedding
from genvet.defences.filter.embedding import Given as Protected
from genvet.engine import Standing

SIDE = 8


class Linear(nn.Module):
    """Every picture of a plane of them: it learned nobody by heart, and can draw everybody."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = torch.randn(6, SIDE * SIDE, generator=torch.manual_seed(1)) / 3

    def forward(self, z: Tensor) -> Tensor:
        return (z @ self.pictures).view(-1, 1, SIDE, SIDE).tanh()


def generator() -> Generator:
    return Generator(module=Linear().eval(), latent=Latent(6), shape=(1, SIDE, SIDE), name="linear")


def people(n: int, seed: int) -> Images:
    x = generator()(torch.randn(n, 6, generator=torch.manual_seed(seed)))
    return Images((x + 0.01 * torch.randn(x.shape)).clamp(-1, 1), tuple(f"{seed}-{i}" for i in range(n)))


MEMBERS, OTHERS, UNSEEN = people(30, 1), people(30, 2), people(100, 3)
ORACLE = FilterOracle(samples=2000, reach=0.15, near=0.0)


def asked(mode: str | None, budget: int | None = None) -> Exposed:
    """Behind a filter that protects the members, or without."""
    filtered = Embedding(space="pixels", rate=0.2, mode=mode or "block", local=False)  # type: ignore[arg-type]
    guards = [Standing(filtered, Protected(MEMBERS, UNSEEN))] if mode else []
    target: Any = generator().seen_as(Queries, budget)
    found, finding = engine.measured(ORACLE, target, Given(members=MEMBERS, non_members=OTHERS), guards=guards)
    assert isinstance(found, Exposed) and finding.queries == (2000 + 60 * 4 * 9 if budget is None else found.asked)
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, float]]:
    return {str(mode): {n: s.auc for n, s in asked(mode).signals.items()} for mode in (None, "block", "resample")}


def test_blocks_tell_members_who_were_not_told_before(found: dict[str, dict[str, float]]) -> None:
    """The generator knows nobody: the filter is all that gives the members away."""
    plain, blocked = found["None"], found["block"]
    assert plain["blocks nearby"] == 0.5 and abs(plain["jumps nearby"] - 0.5) < 0.2
    assert abs(plain["nearest answer"] - 0.5) < 0.2
    assert blocked["blocks nearby"] > 0.85
    assert blocked["nearest answer"] < 0.3, "there is a hole where members were"


def test_silence_hides_blocks_and_not_jumps(found: dict[str, dict[str, float]]) -> None:
    silent = found["resample"]
    assert silent["blocks nearby"] == 0.5
    assert silent["jumps nearby"] > 0.7 > found["None"]["jumps nearby"]


def test_a_budget_that_ends_is_told() -> None:
    with pytest.raises(BudgetSpent):
        asked(None, budget=1000)
    cut = asked(None, budget=2500)
    assert cut.asked <= 2500 and "The budget ended" in cut.summary()


def test_a_filter_that_answers_nothing_tells_nothing() -> None:
    filtered = Embedding(space="pixels", threshold=1e6)
    view = filtered(generator().seen_as(Queries), Protected(MEMBERS), Rng(0))
    told = FilterOracle(samples=64, near=0.0)(view, Given(members=MEMBERS, non_members=OTHERS), Rng(0))
    assert {s.auc for s in told.signals.values()} == {0.5} and "100.0% were not answered" in told.summary()
