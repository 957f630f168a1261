"""P: where w was before the mapping's last leaky ReLU, close to normal in a trained network (Zhu et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng

SLOPE = 0.2
"""Of the last leaky ReLU, in every StyleGAN; its gain, a factor for all of P, changes nothing here."""
BATCH = 1024
LEAST = 1e-4
"""Variances below this share of the largest are raised to it: whitening would divide by nothing."""
SKEWED, FLAT = 0.5, 4.0
"""Mean absolute skewness, and fewest directions that share the variance, up to and from which P counts as normal."""


def to_p(w: Tensor) -> Tensor:
    """w -> p, number by number."""
    return torch.where(w < 0, w / SLOPE, w)


def to_w(p: Tensor) -> Tensor:
    """p -> w, number by number.

    >>> to_w(to_p(torch.tensor([-1.0, 0.0, 2.0]))).tolist()
    [-1.0, 0.0, 2.0]
    """
    return torch.where(p < 0, p * SLOPE, p)


@dataclass(frozen=True, eq=False, kw_only=True)
class PSpace:
    """Mean, spread and covariance of p over ordinary latents, without truncation."""

    mean: Tensor
    """(w_dim,)."""
    sigma: Tensor
    """Standard deviation of each number, (w_dim,)."""
    values: Tensor
    """Variances along the principal directions, the largest first, (w_dim,); none below a floor."""
    vectors: Tensor
    """Those directions as columns, (w_dim, w_dim)."""
    skew: Tensor
    """Skewness of each number, 0 for a normal one: (w_dim,)."""
    kurtosis: Tensor
    """Excess kurtosis of each number, 0 for a normal one: (w_dim,)."""
    n: int
    """Latents behind all this: a standard deviation is off by 1 / sqrt(2 n) of itself."""

    @classmethod
    @torch.no_grad()
    def of(cls, generator: StyleGenerator, n: int, rng: Rng) -> PSpace:
        """Over `n` ordinary latents, drawn twice and never kept; raises BadInput for fewer than two."""
        if n < 2:
            raise BadInput("a spread needs samples", expected="two or more", got=str(n))
        size = generator.w_dim
        total, squares = torch.zeros(size).double(), torch.zeros(size, size).double()
        for p in _drawn(generator, n, rng):
            total += p.sum(0)
            squares += p.T @ p
        mean = total / n
        covariance = (squares - n * torch.outer(mean, mean)) / (n - 1)
        sigma = covariance.diagonal().clamp_min(1e-24).sqrt()
        third, fourth = torch.zeros(size).double(), torch.zeros(size).double()
        for p in _drawn(generator, n, rng):
            unit = (p - mean) / sigma
            third += unit.pow(3).sum(0)
            fourth += unit.pow(4).sum(0)
        values, vectors = torch.linalg.eigh(covariance)
        values, vectors = values.flip(0), vectors.flip(1)
        return cls(
            mean=mean.float(),
            sigma=sigma.float(),
            values=values.clamp_min(LEAST * float(values[0])).float(),
            vectors=vectors.float(),
            skew=(third / n).float(),
            kurtosis=(fourth / n - 3).float(),
            n=n,
        )

    def clip(self, w: Tensor, c: float) -> Tensor:
        """w (..., w_dim) brought into the box: every number of p within c standard deviations of its mean.

        The leaky ReLU rises throughout, so that the box of P is one of W. In many dimensions hardly any ordinary w lies
        in it: for c = 1 a third of all numbers do not, and the box acts like a truncation more than like a border.
        """
        low, high = (to_w(self.mean + side * c * self.sigma).to(w) for side in (-1, 1))
        return w.clamp(low, high)

    def shell(self, w: Tensor) -> Tensor:
        """w (..., w_dim) brought to where ordinary ones lie: as far from the mean of whitened p as normal numbers are.

        Unlike the box it holds the whole of the prior, but for its center: |v| = sqrt(w_dim).
        """
        v = self.whitened(w)
        length = v.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        return self.coloured(v / length * v.shape[-1] ** 0.5)

    def whitened(self, w: Tensor) -> Tensor:
        """v, standard normal where p is normal: (..., w_dim)."""
        p = to_p(w) - self.mean.to(w)
        return p @ self.vectors.to(w) / self.values.to(w).sqrt()

    def coloured(self, v: Tensor) -> Tensor:
        """The w of a whitened v: (..., w_dim)."""
        return to_w(v * self.values.to(v).sqrt() @ self.vectors.to(v).T + self.mean.to(v))

    def energy(self, w: Tensor) -> Tensor:
        """Squared Mahalanobis distance of p from its mean, (...): about w_dim for ordinary ones."""
        return self.whitened(w).square().sum(-1)

    @property
    def directions(self) -> float:
        """How many directions share the variance: 1 where one has all of it, w_dim where all are alike."""
        return float(self.values.sum().square() / self.values.square().sum())

    @property
    def skewed(self) -> float:
        """Mean absolute skewness; 0 for normal numbers."""
        return float(self.skew.abs().mean())

    def told(self) -> str:
        """How normal P is, in a sentence."""
        return (
            f"P over {self.n:,} latents: mean absolute skewness {self.skewed:.2g}, mean excess kurtosis "
            f"{float(self.kurtosis.mean()):.2g} (0 where normal); {self.directions:.3g} of {len(self.mean)} directions "
            "share the variance."
        )

    def checked(self) -> PSpace:
        """The same, where P is near enough to normal for a box or a shell; raises Unsupported otherwise."""
        if self.skewed <= SKEWED and self.directions >= min(FLAT, len(self.mean) / 2):
            return self
        raise Unsupported(
            f"P of this generator is far from normal, and a border there says nothing. {self.told()}",
            hint="search without a clip, or with truncation; --trust-p takes the clip all the same",
        )


def _drawn(generator: StyleGenerator, n: int, rng: Rng) -> Iterator[Tensor]:
    for i, z in enumerate(generator.latent.batches(n, BATCH, rng)):
        labels = generator.labels_of(torch.arange(len(z)) + i * BATCH)
        yield to_p(generator.mapping(z.to(generator.device), labels)).double().cpu()
