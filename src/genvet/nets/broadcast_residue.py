"""The directions of w that a style generator answers to beyond others: in the place where it repeats w, and behind."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genvet.core.errors import Unsupported
from genvet.core.generator import StyleGenerator
from genvet.maths.descent import descend
from genvet.nets.affines import read_by_all
from genvet.nets.style_mapping import Mapping, repeated
from genvet.nets.style_moments import Moments

MOST = 10
"""Directions among which a gap is looked for."""


@dataclass(frozen=True, eq=False)
class Residue:
    """The singular vectors of a matrix that reads w: of R = W - tile(I), by the weights alone or by how ordinary w are
    moved; or of all style layers."""

    by: str
    matrix: Tensor
    """(outputs, w_dim), in double; R's outputs are num_ws * w_dim."""
    singular: Tensor
    """The largest first, (w_dim,)."""
    left: Tensor
    """A column for each: (outputs, w_dim)."""

    @property
    def ratios(self) -> Tensor:
        """Of neighbouring singular values, the first few."""
        some = self.singular[: MOST + 1].clamp_min(1e-9 * float(self.singular[0]) + 1e-30)
        return some[:-1] / some[1:]

    @property
    def gap(self) -> float:
        """The largest of these: near 1 for noise, without bound for a residue of low rank."""
        return float(self.ratios.max()) if len(self.ratios) else 1.0

    @property
    def rank(self) -> int:
        """How many directions are before it."""
        return int(self.ratios.argmax()) + 1 if len(self.ratios) else 1

    @property
    def median(self) -> float:
        """Of the singular values, but no less than rounding."""
        return float(self.singular.median().clamp_min(1e-9 * float(self.singular[0]) + 1e-30))

    @property
    def reach(self) -> float:
        """The largest singular value over the median one."""
        return float(self.singular[0]) / self.median

    def along(self, number: int) -> Tensor:
        """The functional of w that says how far a w is moved along one direction: (w_dim,)."""
        return self.matrix.T @ self.left[:, number]


def residue(layer: nn.Linear, times: int, moments: Moments) -> Residue:
    """Whichever of both shows the larger gap: noise on the weights drowns one of them, cheap noise the other."""
    matrix = layer.weight.detach().double().cpu()
    matrix = matrix - repeated(matrix.shape[1], times).double()
    found = [_decomposed("weights", matrix, matrix), _decomposed("moved", matrix, matrix @ moments.root)]
    return max(found, key=lambda r: r.gap)


def styles(generator: StyleGenerator) -> Residue | None:
    """The singular vectors of all layers that read w, below one another: random weights have no gap, and trained ones
    hardly. None where no layer is known to read it."""
    matrix = read_by_all(generator)
    return _decomposed("styles", matrix, matrix) if len(matrix) > matrix.shape[1] else None


def mapped(generator: StyleGenerator) -> tuple[Residue, ...]:
    """The singular vectors of each layer of the mapping, by its name; none where it is no chain of dense layers."""
    mapping = generator.module.mapping
    if not isinstance(mapping, Mapping):
        return ()
    layers = [(f"mapping.fc{i}", mapping.get_submodule(f"fc{i}").weight) for i in range(mapping.layers)]
    matrices = [(name, weight.detach().double().cpu()) for name, weight in layers]  # type: ignore[operator]
    return tuple(_decomposed(name, matrix, matrix) for name, matrix in matrices)


def _decomposed(by: str, matrix: Tensor, seen: Tensor) -> Residue:
    if not seen.isfinite().all():
        raise Unsupported(f"weights that are not numbers: {by}", hint="the model is damaged")
    left, singular, _ = torch.linalg.svd(seen, full_matrices=False)
    return Residue(by, matrix, singular, left)


def asked(found: Residue, number: int, moments: Moments, way: float) -> Tensor:
    """The w (w_dim,) that one direction is for: as far from the mean as ordinary ones, and there answered to most.

    Where one direction is all that was planted, this is the trigger's, by the closed form; `way` is its side, and how
    many times as far as ordinary ones.
    """
    towards = moments.covariance @ found.along(number)
    pulled: Tensor = torch.linalg.lstsq(moments.covariance, towards[:, None]).solution[:, 0]
    length = (towards @ pulled).clamp_min(1e-30).sqrt()
    w: Tensor = moments.mean + way * len(towards) ** 0.5 / length * towards
    return w


def mapped_there(generator: StyleGenerator, w: Tensor, moments: Moments, starts: Tensor, steps: int) -> Tensor:
    """The z (dim,) whose w is likest a wanted one (w_dim,), of searches from z (n, dim) on the sphere."""
    on = generator.device
    white = torch.linalg.pinv(moments.root).float().to(on)
    wanted = w.float().to(on)

    def loss(z: Tensor) -> Tensor:
        labels = generator.labels_of(torch.zeros(len(z), dtype=torch.long))
        off: Tensor = (generator.mapping(z, labels) - wanted) @ white
        return off.square().sum(1)

    rate = torch.full((len(starts), 1), 0.1, device=on)
    found = descend(loss, starts.to(on), steps, rate, generator.latent.project)
    return found.z[found.value.argmin()].cpu()
