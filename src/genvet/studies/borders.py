"""What an endpoint answers beside ordinary queries: latents that no honest client sends, repeats, and small steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.errors import Refused, Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.queries import STATUS, Queries, Reply
from genvet.core.report import Figure, Measure, Scalar, Table
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Probe, Result
from genvet.maths.averages import mean_of
from genvet.maths.full_reference import psnr
from genvet.maths.statistics import clopper_pearson
from genvet.nets.between import first_or_none
from genvet.studies.undefended import Bare, clean

FAR = (2.0, 10.0, 100.0)
"""How many times as long as typical a far latent is; the last is what triggers far out need."""
SMALL = 0.01
LATENTS = 8
"""That are asked for again and again."""
ONE_INPUT = "does not apply: z and c z are one input"


@dataclass(frozen=True, eq=False)
class Kind:
    """Queries of one kind, and how many of them brought an image."""

    name: str
    asked: int
    answered: int
    held: int = 0
    images: Tensor | None = None
    """The first few answers."""

    def measure(self, note: str, chance: float | None) -> Measure:
        """The share that was answered."""
        low, high = clopper_pearson(self.answered, self.asked)
        share = self.answered / self.asked
        name = f"{self.name}.answered"
        return Measure(name=name, value=share, low=low, high=high, chance=chance, n=self.asked, note=note)


MEANS = {
    "ordinary": "drawn from the prior",
    "near-mode": f"{SMALL:g} times as long as typical",
    "patterned": "all coordinates of one size, of typical length",
    "drifting": "small steps from one to the next, as a search takes them",
    "repeated": f"{LATENTS} latents, each asked for again and again",
} | {f"far-{size:g}": f"{size:g} times as long as typical" for size in FAR}


@dataclass(frozen=True, eq=False, kw_only=True)
class Beyond(Result):
    """What was answered, by the kind of the query, and what repeats are worth to who averages them."""

    kinds: tuple[Kind, ...]
    repeat: float | None
    """Root mean square between two answers to one latent; None where no latent was answered twice."""
    gain: Measure
    asked: int
    one_input: bool

    def summary(self) -> str:
        shares = {kind.name: kind.answered / kind.asked for kind in self.kinds}
        odd = [f"{name.replace('-', ' ')} {share:.0%}" for name, share in shares.items() if name != "ordinary"]
        told = f"Answered: ordinary latents {shares['ordinary']:.0%}; {', '.join(odd)}"
        if self.repeat is None:
            return f"{told}. No latent was answered twice."
        gained = "" if self.gain.value is None else f", and their mean is {self.gain.value:.1f} dB nearer to the image"
        return f"{told}. Two answers to one latent differ by {self.repeat:.3g}{gained}."

    def measures(self) -> tuple[Measure, ...]:
        ordinary = self.kinds[0]
        chance = ordinary.answered / ordinary.asked
        told = [kind.measure(MEANS[kind.name], None if kind is ordinary else chance) for kind in self.kinds]
        note = "root mean square between two answers to one latent: 0 where averaging is of no use"
        return (*told, Measure(name="repeat", value=self.repeat, n=LATENTS, note=note), self.gain)

    def tables(self) -> tuple[Table, ...]:
        columns = ("queries", "what they are", "asked", "answered", "held")
        rows: list[tuple[Scalar, ...]] = [(k.name, MEANS[k.name], k.asked, k.answered, k.held) for k in self.kinds]
        if self.one_input:
            rows += [(name, ONE_INPUT, 0, None, None) for name in MEANS if name.startswith(("far", "near"))]
        return (Table(title="What is answered beside ordinary queries", columns=columns, rows=tuple(rows)),)

    def figures(self) -> tuple[Figure | Picture, ...]:
        shown = [(k.name, k.images[:2]) for k in self.kinds if k.images is not None and len(k.images)]
        if not shown:
            return ()
        names = tuple(name for name, images in shown for _ in images)
        x = torch.cat([images for _, images in shown]).clamp(-1, 1)
        return (Picture("What came back", x, names, "Two answers of each kind that was answered."),)

    @property
    def queries(self) -> int:
        return self.asked


class Borders(Probe):
    """Tells which latents an endpoint answers: far ones, patterned ones, repeats and small steps."""

    source: ClassVar[str] = "Rawat et al.: The Devil is in the GAN, 2021, sec. 5 (far triggers); Juuti et al. 2019"
    smoke: ClassVar[dict[str, Any]] = {"each": 4, "repeats": 3}

    each: Annotated[int, Field(ge=1, le=1000)] = 16
    """Queries of each kind."""
    repeats: Annotated[int, Field(ge=2, le=10_000)] = 16
    """Times that each of eight latents is asked for."""
    stride: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Length of a small step, as a share of a latent's."""

    def __call__(self, target: Queries, given: Bare, rng: Rng) -> Beyond:
        if not getattr(target, "chooses", True):
            hint = "nobody can send any, far or near: attacks that need that do not apply"
            raise Unsupported("this endpoint draws its latents itself", hint=hint)
        latent, before = target.latent, target.used
        kinds = [_asked(target, name, z) for name, z in self._latents(latent, rng).items()]
        z, labels = latent.sample(0, LATENTS, rng.fork("repeated")), latent.labels(0, LATENTS)
        replies = [_firsts(target, z, labels) for _ in range(self.repeats)]
        kinds.append(_counted("repeated", [reply for reply, _ in replies], replies[0][1]))
        # (repeats, latents, *shape), with nothing for what was not answered.
        x = torch.stack([images for _, images in replies])
        return Beyond(
            kinds=tuple(kinds),
            repeat=_repeat(x),
            gain=_gain(x, z, labels, given.undefended),
            asked=target.used - before,
            one_input=latent.distribution == "sphere",
        )

    def _latents(self, latent: Latent, rng: Rng) -> dict[str, Tensor]:
        """Of each kind, (each, dim)."""
        ordinary = latent.sample(0, self.each, rng.fork("ordinary"))
        found = {"ordinary": ordinary}
        if latent.distribution != "sphere":
            found["near-mode"] = SMALL * latent.sample(0, self.each, rng.fork("mode"))
            found |= {f"far-{c:g}": c * latent.sample(0, self.each, rng.fork(f"far {c:g}")) for c in FAR}
        size = 3**-0.5 if latent.distribution == "uniform" else 1.0
        found["patterned"] = size * latent.sample(0, self.each, rng.fork("patterned")).sign()
        steps, at = latent.sample(0, self.each, rng.fork("steps")), latent.sample(0, 1, rng.fork("start"))[0]
        walk = []
        for step in steps:
            at = latent.project((at + self.stride * step)[None])[0]
            walk.append(at)
        found["drifting"] = torch.stack(walk)
        return found


