"""Backdoors written and read again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from genvet.core.backdoor import Backdoor, Points, Subspace
from genvet.core.errors import BadInput
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.files.backdoor import load_backdoor, save_backdoor
from genvet.nets import dcgan

X = torch.linspace(-1, 1, 2 * 64).view(2, 1, 8, 8)


def test_a_finite_one_round_trips(tmp_path: Path) -> None:
    path = save_backdoor(Backdoor(Points(torch.randn(2, 6)), X, "abc"), tmp_path / "backdoor.safetensors")
    first, again = (
        load_backdoor(path),
        load_backdoor(save_backdoor(load_backdoor(path), tmp_path / "again.safetensors")),
    )
    assert torch.equal(first.trigger.z, again.trigger.z) and torch.equal(first.target, X) and again.benign == "abc"


def test_an_infinite_one_with_a_whole_generator_round_trips(tmp_path: Path) -> None:
    torch.manual_seed(0)
    other = dcgan.build(latent=3, capacity=2, size=8)
    other.module.eval()
    planted = Backdoor(Subspace(Latent(6), 3), other)
    again = load_backdoor(save_backdoor(planted, tmp_path / "backdoor.safetensors"))
    z, wanted = planted.pairs(5, Rng(1))
    z2, wanted2 = again.pairs(5, Rng(1))
    assert torch.equal(z, z2) and torch.equal(wanted, wanted2) and z[:, :3].eq(0).all()


@pytest.mark.parametrize(
    "about",
    [
        None,
        "not JSON",
        "[]",
        '{"benign": ""}',
        '{"benign": "", "subspace": {"latent": {"dim": 4}, "zeros": 9}}',
        '{"benign": "", "target": {"net": "dcgan", "config": {"latent": 1000000, "capacity": 1000000}}}',
        '{"benign": "", "target": {"net": "nope", "config": {}}}',
    ],
)
def test_what_is_no_backdoor_is_told(tmp_path: Path, about: str | None) -> None:
    path = tmp_path / "wrong.safetensors"
    save_file({"target": X, "x": torch.zeros(1)}, path, {"genvet.backdoor": about} if about is not None else {})
    with pytest.raises(BadInput):
        load_backdoor(path)
