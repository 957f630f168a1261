"""Who is in which part of a file: what the tables of leakage rest on."""

from __future__ import annotations

from pathlib import Path

import torch

from genvet.reproduce.cells import Place
from genvet.reproduce.experiment import Scale
from genvet.reproduce.leakage.attacking import leak, over_seeds
from genvet.reproduce.leakage.factors import Factors, rank_correlation
from genvet.reproduce.leakage.networks import Learned, learned


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