def _firsts(target: Queries, z: Tensor, labels: Tensor | None) -> tuple[Reply, Tensor]:
    """What comes back, and the first image of each query (n, *shape), which is not a number where there is none."""
    n = len(z)
    try:
        reply = target.ask(z, labels)
    except Refused:  # all of them at once
        reply = Reply(torch.empty(0, *target.shape), torch.empty(0, dtype=torch.long), torch.ones(n, dtype=torch.long))
    x, some = first_or_none(reply)
    x[~some] = torch.nan
    return reply, x


def _asked(target: Queries, name: str, z: Tensor) -> Kind:
    reply, x = _firsts(target, z, target.latent.labels(0, len(z)))
    return _counted(name, [reply], x)


def _counted(name: str, replies: list[Reply], x: Tensor) -> Kind:
    status = torch.cat([reply.status.cpu() for reply in replies])
    there = x[x.flatten(1).isfinite().all(1)]
    held = int((status == STATUS.index("held")).sum())
    return Kind(name, len(status), int((status == STATUS.index("answered")).sum()), held, there[:2])


def _repeat(x: Tensor) -> float | None:
    """Root mean square between the first two answers to a latent."""
    apart = (x[0] - x[1]).flatten(1).square().mean(1)
    apart = apart[apart.isfinite()]
    return float(apart.mean().sqrt()) if len(apart) else None


def _gain(x: Tensor, z: Tensor, labels: Tensor | None, bare: Generator | None) -> Measure:
    """How much nearer the mean of all answers to a latent comes to its image than one answer does."""
    name, unit = "averaging.gain", "dB"
    if bare is None:
        return Measure(name=name, value=None, unit=unit, note="needs the model without its policy")
    whole = x.flatten(2).isfinite().all(2).all(0)
    if not bool(whole.any()):
        return Measure(name=name, value=None, unit=unit, note="no latent was answered every time")
    x, true = x[:, whole].clamp(-1, 1), clean(bare, z, labels)[whole]
    one = torch.stack([psnr(answers, true) for answers in x]).mean(0)
    gained = mean_of(psnr(x.mean(0), true) - one)
    note = f"of the mean of {len(x)} answers to one latent over one answer, against the image without the policy"
    ends = {"low": gained.low, "high": gained.high} if len(true) > 1 else {}
    return Measure(name=name, value=gained.value, unit=unit, chance=0.0, n=len(true), note=note, **ends)
