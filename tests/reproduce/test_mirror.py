"""The tables of inversions: who is public, what is measured, what is shared between tables, and what claims follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genvet.core.classifier import Classifier
from genvet.core.data import Labelled
from genvet.core.rng import Rng
from genvet.reproduce.cells import Numbers, identity
from genvet.reproduce.mirror import identities as who
from genvet.reproduce.mirror.baselines import Baselines
from genvet.reproduce.mirror.comparing import Way, one_each
from genvet.reproduce.mirror.hypotheses import Hypotheses
from genvet.reproduce.mirror.measuring import GROUPS, OF_ALL, Held, measured
from genvet.reproduce.mirror.paper import TABLE_2, TABLE_3, TABLE_6
from genvet.reproduce.mirror.protocol import BOX, GMI, MIRROR, TRUNCATED
from genvet.reproduce.mirror.white_box import WhiteBox


def pictures(classes: int, each: int, seed: int) -> Labelled:
    """Each class is a pattern of its own, its pictures a little different."""
    rng = Rng(seed, "pictures").block()
    pattern = torch.rand(classes, 1, 8, 8, generator=rng).mul(2).sub(1)
    x = (pattern.repeat_interleave(each, 0) + 0.3 * torch.randn(classes * each, 1, 8, 8, generator=rng)).clamp(-1, 1)
    labels = torch.arange(classes).repeat_interleave(each)
    names = tuple(f"{seed}/{i}" for i in range(len(x)))
    return Labelled(x, names, labels=labels, classes=tuple(f"{seed}/{k}" for k in range(classes)))


def test_a_copy_of_a_private_picture_is_no_public_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    private, public = pictures(4, 10, 1), pictures(12, 20, 2)
    public.x[7] = private.x[3]
    monkeypatch.setitem(who.LOADERS, "digits", lambda root, size, n: (private, public))
    found = who.identities(tmp_path, "digits", 8, 4)
    assert "2/7" not in found.public.names and bool(found.screening.near[7])
    assert len(found.public) == len(public) - int(found.screening.near.sum()) >= 0.8 * len(public)
    assert len(found.test) == 8 and set(found.test.labels.tolist()) == set(range(4))


class Nearest(nn.Module):
    """Logits by the distance to the mean picture of each class."""

    def __init__(self, images: Labelled) -> None:
        super().__init__()
        of = [images.x[images.labels == k].mean(0) for k in range(len(images.classes))]
        self.register_buffer("known", torch.stack(of).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return -torch.cdist(x, self.known)  # type: ignore[arg-type]


def knowing(images: Labelled) -> Classifier:
    module = nn.ModuleDict({"features": nn.Flatten(), "head": Nearest(images)}).eval()
    return Classifier(module=module, shape=(1, 8, 8), classes=images.classes, name="nearest")


def mean(told: dict[str, float], name: str) -> float:
    values = [v for k, v in told.items() if k.startswith(f"{name}@")]
    assert len(values) == 12
    return sum(values) / len(values)


def test_private_pictures_are_recognised_near_and_found_again_and_public_ones_are_not() -> None:
    private, public = pictures(12, 6, 1), pictures(12, 20, 2)
    control, others = one_each(private)
    assert control.labels.tolist() == list(range(12)) and not set(control.names) & set(others.names)
    judge = knowing(private)
    held = Held(real=others, public=public, target=judge, judges=(judge, judge), witness=knowing(public), block=1)
    real, other = measured(control.x, held, None), measured(public.x[::20], held, None)
    names = {key.partition("@")[0] for key in real}
    assert names == {n for group in GROUPS.values() for n in group} - {"niqe", "piqe", "length"} | {
        *OF_ALL,
        "coverage.expected",
    }
    for name in ("judges", "neighbours", "random", "similar"):
        assert mean(real, name) == 1.0 and mean(other, name) < 0.5, name
    assert mean(real, "nearest") == pytest.approx(1, abs=0.35) and mean(other, "nearest") > 2
    assert mean(other, "public") == pytest.approx(0, abs=1e-6) and mean(real, "public") > 0.5
    assert real["precision"] > other["precision"] and real["coverage"] > other["coverage"]


def planted(better: float, blocks: int = 3) -> list[tuple[Any, Numbers]]:
    """Numbers of every cell: the first of each registered pair is ahead by so much, in most labels."""
    ahead = {MIRROR: 2.0, GMI: 1.0, BOX: 1.0, "mirror, black box": 1.0, "dropout alone": 3.0, "consistency alone": 3.0}
    done: list[tuple[Any, Numbers]] = []
    for cell in Hypotheses().cells("small"):
        assert isinstance(cell, Way)
        if cell.block > blocks:
            continue
        rng = Rng(cell.block, cell.variant).block()
        up = better * ahead.get(cell.variant, 0.0) + 0.1 * torch.rand(cell.labels, generator=rng)
        told = {f"{name}@{k}": float(v) for k, v in enumerate(up) for name in ("judges", "neighbours")}
        told |= {f"{name}@{k}": -float(v) for k, v in enumerate(up) for name in ("features", "public", "nearest")}
        done.append((cell, told))
    return done


def test_each_hypothesis_has_one_plain_statement() -> None:
    def statuses(done: list[tuple[Any, Numbers]]) -> dict[str, str]:
        return {c.id: c.status for c in Hypotheses().told("small", done).claims}

    assert list(statuses([])) == [f"mirror.h{i}" for i in range(1, 12)]
    held, refuted = statuses(planted(1.0)), statuses(planted(-1.0))
    assert set(held.values()) == {"holds"}, held
    assert {v for k, v in refuted.items() if k not in ("mirror.h6", "mirror.h8", "mirror.h9")} == {"not"}, refuted
    assert set(statuses(planted(1.0, blocks=2)).values()) == {"undecided"}, "two blocks decide nothing"


def test_a_table_decides_no_registered_claim_that_the_whole_family_does_not() -> None:
    for better in (0.01, 0.02, 0.05):
        done = planted(better)
        whole = {c.id: c.status for c in Hypotheses().told("small", done).claims}
        for claim in WhiteBox().told("small", done).claims:
            if claim.id in whole and claim.status != "undecided":
                assert claim.status == whole[claim.id], claim


def test_tables_share_cells() -> None:
    """A cell of one name is one recipe wherever it stands, so that it is worked out once."""
    white = {cell.name: identity(cell) for cell in WhiteBox().cells("small")}
    shared = [cell for cell in Baselines().cells("small") if cell.name in white]
    assert len(shared) == 3 * 6 and all(identity(cell) == white[cell.name] for cell in shared)
    needed = {cell.variant for cell in Hypotheses().cells("small") if isinstance(cell, Way)}
    assert {MIRROR, GMI, BOX, TRUNCATED} < needed


def test_the_papers_exceptions_are_as_told() -> None:
    def nearer(name: str, table: Any, side: int) -> int:
        pairs = zip(table[name], TABLE_2["MIRROR"], strict=True)
        return sum(one is not None and one[side] < ours[side] for one, ours in pairs if ours)

    found = [nearer(name, TABLE_6, 0) for name in ("best sample", "best public", "MIRROR, black box")]
    assert found == [2, 1, 3] and nearer("GMI", TABLE_2, 0) == nearer("DeepInversion, cartoon", TABLE_2, 0) == 1
    assert not any(nearer(name, TABLE_6, 1) for name in ("best sample", "best public", "MIRROR, black box"))
    for name in ("DeepInversion, cartoon", "DeepInversion, average"):
        assert all(a < b for a, b in zip(TABLE_3[name], TABLE_3["GMI"], strict=True) if a is not None and b is not None)
