"""What a sample costs is told by shapes, quickly, however large the network claims to be."""

from __future__ import annotations

import time

import pytest
import torch

from genvet.core.rng import Rng
from genvet.nets import dcgan, stylegan1, stylegan2, stylegan3
from genvet.nets.cost import cost

SMALL = {"size": 16, "z_dim": 8, "w_dim": 8, "channel_base": 64, "channel_max": 8, "mapping_layers": 2}


def test_a_dcgan_counts_what_its_layers_say():
    # Dense 100 -> 256*7*7; then 5x5 transposed convolutions at 7, 7 and 14 pixels.
    products = 100 * 256 * 49 + 49 * 256 * 128 * 25 + 49 * 128 * 64 * 25 + 196 * 64 * 25
    counted = cost(dcgan.build()).operations
    assert 2 * products < counted < 2.1 * products


def test_a_stylegan2_counts_its_convolutions_and_leaves_the_network_as_it_was():
    generator = stylegan2.build(size=8, z_dim=4, w_dim=4, widths=[6, 5], mapping_layers=1, rng=Rng(0))
    before = {key: value.clone() for key, value in generator.module.state_dict().items()}
    products = 9 * (6 * 6 * 16 + 6 * 5 * 16 + 5 * 5 * 64) + 16 * (5 * 81 - 5 * 17) + 3 * (6 * 16 + 5 * 64)
    counted = cost(generator)
    assert products < counted.operations < 4 * products and counted.largest == 5 * 9 * 9
    assert all(torch.equal(before[key], value) for key, value in generator.module.state_dict().items())
    assert generator.sample(1, Rng(0)).device.type == "cpu"


@pytest.mark.parametrize("net", [stylegan1, stylegan2, stylegan3])
def test_a_conditional_style_generator_is_followed_by_shapes(net):
    small, large = (cost(net.build(**(SMALL | {"size": size}), classes=3, rng=Rng(0))).operations for size in (16, 64))
    assert 1.1 < large / small < 60


@pytest.mark.parametrize("net", [stylegan1, stylegan3])
def test_a_network_that_claims_4096_pixels_is_told_before_it_runs(net):
    with torch.device("meta"):
        generator = net.build(size=4096, z_dim=4, w_dim=4, channel_max=2, mapping_layers=1)
    start = time.process_time()
    found = cost(generator)
    assert found.operations > 1e9 and found.largest >= 2 * 4096**2 and time.process_time() - start < 10
