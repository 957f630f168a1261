"""Image factors follow what is done to an image, each its own, and say nothing where there is nothing."""

from __future__ import annotations

import pytest
import torch

from genvet.core.errors import BadInput
from genvet.maths.factors import MEANING, factors, names


def blob(across: float = 0.0, down: float = 0.0, size: float = 0.3, channels: int = 1) -> torch.Tensor:
    """A soft bright disc on black, (1, channels, 32, 32)."""
    at = torch.linspace(-1, 1, 32)
    apart = torch.hypot(at[None, :] - across, at[:, None] - down)
    return (1.8 / (1 + ((apart - size) * 20).exp()) - 1).expand(1, channels, 32, 32).clone()


def of(x: torch.Tensor) -> dict[str, float]:
    return dict(zip(names(x.shape[1]), factors(x)[0].tolist(), strict=True))


def test_each_change_is_seen_by_its_own_factor() -> None:
    plain, right, low, large = (of(b) for b in (blob(), blob(across=0.5), blob(down=0.4), blob(size=0.6)))
    assert right["centroid x"] == pytest.approx(0.5, abs=0.03) and abs(plain["centroid x"]) < 1e-4
    assert low["centroid y"] == pytest.approx(0.4, abs=0.03) and abs(right["centroid y"]) < 0.01
    assert plain["symmetry"] == pytest.approx(1, abs=1e-4) and right["symmetry"] < 0.3 and low["symmetry"] > 0.999
    assert large["area"] > 3 * plain["area"] and large["brightness"] > 3 * plain["brightness"]
    half = of(blob() / 2 - 0.5)
    assert half["contrast"] == pytest.approx(plain["contrast"] / 2, rel=1e-4)
    assert half["sharpness"] == pytest.approx(plain["sharpness"], rel=1e-4), "sharpness is not contrast"


def test_fine_detail_and_sharpness_rise_with_frequency() -> None:
    at = torch.arange(32) / 32
    slow, fast = (torch.sin(2 * torch.pi * k * at).expand(1, 1, 32, 32) for k in (2, 12))
    assert of(slow)["fine detail"] < 1e-6 and of(fast)["fine detail"] == pytest.approx(1, abs=1e-5)
    assert of(fast)["sharpness"] > 4 * of(slow)["sharpness"]


def test_colour_is_measured_where_there_is_any() -> None:
    assert "saturation" not in names(1) and set(names(3)) == set(MEANING)
    grey, red, cyan, green = (blob(channels=3) for _ in range(4))
    red[:, 1:], cyan[:, 0], green[:, [0, 2]] = -1, -1, -1
    assert of(grey)["saturation"] == 0 == of(grey)["hue cosine"] == of(grey)["hue sine"]
    assert of(red)["hue cosine"] == pytest.approx(1, abs=1e-5) and of(cyan)["hue cosine"] == pytest.approx(-1, abs=1e-5)
    assert of(green)["hue sine"] == pytest.approx(3**0.5 / 2, abs=1e-5) and of(red)["saturation"] > 0.05
    assert of(blob())["brightness"] == pytest.approx(of(grey)["brightness"], abs=1e-5)


@pytest.mark.parametrize("level", [-1.0, 0.3, 7.0])
def test_a_flat_image_has_none_and_values_past_the_range_are_clipped(level: float) -> None:
    flat = of(torch.full((1, 3, 8, 8), level))
    assert flat.pop("brightness") == pytest.approx(min((level + 1) / 2, 1)) and flat.pop("symmetry") == 1
    assert all(value == pytest.approx(0, abs=1e-6) for value in flat.values()), flat
    assert factors(torch.empty(0, 1, 8, 8)).shape == (0, len(names(1)))


@pytest.mark.parametrize("shape", [(2, 1, 16000), (2, 1, 3, 8)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="factors are those of images"):
        factors(torch.zeros(shape))
