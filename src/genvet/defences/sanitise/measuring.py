"""What a repair is worth: what is left of the backdoor, how far ordinary samples moved, and how good they still are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.backdoor import Backdoor
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.report import Measure
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Result
from genvet.maths.distances import exact, squared_distances
from genvet.nets.distortion import averaged, distance, outputs

SHOWN = 4
ORDINARY = "chance: the target against ordinary samples"


@dataclass(frozen=True, eq=False, kw_only=True)
class Hit:
    """What the triggers give before and after, beside what they were to give; sums of squares, (m,) each."""

    shown: Tensor
    """Target, before, after, and what the clean model gives where there is one, trigger by trigger: (k, *shape)."""
    finite: bool
    before: Tensor
    after: Tensor
    ordinary: float
    """The mean distance of ordinary samples to the target."""
    nearest: Tensor
    """Distance of each triggered output to the nearest of the ordinary samples."""
    usual: float
    """The mean distance of an ordinary sample to the nearest of others."""
    clean: Tensor
    """Distance to what the clean model gives for the same triggers; empty where there is none."""

    def measures(self) -> Iterator[Measure]:
        interval = not self.finite
        yield averaged("target-distortion", self.after, interval=interval, chance=self.ordinary, note=ORDINARY)
        yield averaged("target-distortion.before", self.before, interval=interval, chance=self.ordinary, note=ORDINARY)
        note = "from the trigger's output to an ordinary sample; chance: from one ordinary sample to another"
        yield averaged("trigger-to-nearest", self.nearest, interval=interval, chance=self.usual, note=note)
        if len(self.clean):
            note = "from what the trigger gives to what it gives in the clean model"
            yield averaged("trigger-to-clean", self.clean, interval=interval, note=note)


@dataclass(frozen=True, eq=False, kw_only=True)
class Repaired(Result):
    """A repaired generator beside the one that it was made from, and beside a clean one where there is one."""

    repaired: Generator
    expected: Tensor
    """How far each ordinary sample moved, (n,)."""
    clean: tuple[Tensor, Tensor] | None
    """How far ordinary samples are from the clean model's, before and after the repair, (n,) each."""
    hit: Hit | None
    """None where no backdoor is known."""
    quality: tuple[Measure, ...]
    changed: int | None
    """Numbers of the network that are others now; None where its make is another."""
    shown: Tensor
    """Ordinary samples before, then the same after: (k, *shape)."""

    def summary(self) -> str:
        moved = f"ordinary samples moved by {self.expected.mean():.3g}"
        if self.hit is None:
            return f"{moved.capitalize()} (sum of squares); without the backdoor, what is left of it is not known."
        hit = self.hit
        left = f"The trigger now gives the target to within {hit.after.mean():.3g}"
        than = f"before: {hit.before.mean():.3g}; ordinary samples: {hit.ordinary:.3g}"
        return f"{left} ({than}); {moved} (sums of squares)."

    def measures(self) -> tuple[Measure, ...]:
        found = [*self.hit.measures()] if self.hit else []
        found.append(averaged("expected-distortion", self.expected, interval=True, note="against the model as it was"))
        for name, values in zip(("before", "clean"), self.clean or (), strict=False):
            note = "against the clean model" + (", before the repair" if name == "before" else "")
            found.append(averaged(f"expected-distortion.{name}", values, interval=True, note=note))
        note = "the network is of another make" if self.changed is None else "numbers that are others now"
        return (
            *found,
            *self.quality,
            Measure(name="changed", value=self.changed, n=self.repaired.parameters, note=note),
        )

    def figures(self) -> tuple[Picture, ...]:
        ordinary = Picture("Ordinary samples before and after", self.shown, columns=8)
        if self.hit is None:
            return (ordinary,)
        also = ", in the clean model" if len(self.hit.clean) else ""
        columns = 4 if also else 3
        return Picture(f"Target; the trigger's output before, after{also}", self.hit.shown, columns=columns), ordinary

    @property
    def queries(self) -> int:
        return (4 + 2 * bool(self.clean)) * len(self.expected) + (2 * len(self.hit.after) if self.hit else 0)


def compare(
    before: Generator,
    after: Generator,
    rng: Rng,
    *,
    backdoor: Backdoor | None = None,
    clean: Generator | None = None,
    samples: int = 1024,
) -> Repaired:
    """Measure a repaired generator against the one that it was made from; raises BadInput where they do not fit."""
    fits(clean, before)
    old, new = (g.sample(samples, rng.fork("measured")) for g in (before, after))
    others = before.sample(samples, rng.fork("others"))
    quality, against = [distance("frechet", new, others, old)], None
    if clean:
        pure = clean.sample(samples, rng.fork("measured"))
        against = exact(old, pure), exact(new, pure)
        quality.append(distance("frechet.clean", new, clean.sample(samples, rng.fork("others")), pure))
    return Repaired(
        repaired=after,
        expected=exact(new, old),
        clean=against,
        hit=_hit(before, after, clean, backdoor, (old, others), rng) if backdoor else None,
        quality=tuple(quality),
        changed=changed(before, after),
        shown=torch.stack([old[: 2 * SHOWN], new[: 2 * SHOWN]]).flatten(0, 1),
    )


def fits(clean: Generator | None, compromised: Generator) -> None:
    """Raises BadInput where a clean model, if there is one, takes or gives something else."""
    if clean and (clean.latent, tuple(clean.shape)) != (compromised.latent, tuple(compromised.shape)):
        expected, got = (f"{g.latent}, {tuple(g.shape)}" for g in (compromised, clean))
        raise BadInput("the clean model does not fit", expected=expected, got=got)


def _hit(
    before: Generator,
    after: Generator,
    clean: Generator | None,
    backdoor: Backdoor,
    ordinary: tuple[Tensor, Tensor],
    rng: Rng,
) -> Hit:
    samples, others = ordinary
    z, wanted = backdoor.pairs(len(samples), rng.fork("triggers"))
    given = [outputs(g, z) for g in (before, after, clean) if g]
    targets = wanted[: len(samples)]
    return Hit(
        shown=torch.stack([x[:SHOWN] for x in (wanted, *given)], 1).flatten(0, 1),
        finite=backdoor.finite,
        before=exact(given[0], wanted),
        after=exact(given[1], wanted),
        ordinary=float(squared_distances(samples.flatten(1), targets.flatten(1)).mean()),
        nearest=_nearest(given[1], samples),
        usual=float(_nearest(others, samples).mean()),
        clean=exact(given[1], given[2]) if clean else torch.empty(0),
    )


def _nearest(x: Tensor, samples: Tensor) -> Tensor:
    """The distance of each to the nearest of the samples, (n,)."""
    return squared_distances(x.flatten(1), samples.flatten(1)).amin(1)


def changed(before: Generator, after: Generator) -> int | None:
    """How many numbers of the network are others now; None where its make is another."""
    old, new = before.module.state_dict(), after.module.state_dict()
    if {k: t.shape for k, t in old.items()} != {k: t.shape for k, t in new.items()}:
        return None
    return sum(int((t.cpu() != new[k].cpu()).sum()) for k, t in old.items() if t.is_floating_point())
