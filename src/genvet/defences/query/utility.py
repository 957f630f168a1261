"""What a guard of queries costs an honest user, and what is left of it once an attacker knows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.errors import GenVetError, Refused, Unsupported
from genvet.core.progress import track
from genvet.core.queries import Queries, Reply
from genvet.core.report import Figure, Measure, Scalar, Table
from genvet.core.rng import Rng
from genvet.core.technique import Guard, Picture, Result
from genvet.maths.averages import mean_of
from genvet.maths.full_reference import psnr, ssim
from genvet.maths.piqe import piqe
from genvet.maths.quality import precision, recall
from genvet.nets.between import BATCH, Between, Outgoing
from genvet.nets.distortion import between
from genvet.nets.random_features import NAME, random_features

SHOWN = 8
ANOTHER = "the answer is another image by design, not a worse one of the same latent"
COLUMNS = ("what is done", "queries an image", "PSNR", "SSIM", "frechet", "low", "high", "chance")


@dataclass(frozen=True, eq=False, kw_only=True)
class Answers:
    """What comes back for the fixed latents: the first image of each query, and as many images in their order."""

    first: Tensor
    every: Tensor
    rows: Tensor
    """Features of the latter, (n, 128)."""
    price: float
    """Queries charged for an image."""
    shift: Measure
    """The Frechet distance to images of other latents; chance: that of the clean images."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Worth(Result):
    """Answers behind a guard beside the clean images, and beside what attackers make of them."""

    clean: Tensor
    """Images of the fixed latents."""
    rows: Tensor
    other: Tensor
    """Features of the clean images, and of those of as many other latents."""
    guarded: Answers
    undone: Mapping[str, Answers]
    not_undone: Mapping[str, str]
    """What cannot be done here, and why."""
    same: bool
    """Whether an answer shows the latent that was asked for."""
    brings: int
    repeat: float
    about: tuple[Measure, ...]
    asked: int

    def summary(self) -> str:
        told = [f"A query brings {self.brings} image{'s' * (self.brings > 1)}"]
        if self.same:
            told.append(f"PSNR {self._psnr(self.guarded).mean():.1f} dB")
        shift = self.guarded.shift
        told.append(f"Frechet distance {shift.value:.3g} (floor {shift.chance:.3g}) in {NAME}")
        if self.undone:
            name, answers = next(iter(self.undone.items()))
            left = f"PSNR {self._psnr(answers).mean():.1f} dB" if self.same else ""
            told.append(f"who {name}: {left}{', ' * bool(left)}Frechet distance {answers.shift.value:.3g}")
        return "; ".join(told) + "."

    def measures(self) -> tuple[Measure, ...]:
        return (*self._reference(), *self._piqe(), *self._in_space(), *self._as_it_is(), *self.about)

    def _reference(self) -> Iterator[Measure]:
        n, pictures = len(self.clean), self.clean.ndim == 4
        for name, unit, measure, high in (("psnr", "dB", psnr, None), ("ssim", "", ssim, 1.0)):
            if not self.same or (name == "ssim" and not pictures):
                yield Measure(name=name, value=None, unit=unit, note="pictures alone" if self.same else ANOTHER)
                continue
            value, low, up = mean_of(measure(self.guarded.first, self.clean))
            up = up if high is None else min(up, high)
            yield Measure(name=name, value=value, unit=unit, low=low, high=up, n=n, note="against the clean image")

    def _piqe(self) -> Iterator[Measure]:
        """Before and after: without a reference, so that it may rise or fall for better or worse."""
        for name, x in (("piqe.before", self.clean), ("piqe", self.guarded.first)):
            try:
                value, low, high = mean_of(piqe(x), 0, 100)
            except GenVetError as error:
                yield Measure(name=name, value=None, note=error.message)
            else:
                yield Measure(name=name, value=value, low=low, high=high, n=len(x), note="0 best, 100 worst")

    def _in_space(self) -> Iterator[Measure]:
        yield self.guarded.shift
        for name, measure in (("precision", precision), ("recall", recall)):
            note = f"in {NAME}, against clean images of other latents; chance: that of the clean images"
            value, chance = (measure(self.other, rows) for rows in (self.guarded.rows, self.rows))
            yield Measure(name=name, value=value, chance=chance, n=len(self.rows), note=note)

    def _as_it_is(self) -> Iterator[Measure]:
        note = "generator outputs that one query costs, and brings"
        yield Measure(name="price", value=self.guarded.price * self.brings, note=note)
        note = "root mean square between two answers to one latent: 0 where averaging is of no use"
        yield Measure(name="repeat", value=self.repeat, n=min(BATCH, len(self.clean)), note=note)

    def _psnr(self, answers: Answers) -> Tensor:
        return psnr(answers.first, self.clean)

    def tables(self) -> tuple[Table, ...]:
        rows = [self._row("asks as the guard expects", self.guarded)]
        rows += [self._row(name, answers) for name, answers in self.undone.items()]
        rows += [(name, None, why, *(None,) * 5) for name, why in self.not_undone.items()]
        return (Table(title="What an attacker gets who knows the guard", columns=COLUMNS, rows=tuple(rows)),)

    def _row(self, name: str, answers: Answers) -> tuple[Scalar, ...]:
        near: tuple[Scalar, ...] = (None, None)
        if self.same:
            alike = float(ssim(answers.first, self.clean).mean()) if self.clean.ndim == 4 else None
            near = (float(self._psnr(answers).mean()), alike)
        shift = answers.shift
        return (name, answers.price, *near, shift.value, shift.low, shift.high, shift.chance)

    def figures(self) -> tuple[Figure | Picture, ...]:
        if self.clean.ndim == 4 and self.brings > 1:
            return (self._fan(),)
        rows = {"clean": self.clean, "answers": self.guarded.first}
        if self.same and self.clean.ndim == 4:
            change = self.guarded.first - self.clean
            rows["the change, as large as it can be shown"] = change / change[:SHOWN].abs().max().clamp_min(1e-6)
        rows |= {name: answers.first for name, answers in self.undone.items()}
        x = torch.cat([some[:SHOWN] for some in rows.values()])
        told = f"From top to bottom: {'; '.join(rows)}."
        return (Picture(title="Clean images, and what comes back", x=x, columns=SHOWN, caption=told),)

    def _fan(self) -> Picture:
        """A row for each query: the clean image, and all that comes back."""
        n, shown = min(4, len(self.clean)), min(self.brings, 12)
        fans = self.guarded.every[: n * self.brings].unflatten(0, (-1, self.brings))[:, :shown]
        x = torch.cat([self.clean[: len(fans), None], fans], 1).flatten(0, 1)
        told = "A row for each query: the image of its latent, then what comes back for it."
        return Picture(title="Clean images, and what comes back", x=x, columns=shown + 1, caption=told)

    @property
    def queries(self) -> int:
        return self.asked


