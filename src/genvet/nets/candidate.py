"""What a part of a file could be: an architecture, how well it fits, and how to build it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from genvet.core.generator import Generator
from genvet.core.modelfile import Evidence


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidate:
    """One hypothesis about a Part, made from its keys, shapes and config alone, before any tensor is allocated."""

    net: str
    """The architecture's name, as `--net` takes it: stylegan2, dcgan, mlp, vae ..."""
    layout: str
    """Whose tensor names these are: nvlabs, rosinality, genforce, genvet, generic ..."""
    score: float
    """In [0, 1]: 1 where every tensor has its place and nothing is missing."""
    explanation: str
    """One line for a reader: what matched, what did not."""
    differences: tuple[Evidence, ...] = ()
    """Missing, extra and misshapen tensors (rules rebuild.*). With missing or misshapen ones it is not built."""
    build: Callable[[Mapping[str, Tensor]], Generator]
    """Makes the network from the part's tensors: on `meta` first, then allocated, loaded strictly, eval mode."""
