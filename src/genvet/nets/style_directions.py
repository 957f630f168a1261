"""Directions of w that the network itself prefers: principal components of w, and SeFa's closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.nets.style_space import Space, W, WPlus, style_layers

SAMPLES = 8192
"""Of w, for its principal components."""


@dataclass(frozen=True, eq=False)
class Basis:
    """Directions of w (k, w_dim), of unit length, and what each of them accounts for, in falling order."""

    directions: Tensor
    shares: Tensor
    """Of the variance of w, or of the squared weights: (k,), they sum to 1."""


def basis(here: Space, kind: str) -> Basis:
    """`pca` or `sefa` of a space; raises Unsupported where it is neither w nor w+. The layers of w+ count for SeFa."""
    if not isinstance(here, W | WPlus):
        raise Unsupported(f"{here.name} has no {kind} of its own", hint="these are directions of w: --space w, or w+")
    if kind == "pca":
        return principal(here.generator)
    return closed_form(here.generator, here.layers if isinstance(here, WPlus) else None)


@torch.inference_mode()
def principal(generator: StyleGenerator, samples: int = SAMPLES) -> Basis:
    """Principal components of w (Harkonen et al. 2020, GANSpace), largest variance first."""
    latent, rng = generator.latent, Rng(0, "principal components")
    z, labels = latent.sample(0, samples, rng), generator.labels_of(torch.arange(samples))
    w = generator.mapping(z.to(generator.device), labels).double().cpu()
    _, sizes, directions = torch.linalg.svd(w - w.mean(0), full_matrices=False)
    return Basis(_steady(directions), (sizes.square() / sizes.square().sum()).float())


@torch.inference_mode()
def closed_form(generator: StyleGenerator, layers: tuple[int, ...] | None = None) -> Basis:
    """SeFa (Shen, Zhou 2021, eq. 5): what the styles of these layers weigh most, each channel counting the same.

    Eigenvectors of A^T A, where the rows of A are the style weights of every channel, scaled to length 1. Layers that
    only make the image are left out, unless there are no others.
    """
    found = [layer for layer in style_layers(generator) if layers is None or layer.reads in layers]
    shaping = [layer for layer in found if not layer.name.endswith("torgb")] or found
    rows = torch.cat([layer.affine.weight.double().cpu() for layer in shaping])
    norms = rows.norm(dim=1, keepdim=True)
    if not bool(norms.any()):
        raise BadInput("the styles of these layers do not depend on w", hint="choose others")
    rows = rows / norms.clamp_min(1e-12)
    values, vectors = torch.linalg.eigh(rows.T @ rows)
    values = values.flip(0).clamp_min(0)
    return Basis(_steady(vectors.T.flip(0)), (values / values.sum()).float())


def _steady(directions: Tensor) -> Tensor:
    """Each with its largest number positive: a sign that does not depend on the machine."""
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return (directions * largest.sign()).float()
