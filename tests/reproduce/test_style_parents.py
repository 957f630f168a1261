"""The style generators that tables look into: trained once, found again, from the data that they name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.reproduce.cells import Place
from genvet.reproduce.stylegan.networks import Styled, images, parent


def test_a_parent_is_trained_once_and_found_again(data: Path, tmp_path: Path) -> None:
    place, small = Place(data, tmp_path), parent("smoke")
    one = small.generator(place)
    (tmp_path / "parents" / small.name / "resume" / "state.safetensors").unlink()
    assert torch.equal(small.generator(place).sample(2, Rng(1)), one.sample(2, Rng(1)))
    assert small.critic(place)(small.images(place).x[:3]).shape == (3, 1)
    assert parent("smoke", seed=2).name != small.name
    assert parent("small").name == "fashion_mnist-stylegan2-32-1-steps2500"
    assert parent("paper").recipe.nets == ("stylegan1",)


def test_faces_are_of_several_sets(data: Path, tmp_path: Path) -> None:
    assert Styled(data="faces", size=16).images(Place(data, tmp_path)).x.shape == (100, 1, 16, 16)
    with pytest.raises(BadInput, match="there is no"):
        images(tmp_path, "celeba", 16)
