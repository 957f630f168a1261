"""Our DCGAN is the paper's network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from genvet.core.errors import BadInput
from genvet.nets import dcgan
from genvet.nets.build import build


def test_the_paper_network_has_its_number_of_parameters():
    generator = build("dcgan")
    moments = sum(2 * m.num_features for m in generator.module if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d))
    assert (generator.parameters, generator.parameters + moments) == (2_305_472, 2_330_944)


@pytest.mark.parametrize(("size", "channels"), [(28, 1), (8, 1), (32, 3)])
def test_images_and_scores_have_their_shapes(size, channels):
    generator = build("dcgan", {"latent": 16, "capacity": 4, "size": size, "channels": channels})
    x = generator(torch.randn(3, 16))
    assert x.shape == (3, *generator.shape) == (3, channels, size, size)
    assert dcgan.critic(4, size, channels)(x).shape == (3, 1)


def test_transposed_convolution_is_cut_as_tensorflow_cuts_it():
    """TensorFlow's is the gradient of a "same" convolution, which pads (1, 2) for a 5x5 kernel at stride 2."""
    layer = dcgan.UpConv(3, 2)
    x = torch.randn(1, 3, 4, 4)
    image = torch.zeros(1, 2, 8, 8, requires_grad=True)
    forward = nn.functional.conv2d(nn.functional.pad(image, (1, 2, 1, 2)), layer.weight, stride=2)
    (expected,) = torch.autograd.grad(forward, image, x)
    np.testing.assert_allclose(layer(x).detach(), expected, atol=1e-5)


def test_wrong_sizes_and_options_are_told():
    with pytest.raises(BadInput, match="multiple of 4"):
        build("dcgan", {"size": 30})
    with pytest.raises(BadInput) as error:
        build("dcgan", {"capcity": 3})
    assert "capacity" in error.value.hint
