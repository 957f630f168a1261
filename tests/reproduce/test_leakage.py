"""Who is in which part of a file: what the tables of leakage rest on."""

from __future__ import annotations

from pathlib import Path

import torch

from genvet.core.data import Images
from genvet.core.rng import Rng
from genvet.reproduce.cells import Done, Place
from genvet.reproduce.experiment import Scale
from genvet.reproduce.leakage.attacking import leak, over_seeds
from genvet.reproduce.leakage.factors import Factors, rank_correlation
from genvet.reproduce.leakage.membership import CHEAP, DATA, MEMBERS, OTHERS, Membership, targets
from genvet.reproduce.leakage.networks import Learned, learned, unasked


def test_the_parts_of_a_file_share_no_record(data: Path) -> None:
    held = Learned(members=10, seed=2).held(Place(data, data / "cache"), 20)
    parts = (held.members, held.non_members, held.unseen, held.reference)
    assert [len(part) for part in parts] == [10, 20, 20, 10]
    names = [name for part in parts for name in part.names]
    assert len(set(names)) == len(names)
    x = torch.cat([part.x for part in parts]).flatten(1)
    assert float((torch.cdist(x, x) + 1e6 * torch.eye(len(x))).min()) > 1
    fewer = Learned(members=10, seed=2).held(Place(data, data / "cache"), 5)
    assert fewer.members.names == held.members.names and fewer.reference.names == held.reference.names
    assert Learned(members=10, seed=3).held(Place(data, data / "cache"), 5).members.names != held.members.names


def test_a_reference_holds_no_picture_that_is_asked_about() -> None:
    x = torch.rand(30, 1, 4, 4, generator=Rng(0).block())
    twin = Images(torch.cat([x[20:24], x[:1] + 1e-3]), ("a", "b", "c", "d", "twin"))
    asked = [Images(part, ("",) * 10) for part in x[:20].split(10)]
    assert unasked(twin, asked).names == ("a", "b", "c", "d")


def test_strangers_are_learned_as_often_as_is_said(data: Path) -> None:
    held = Learned(members=10, strangers=3, copies=4, classes=5).held(Place(data, data / "cache"), 6)
    assert len(held.learned) == 10 + 3 * 4 and all(name.startswith("fashion_mnist#") for name in held.strangers.names)
    assert held.learned.names.count(held.strangers.names[0]) == 4
    assert not set(held.strangers.names) & set(held.new_strangers.names)
    assert all(int(name.partition("#")[2]) % 10 < 5 for name in held.members.names), "classes go round in this file"


def test_each_factor_is_changed_alone_and_cells_are_found_by_it() -> None:
    scale: Scale = "small"
    cells = Factors().cells(scale)
    base = learned(scale, 256)
    assert sum(cell.target.name == base.name for cell in cells) == 3, "shared by all factors"  # type: ignore[attr-defined]
    wide = learned(scale, 256, capacity=32)
    done = [(leak(scale, "critic", target, 1000), {"auc": value}) for target, value in ((base, 0.6), (wide, 0.7))]
    assert over_seeds(done, "auc", "critic", [wide]) == {("mnist", 1): 0.7}
    assert over_seeds(done, "auc", "nearest", [wide]) == {}


def test_a_rank_correlation_has_an_interval() -> None:
    found = rank_correlation([(float(i), float(i * i)) for i in range(12)])
    assert found is not None and found.value == 1.0 and 0.99 < found.low <= found.high <= 1.0
    assert rank_correlation([(1.0, 1.0)] * 3) is None
    same = rank_correlation([(1.0, 1.0)] * 9)
    assert same is not None and same.value == 0.0 and same.low < -0.5


def many(area: float, half: float, other: float | None = None) -> Done:
    """Every cheap attack on generators of many records has this area and interval; one of them another area."""
    made = []
    for data in DATA:
        for target in targets("small", data, MEMBERS["small"][-1]):
            for variant in CHEAP:
                value = other if other is not None and (data, variant) == ("mnist", "critic") else area
                told = {"auc": value, "low": value - half, "high": value + half, "p": 0.5, "auc.permuted": 0.5}
                made.append((leak("small", variant, target, OTHERS["small"][True]), told))
    return made


def test_that_many_records_lie_at_chance_is_shown_and_not_merely_not_refuted() -> None:
    assert all(target.members >= 2000 for data in DATA for target in targets("small", data, MEMBERS["small"][-1]))
    assert OTHERS["small"][True] >= 2000

    def said(done: Done) -> str:
        found = {claim.id: claim for claim in Membership().told("small", done).claims}
        return found["many-records-lie-at-chance"].status

    assert said(many(0.505, 0.018)) == "holds"
    assert said(many(0.5, 0.1)) == "undecided", "too wide to tell"
    assert said(many(0.505, 0.018, other=0.525)) == "undecided", "one attack is too near the border"
    assert said(many(0.505, 0.018, other=0.58)) == "not"
    assert said(many(0.505, 0.018)[:-3]) == "undecided", "an attack has no numbers yet"
    rows = Membership().told("small", many(0.505, 0.018)).tables[0].rows
    ps = [row for row in rows if "within 0.03" in str(row[3])]
    assert len(ps) == len(DATA) * len(CHEAP) and all(float(row[5]) < 0.01 for row in ps)  # type: ignore[arg-type]