class Bench:
    """The fixed latents, the clean images of these and of others: what every view of a generator is measured by."""

    def __init__(self, view: Queries, rng: Rng, samples: int) -> None:
        self._rng, latents = rng, rng.fork("latents")
        self.z, self.labels = view.latent.sample(0, samples, latents), view.latent.labels(0, samples)
        self.clean = torch.cat([reply.images.float().cpu().clamp(-1, 1) for reply in self._asked(view)])
        self.rows = random_features(self.clean)
        self.other = random_features(view.sample(samples, rng.fork("others")).clamp(-1, 1))

    def answers(self, view: Queries, paid: Queries) -> Answers:
        """What comes back, as pictures that can be shown; all that a fresh view was `paid` for them is their price."""
        images = torch.cat([reply.images.float().cpu().clamp(-1, 1) for reply in self._asked(view)])
        if len(images) < len(self.z):  # what was dropped is asked for again
            more = view.sample(len(self.z) - len(images), self._rng.fork("more"))
            images = torch.cat([images, more.clamp(-1, 1)])
        price, brings = paid.used / max(1, len(images)), max(1, len(images) // len(self.z))
        every = images[: len(self.z)]
        rows = random_features(every)
        shift = between("frechet", rows, self.other, self.rows)
        note = f"in {NAME}, to clean images of other latents; chance: that of the clean images"
        shift = shift.model_copy(update={"note": note})
        return Answers(first=images[::brings], every=every, rows=rows, price=price, shift=shift)

    def _asked(self, view: Queries) -> Iterator[Reply]:
        kinds = [None] * len(self.z) if self.labels is None else self.labels.split(BATCH)
        for z, labels in zip(self.z.split(BATCH), kinds, strict=False):
            yield view.ask(z, labels)

    def repeat(self, view: Queries) -> float:
        """Root mean square between two answers to one latent."""
        labels = None if self.labels is None else self.labels[:BATCH]
        first, second = (view.ask(self.z[:BATCH], labels).images.float().cpu() for _ in range(2))
        return float((first - second).square().mean().sqrt())


def worth(guard: Guard, given: object, view: Queries, rng: Rng, samples: int) -> Worth:
    """Measure a guard before a view that has no budget: what is answered at fixed latents, with and without it."""
    bench, began = Bench(view, rng, samples), view.used
    standing: Between = guard(view, given, rng.fork("guard"))
    guarded = bench.answers(standing, standing)
    undone, not_undone = dict[str, Answers](), dict[str, str]()
    for name, undo in track(guard.known().items(), len(guard.known()), "ways to undo it"):
        before: Between = guard(view, given, rng.fork("guard"))
        try:
            undone[name] = bench.answers(undo(before), before)
        except (Unsupported, Refused) as error:
            not_undone[name] = error.message
    return Worth(
        clean=bench.clean,
        rows=bench.rows,
        other=bench.other,
        guarded=guarded,
        undone=undone,
        not_undone=not_undone,
        same=isinstance(standing, Outgoing),
        brings=standing.brings,
        repeat=bench.repeat(standing),
        about=standing.about,
        asked=view.used - began + 2 * samples,
    )
