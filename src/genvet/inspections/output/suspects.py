"""Suspects: where a network falls into two parts, what does the one give that ordinary outputs do without?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.errors import TooCostly
from genvet.core.generator import Generator
from genvet.core.report import Figure, Measure
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Picture, Probe, Result
from genvet.nets.cost import Cost
from genvet.nets.fast import batch_size, folded, price
from genvet.nets.suspect_search import APART, Excited, best_starts, excite, partitioned, responses

SHOWN = 8
FAINT = 1e-4
"""Mean square of a value: a part that ordinarily does less counts as doing so much."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Suspected(Result):
    """What the suspect part can be driven to, beside what it ordinarily does."""

    found: Excited
    typical: Tensor
    """Of each start, the mean response at latents of its kind that nobody searched for."""
    drawn: Tensor
    """Responses at ordinary latents."""
    images: Tensor
    silent: Tensor
    """The same latents with the suspect part silent."""
    shown: tuple[int, ...]
    separation: float
    share: float

    @property
    def gain(self) -> Tensor:
        """Of each start, the response found over the typical one."""
        return self.found.response / self.typical

    def summary(self) -> str:
        best = int(self.gain.argmax())
        said = f"{self.share:.0%} of the units form a part of their own (separation {self.separation:.2g})."
        said += f" Driven from a {self.found.starts.kinds[best]} start, it changes the output by"
        return f"{said} {self.found.response[best]:.4g} (sum of squares), {self.gain[best]:.3g} times as much as usual."

    def measures(self) -> tuple[Measure, ...]:
        kinds = self.found.starts.kinds
        of = {kind: float(self.gain[[k == kind for k in kinds]].max()) for kind in dict.fromkeys(kinds)}
        plain = float(self.drawn.max() / self.typical[0])
        return (
            Measure(name="gain", value=max(of.values()), n=len(kinds), note="response found over the typical one"),
            *(Measure(name=f"gain.{kind}", value=value, n=kinds.count(kind)) for kind, value in of.items()),
            Measure(name="gain.drawn", value=plain, n=len(self.drawn), note="without a search: the largest of draws"),
            Measure(name="separation", value=self.separation),
        )

    def figures(self) -> tuple[Figure | Picture, ...]:
        pairs = torch.stack([self.images, self.silent], 1).flatten(0, 1)
        captions = tuple(c for i in self.shown for c in (f"{self.gain[i]:.3g} times as usual", "without the part"))
        caption = "What the suspect part adds where it responds most: each output, and the same without the part."
        steps = range(0, len(self.found.path), max(1, len(self.found.path) // 100))
        names = {i: f"{i}: {self.found.starts.kinds[i]}" for i in self.shown}
        series = {names[i]: [list(steps), self.found.path[list(steps), i].tolist()] for i in self.shown}
        data = {"series": series, "x": "step", "y": "response", "log": True}
        return (
            Picture("Where the suspect part responds most", pairs, captions, caption),
            Figure(kind="curve", title="Searches of the suspect part", data=data),
        )

    @property
    def queries(self) -> int:
        return 2 * (self.found.path.numel() + 2 * len(self.drawn))


class Suspects(Probe):
    """Drives a part of the network that stands apart to its strongest response, and shows what it gives."""

    source: ClassVar[str] = "Devil in the GAN, sections III-B (OB-OI) and V-D: against ReX, maximise the added part"
    smoke: ClassVar[dict[str, Any]] = {"restarts": 2, "steps": 5, "draws": 32, "apart": 0.0}
    depths: ClassVar[dict[str, dict[str, Any] | None]] = {
        "quick": {"restarts": 14, "steps": 60, "draws": 256, "operations": 2e12},
        "deep": {"restarts": 254, "steps": 300, "operations": 1e15},
    }
    signals: ClassVar[dict[str, str]] = {"gain": "a part of the network gives what ordinary outputs do without"}

    restarts: int = Field(default=62, ge=1)
    """Searches that start from the draws at which the part responds most; the mode and a far point come on top."""
    steps: int = Field(default=120, ge=1)
    """Steps of Adam in each search."""
    draws: int = Field(default=1024, ge=8)
    """Ordinary latents at which the part's usual response is measured."""
    apart: float = Field(default=APART, ge=0, le=1)
    """The separation from which on two parts are told apart; below it, there is nothing to search."""
    operations: float = Field(default=2e13, gt=0)
    """Fewer searches start where they would cost more floating-point operations; where not even 4 can, none do."""

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Suspected:
        part, generator, cost = partitioned(target, self.apart), folded(target), price(target)
        restarts, batch = self._affordable(cost), batch_size(cost)
        z = target.latent.sample(0, self.draws, rng.fork("draws"))
        drawn, far = (responses(generator, part, scale * z, batch) for scale in (1, 10))
        starts = best_starts(generator, restarts, z, drawn, rng)
        found = excite(generator, part, starts, self.steps, batch)
        faint = FAINT * torch.Size(target.shape).numel()
        usual = {kind: float((far if kind == "far" else drawn).mean().clamp_min(faint)) for kind in starts.kinds}
        typical = torch.tensor([usual[kind] for kind in starts.kinds])
        shown = (found.response / typical).argsort(descending=True, stable=True)[:SHOWN]
        with torch.no_grad():
            best = found.z[shown].to(target.device)
            images, silent = target(best).float().cpu(), part.without(target, best).float().cpu()
        return Suspected(
            found=found,
            typical=typical,
            drawn=drawn,
            images=images,
            silent=silent,
            shown=tuple(shown.tolist()),
            separation=part.separation,
            share=part.share,
        )

    def _affordable(self, cost: Cost) -> int:
        """Searches from the prior. A step is two forwards, and backward about twice as much."""
        one = 6.0 * cost.operations * self.steps
        least = min(4, self.restarts)
        if one * least > self.operations:
            raise TooCostly("searching the suspect part", cost=one * least, allowed=self.operations)
        return min(self.restarts, int(self.operations // one))
