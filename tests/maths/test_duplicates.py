"""Screening: planted copies are found, the stated rate of false ones is kept, and too small a null is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.maths.duplicates import nearest, screened

FACES = Path(__file__).parents[3] / "shared/data/faces_orl/orl_faces.npz"


def rows(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=Rng(seed, "duplicates").block())


def test_nearest_is_the_loop() -> None:
    a, b = rows(30, 5, 0), rows(40, 5, 1)
    distance, which = nearest(a, b)
    for row, d, i in zip(a, distance, which, strict=True):
        apart = [float((row - other).norm()) for other in b]
        assert float(d) == pytest.approx(min(apart)) and int(i) == apart.index(min(apart))


@pytest.mark.parametrize("private", [40, 700])  # fewer than half of the public ones, and more
def test_copies_are_found_and_the_false_rate_is_kept(private: int) -> None:
    person, rng = torch.arange(400), Rng(0)
    false = []
    for seed in range(12):
        own, public = rows(private, 6, 2 * seed), rows(400, 6, 2 * seed + 1)
        public[7] = own[5] + 0.01 * rows(1, 6, 999)[0]
        spaces = {"pixels": (own, public), "features": (own[:, :3].tanh(), public[:, :3].tanh())}
        found = screened({k: v[0] for k, v in spaces.items()}, {k: v[1] for k, v in spaces.items()}, person, rng, 0.05)
        assert bool(found.near[7]) and int(found.private[7]) == 5
        assert found.near.tolist() == [
            any(float(found.distance[k][i]) < found.threshold[k] for k in spaces) for i in range(400)
        ]
        false.append(float(found.near.double().sum() - 1) / 399)
    assert np.mean(false) < 0.05 + 3 * np.std(false) / np.sqrt(12)
    assert "of 400 public pictures" in str(found)


def test_a_null_that_is_too_small_or_missing_is_refused() -> None:
    a, b = {"pixels": rows(10, 3, 0)}, {"pixels": rows(20, 3, 1)}
    with pytest.raises(BadInput, match=r"0\.0909 or more"):
        screened(a, b, torch.arange(20), Rng(0), 0.05)
    with pytest.raises(BadInput, match="two people"):
        screened(a, b, torch.zeros(20), Rng(0))
    with pytest.raises(BadInput, match="same spaces"):
        screened(a, {"features": b["pixels"]}, torch.arange(20), Rng(0))


def test_real_faces_of_other_people_pass_and_a_face_that_slipped_in_does_not() -> None:
    if not FACES.exists():
        pytest.skip("../shared/data/faces_orl is missing")
    data = np.load(FACES)
    x, person = (
        torch.from_numpy(data["images"][:, ::4, ::4]).float().flatten(1) / 127.5 - 1,
        torch.from_numpy(data["subject"]),
    )
    own = person <= person.unique()[12]
    public, whose = torch.cat([x[~own], x[own][:3] + 2 / 255]), torch.cat([person[~own], torch.tensor([901, 902, 903])])
    found = screened({"pixels": x[own]}, {"pixels": public}, whose, Rng(0), 0.02)
    assert found.near[-3:].all() and found.private[-3:].tolist() == [0, 1, 2]
    assert float(found.near[:-3].double().mean()) < 0.1
