"""How natural images look, without a reference: NIQE with its Gaussian refitted to given images and patches.

Mittal, Soundararajan and Bovik 2013, "Making a 'completely blind' image quality analyzer". The published model was
fitted to 96-pixel patches of photographs; below that size, and for other pictures, its scores mean nothing. Here the
same features are fitted anew, so that scores compare under the same fit alone: hence the name that each model carries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from genvet.core.errors import BadInput, Unsupported
from genvet.core.rng import Rng
from genvet.maths.averages import mean_of
from genvet.maths.quality import Estimate

LUMA = (0.299, 0.587, 0.114)
"""Grey is 0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601), from 0 to 255, not rounded."""
WINDOW, SPREAD = 7, 7 / 6
"""Of the Gaussian window around each pixel; its pixels beyond the border repeat the border."""
FEATURES = 36
"""18 at each of two scales: shape and width of the pixels; shape, mean and both widths of four neighbour products."""
SHARP = 0.75
"""Fitted are those patches of an image whose sharpness is above this share of its sharpest."""
SMALLEST_PATCH = 16
"""Pixels a side: half as many at the second scale, which leaves 64 values for a fit of three parameters."""
LEVELS: dict[str, tuple[float, ...]] = {"blur": (0.0, 0.5, 1.0, 2.0), "noise": (0.0, 8.0, 16.0, 32.0)}
"""At which a model has to rise: standard deviations, of blur in pixels, of noise in the 255 levels of grey."""
_SHAPES = torch.arange(0.2, 10.001, 0.001, dtype=torch.float64)
_NOTHING = 1e-10


def grey(x: Tensor) -> Tensor:
    """Images (n, 1 or 3, h, w) in [-1, 1], clipped as a viewer would -> luminance (n, h, w) from 0 to 255."""
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise BadInput("no pictures", expected="(n, 1 or 3, height, width)", got=str(tuple(x.shape)))
    levels = x.double().clamp(-1, 1).add(1).mul(127.5)
    weights = levels.new_tensor(LUMA if x.shape[1] == 3 else (1.0,))
    return (levels * weights[:, None, None]).sum(1)


def normalised(light: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance (n, h, w) less its local mean, over its local deviation plus 1 (eq. 1 to 3); and that deviation."""
    row = torch.arange(WINDOW, dtype=light.dtype, device=light.device) - WINDOW // 2
    row = (-row.square() / (2 * SPREAD**2)).exp()
    row = row / row.sum()

    def local(values: Tensor) -> Tensor:
        wide = F.pad(values[:, None], (WINDOW // 2,) * 4, mode="replicate")
        return F.conv2d(F.conv2d(wide, row[None, None, None]), row[None, None, :, None])[:, 0]

    mean = local(light)
    deviation = (local(light.square()) - mean.square()).abs().sqrt()
    return (light - mean) / (deviation + 1), deviation


def asymmetric(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shape, left and right width of the asymmetric generalised Gaussian of each row (p, m), by its moments (eq. 4).

    (Lasmar, Stitou and Berthoumieu 2009.) Shapes lie between 0.2 and 10.

    >>> x = torch.randn(1, 200_000, generator=Rng(0).block(), dtype=torch.float64)
    >>> [round(float(v), 1) for v in asymmetric(x)]
    [2.0, 1.4, 1.4]
    """
    squares = values.square()
    below, above = values < 0, values > 0
    left = ((squares * below).sum(1) / below.sum(1).clamp_min(1)).sqrt()
    right = ((squares * above).sum(1) / above.sum(1).clamp_min(1)).sqrt()
    ratio = left / right.clamp_min(_NOTHING)
    peaked = values.abs().mean(1).square() / squares.mean(1).clamp_min(_NOTHING)
    wanted = peaked * (ratio**3 + 1) * (ratio + 1) / (ratio.square() + 1).square()
    shape = _shape(wanted)
    width = (torch.lgamma(1 / shape) - torch.lgamma(3 / shape)).div(2).exp()
    return shape, left * width, right * width


def _shape(wanted: Tensor) -> Tensor:
    """The shape at which the squared mean over the mean square of a generalised Gaussian has this value."""
    grid = _SHAPES.to(wanted.device)
    rising = (2 * torch.lgamma(2 / grid) - torch.lgamma(1 / grid) - torch.lgamma(3 / grid)).exp()
    place = torch.searchsorted(rising, wanted.contiguous()).clamp(1, len(grid) - 1)
    step = (wanted - rising[place - 1]) / (rising[place] - rising[place - 1])
    return torch.lerp(grid[place - 1], grid[place], step.clamp(0, 1))


def _of_patches(patches: Tensor) -> Tensor:
    """The 18 features of normalised patches (p, s, s)."""
    shape, left, right = asymmetric(patches.flatten(1))
    columns = [shape, (left + right) / 2]
    # Unlike the authors' program, no product reaches around the patch's edge: at 8 pixels that would be 1 in 8.
    inner = patches[:, :-1, 1:-1]
    products = (
        patches[:, :, :-1] * patches[:, :, 1:],
        patches[:, :-1] * patches[:, 1:],
        inner * patches[:, 1:, 2:],
        inner * patches[:, 1:, :-2],
    )
    for product in products:
        shape, left, right = asymmetric(product.flatten(1))
        mean = (right - left) * (torch.lgamma(2 / shape) - torch.lgamma(1 / shape)).exp()
        columns += [shape, mean, left, right]
    return torch.stack(columns, 1)


def patch_features(x: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """Features (n, patches, 36) of the patches of images, row by row, and their sharpness (n, patches).

    A patch without any structure has features NaN. What is left over at the right and at the bottom is not looked at.
    """
    if patch % 2 or patch < SMALLEST_PATCH or min(x.shape[2:]) < patch:
        expected = f"an even patch of {SMALLEST_PATCH} pixels or more, and images at least as large"
        raise BadInput("no such patches", expected=expected, got=f"{patch=}, images {tuple(x.shape)}")
    light = grey(x)
    h, w = (side // patch * patch for side in light.shape[1:])
    light = light[:, :h, :w]
    half = F.interpolate(light[:, None], scale_factor=0.5, mode="bicubic", antialias=True)[:, 0]
    scales, sharpness = [], light.new_zeros(0)
    for image, side in ((light, patch), (half, patch // 2)):
        flat, deviation = normalised(image)
        cut = _cut(flat, side)
        features = _of_patches(cut.flatten(0, 1)).unflatten(0, cut.shape[:2])
        scales.append(features.where(cut.square().mean((2, 3))[..., None] > _NOTHING, torch.nan))
        sharpness = sharpness if len(sharpness) else _cut(deviation, side).mean((2, 3))
    return torch.cat(scales, 2), sharpness


def _cut(images: Tensor, side: int) -> Tensor:
    """Images (n, h, w) -> (n, patches, side, side)."""
    return images.unfold(1, side, side).unfold(2, side, side).flatten(1, 2)


@dataclass(frozen=True, eq=False)
class NaturalImages:
    """NIQE's Gaussian, refitted to given real images at a given patch size; `fit` makes one, its `name` says so."""

    patch: int
    mean: Tensor
    """(36,)"""
    covariance: Tensor
    """(36, 36)"""
    images: int
    """That it was fitted to."""
    real: Estimate
    """The mean score of the real images that were held out: what natural means here."""
    responses: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Mean scores of the held-out images at each of `LEVELS`."""
    failing: tuple[str, ...] = ()
    """Kinds of damage under which it does not rise."""

    @property
    def name(self) -> str:
        """What a table calls it; a model that does not rise under damage carries that in its name."""
        caveat = f", which does not rise under {' and '.join(self.failing)}" if self.failing else ""
        return f"NIQE refitted to {self.patch}-pixel patches of {self.images} images{caveat}"

    @classmethod
    def fit(cls, images: Tensor, patch: int, rng: Rng, *, anyway: bool = False) -> NaturalImages:
        """Fit three quarters of real images (n, c, h, w) in [-1, 1]; the rest shows whether scores rise under damage.

        Raises Unsupported where blur or noise does not raise them, or `anyway` names the model accordingly; and
        BadInput where there are fewer than twice as many patches as features.
        """
        order = torch.randperm(len(images), generator=rng.fork("held out").block())
        kept, held = images[order[len(images) // 4 :]], images[order[: len(images) // 4]]
        rows = _sharp_rows(kept, patch)
        if len(rows) < 2 * FEATURES or len(held) < 2:
            expected = f"{2 * FEATURES} sharp patches or more"
            raise BadInput("too few images to fit", expected=expected, got=f"{len(rows)} of {len(kept)} images")
        bare = cls(patch, rows.mean(0), torch.cov(rows.T), len(kept), Estimate(math.nan, math.nan, math.nan))
        found = {kind: [bare.scores(damaged(held, kind, s, rng)) for s in steps] for kind, steps in LEVELS.items()}
        failing = tuple(kind for kind, scores in found.items() if not rises(scores))
        if failing and not anyway:
            raise Unsupported(
                f"{bare.name} does not rise under {' and '.join(failing)}, so that it measures no quality here",
                hint="it is made for photographs: for drawings, compare with real ones in a feature space",
            )
        means = {kind: tuple(float(s.nanmean()) for s in scores) for kind, scores in found.items()}
        untouched = found["blur"][0]
        real = mean_of(untouched[~untouched.isnan()], low=0)
        return cls(patch, bare.mean, bare.covariance, len(kept), real, means, failing)

    def scores(self, images: Tensor) -> Tensor:
        """Of each image (n,): 0 and more, the lower the more natural; NaN where an image has no structure at all."""
        features, _ = patch_features(images, self.patch)
        return torch.stack([self._distance(rows[~rows.isnan().any(1)]) for rows in features])

    def of_set(self, images: Tensor) -> float:
        """One score of all images together: steadier where an image has but a few patches."""
        rows = patch_features(images, self.patch)[0].flatten(0, 1)
        return float(self._distance(rows[~rows.isnan().any(1)]))

    def _distance(self, rows: Tensor) -> Tensor:
        """Between the two Gaussians (eq. 10); a single patch has no spread of its own, and is lent the model's."""
        if not len(rows):
            return rows.new_tensor(math.nan)
        spread = torch.cov(rows.T) if len(rows) > 1 else self.covariance
        apart = rows.mean(0) - self.mean
        inverse = torch.linalg.pinv((self.covariance + spread) / 2, hermitian=True)
        distance: Tensor = (apart @ inverse @ apart).clamp_min(0).sqrt()
        return distance


def _sharp_rows(x: Tensor, patch: int) -> Tensor:
    """The features of the sharp patches of each image, (p, 36)."""
    features, sharpness = patch_features(x, patch)
    sharp = sharpness > SHARP * sharpness.amax(1, keepdim=True)
    rows = features[sharp]
    return rows[~rows.isnan().any(1)]


def rises(scores: list[Tensor]) -> bool:
    """Whether scores (n,) of images under rising damage rise in the mean at each step, and surely from end to end.

    >>> rises([torch.arange(9.0), torch.arange(9.0) + 1]), rises([torch.arange(9.0), torch.arange(9.0).flip(0)])
    (True, False)
    """
    rows = torch.stack(scores)
    rows = rows[:, ~rows.isnan().any(0)]
    if rows.shape[1] < 2:
        return False
    return bool((rows.mean(1).diff() > 0).all()) and mean_of(rows[-1] - rows[0]).low > 0


def damaged(x: Tensor, kind: str, strength: float, rng: Rng) -> Tensor:
    """Images with blur of so many pixels or noise of so many of 255 levels, clipped to [-1, 1]."""
    if kind == "noise":
        noise = torch.randn(x.shape, generator=rng.fork("noise").block())
        return (x + noise.to(x) * (strength / 127.5)).clamp(-1, 1)
    return blurred(x, strength)


def blurred(x: Tensor, spread: float) -> Tensor:
    """Images (n, c, h, w) under a Gaussian of this standard deviation in pixels; the border is repeated."""
    reach = math.ceil(3 * spread)
    if not reach:
        return x
    row = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    row = (-row.square() / (2 * spread**2)).exp()
    row = (row / row.sum()).expand(x.shape[1], 1, 1, -1)
    wide = F.pad(x, (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(wide, row, groups=x.shape[1]), row.mT, groups=x.shape[1])
