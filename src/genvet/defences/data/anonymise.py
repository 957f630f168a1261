"""A changed data set: less of it tells of people. What that costs, and who is found again all the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from genvet.core.dataset import SIDE, Dataset
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.modelfile import Evidence
from genvet.core.progress import track
from genvet.core.report import Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Audit, Picture, Result
from genvet.defences.data.evidence import share
from genvet.defences.data.looking import SpaceName, chosen, space
from genvet.maths.full_reference import ssim
from genvet.maths.hiding import Part, blurred, by_guess, found_again, pixelated, told_apart, widened
from genvet.nets import face_finder, text_reader

Step = Literal["strip", "blur", "pixelate", "synthetic", "drop", "pseudonymise"]
Dropped = Literal["duplicates", "faces", "text", "fields"]
SHOWN = 12
NOTHING = "nothing found to hide"


@dataclass(frozen=True, eq=False, kw_only=True)
class Given:
    """What it may be given."""

    generator: Generator | None = None
    """Whose samples stand in for pictures."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Changed:
    """One picture afterwards."""

    picture: Tensor | None
    """(c, h, w) in [-1, 1]; None where it is left out."""
    steps: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Anonymised(Result):
    """The changed data set, picture by picture, and what was measured on some of them."""

    config: Anonymise
    dataset: Dataset
    generator: Generator | None
    rng: Rng
    which: tuple[int, ...]
    """Those that were measured, of which none is left out."""
    steps: tuple[tuple[str, ...], ...]
    """What was done to the first of them."""
    again: Tensor
    """(m,) whether each finds its own original, by who holds the originals."""
    people: tuple[Tensor, Tensor, Tensor] | None
    """Whether the nearest other picture is of the same label: before, afterwards among originals, and among others that
    were changed as well, as an attacker would who knows how."""
    guess: float
    kept: float
    """Structural similarity with the originals, the mean."""
    untouched: int
    """Of those: pictures in which nothing was found to hide."""
    shown: Tensor

    def change(self, i: int) -> Changed:
        """Picture i, as the new data set has it: the same whenever it is asked for."""
        return self.config.changed(self.dataset, i, self.generator, self.rng)

    def summary(self) -> str:
        m, hits = len(self.which), int(self.again.sum())
        said = f"By {', '.join(self.config.how)}: {hits:,} of {m:,} pictures find their original again"
        if m:
            said += f" (chance {1 / m:.2g})"
        if self.people:
            before, after, knowing = (float(hit.double().mean()) for hit in self.people)
            said += f"; the same label is found for {before:.0%} before, {after:.0%} afterwards, and {knowing:.0%} by "
            said += f"who knows how it was done (chance {self.guess:.0%})"
        missed = f" In {self.untouched:,} nothing was found to hide: look at them." * bool(self.untouched)
        return f"{said}; likeness to the originals {self.kept:.2f}.{missed}"

    def measures(self) -> tuple[Measure, ...]:
        m, by = len(self.which), f"nearest in {space(self.config.space).name}"
        found = [share("again", int(self.again.sum()), m, f"own original found; {by}", chance=1 / max(m, 1))]
        if self.people:
            words = ("before", "after", "after.knowing")
            notes = ("as the data were", "changed pictures among originals", "changed pictures among changed ones")
            for word, hit, note in zip(words, self.people, notes, strict=True):
                found.append(share(f"label.{word}", int(hit.sum()), m, f"{note}; {by}", chance=self.guess))
        found.append(Measure(name="likeness", value=self.kept, n=m, note="structural similarity with the originals"))
        found.append(share("untouched", self.untouched, m, "nothing was found to hide"))
        return tuple(found)

    def evidence(self) -> tuple[Evidence, ...]:
        """Where pictures were to be hidden, and are found above chance for all that."""
        if not {"blur", "pixelate", "synthetic"} & set(self.config.how):
            return ()
        words = {"again": "find their own original", "label.after": "find another picture of the same label"}
        words["label.after.knowing"] = f"{words['label.after']}, by who changes that as well"
        found = [m for m in self.measures() if m.name in words and (m.low or 0) > (m.chance or 0)]
        return tuple(
            Evidence(rule="data.found-again", message=f"{m.value:.0%} {words[m.name]}; by chance {m.chance:.1%}")
            for m in found
        )

    def tables(self) -> tuple[Table, ...]:
        rows = [(self.dataset.items[i].name, ", ".join(s)) for i, s in zip(self.which, self.steps, strict=False)]
        return (
            (Table(title="What was done, by example", columns=("picture", "steps"), rows=tuple(rows)),) if rows else ()
        )

    def figures(self) -> tuple[Picture, ...]:
        if not len(self.shown):
            return ()
        return (Picture("Before, and right of it afterwards", self.shown, columns=4),)


class Anonymise(Audit):
    """Pictures without metadata, with faces, text or all of them blurred, pixelated, replaced or left out.

    Every picture is decoded and written anew, so that nothing of its file survives but the pixels; what is hidden in
    these does. Names are replaced by a keyed mapping. A changed picture is no anonymous one: `again` and `label.after`
    tell who is found all the same, and blurring is known to be undone by who trains for it.
    """

    source: ClassVar[str] = (
        "Training data leakage, sec. 2.3 and 3 (anonymisation, pseudonymisation); Newton et al.: Preserving privacy by "
        "de-identifying face images, TKDE 2005 (an attacker who changes the gallery as well)"
    )
    smoke: ClassVar[dict[str, object]] = {"how": ("strip", "pixelate"), "region": "whole"}
    changes: ClassVar[bool] = True

    how: Annotated[tuple[Step, ...], Field(min_length=1)] = ("strip",)
    """What is done, in this order; pictures are always written anew."""
    region: Literal["faces", "text", "whole"] = "faces"
    """What is blurred or pixelated: faces as far as they are found, which is eagerly."""
    strength: Annotated[float, Field(gt=0, le=2)] = 0.3
    """Spread of the blur, as a share of the region's shorter side."""
    cells: Annotated[int, Field(ge=1, le=256)] = 6
    """Along the shorter side of a pixelated region."""
    dropped: tuple[Dropped, ...] = ("duplicates",)
    """What `drop` leaves out: all but the first of equal pictures, pictures with faces or with text; columns of tables
    that identify or are not needed."""
    measured: Annotated[int, Field(ge=2, le=20_000)] = 300
    """Pictures on which likeness and re-identification are measured."""
    space: SpaceName = "thumbnails"
    """Where the nearest is looked for."""

    def __call__(self, dataset: Dataset, given: Given, rng: Rng) -> Anonymised:
        if "synthetic" in self.how and given.generator is None:
            raise BadInput("nothing stands in for the pictures", expected="--generator, whose samples do")
        if not len(dataset):
            raise Unsupported("there are no pictures")
        which, before, after, steps = self._measured(dataset, given.generator, rng)
        x, made = (torch.stack(small) if small else torch.empty(0, 1, SIDE, SIDE) for small in (before, after))
        rows, changed = (space(self.space)(some) if len(some) else torch.empty(0, 1) for some in (x, made))
        person = None if dataset.labels is None else dataset.labels[list(which)]
        pairs = [(rows, rows), (changed, rows), (changed, changed)]
        people = None if person is None or len(which) < 3 else tuple(told_apart(a, b, person) for a, b in pairs)
        return Anonymised(
            config=self,
            dataset=dataset,
            generator=given.generator,
            rng=rng,
            which=tuple(which),
            steps=tuple(steps[:SHOWN]),
            again=found_again(changed, rows) if len(which) else torch.empty(0, dtype=torch.bool),
            people=people,  # type: ignore[arg-type]
            guess=by_guess(person) if person is not None else 0.0,
            kept=float(ssim(made, x).mean()) if len(which) else 0.0,
            untouched=sum(NOTHING in some for some in steps),
            shown=torch.stack([x[:SHOWN], made[:SHOWN]], 1).flatten(0, 1),
        )

    def _measured(
        self, dataset: Dataset, generator: Generator | None, rng: Rng
    ) -> tuple[list[int], list[Tensor], list[Tensor], list[tuple[str, ...]]]:
        """Some pictures that are kept, small, before and afterwards; and what was done to each."""
        which, before, after, steps = [], list[Tensor](), list[Tensor](), list[tuple[str, ...]]()
        drawn = chosen(len(dataset), self.measured, rng)
        channels = dataset.small.shape[1]
        for i in track(drawn, len(drawn), "measuring"):
            changed = self.changed(dataset, i, generator, rng)
            if changed.picture is None:
                continue
            which.append(i)
            before.append(dataset.x([i])[0])
            small = F.interpolate(changed.picture[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]
            after.append(small.expand(channels, -1, -1) if len(small) < channels else small)
            steps.append(changed.steps)
        return which, before, after, steps

    def changed(self, dataset: Dataset, i: int, generator: Generator | None, rng: Rng) -> Changed:
        """Picture i afterwards."""
        x, steps = dataset.whole(i), ["decoded and written anew"]
        for step in self.how:
            if step == "drop":
                why = self._left_out(dataset, i, x)
                if why:
                    return Changed(picture=None, steps=(f"left out: {why}",))
            elif step in ("blur", "pixelate"):
                parts = self._parts(x)
                for part in parts:
                    x = blurred(x, part, self.strength) if step == "blur" else pixelated(x, part, self.cells)
                steps.append(f"{step}: {len(parts)} {self.region}" if parts else NOTHING)
            elif step == "synthetic" and generator is not None:
                x = standing_in(generator, i, x.shape, rng)
                steps.append("replaced by a sample")
        return Changed(picture=x.clamp(-1, 1), steps=tuple(steps))

    def _left_out(self, dataset: Dataset, i: int, x: Tensor) -> str:
        if "duplicates" in self.dropped and dataset.first_equal[i] != i:
            return "equal to an earlier picture"
        if "faces" in self.dropped and face_finder.faces(x, face_finder.EAGER):
            return "a face"
        return "text" if "text" in self.dropped and text_reader.lines(x) else ""

    def _parts(self, x: Tensor) -> list[Part]:
        """What is to be hidden in a picture."""
        height, width = x.shape[1:]
        if self.region == "whole":
            return [(0, 0, width, height)]
        boxes = (
            face_finder.faces(x, face_finder.EAGER)
            if self.region == "faces"
            else [line.box for line in text_reader.lines(x)]
        )
        parts = [widened(tuple(box), height, width) for box in boxes]
        return [part for part in parts if part[2] - part[0] > 1 and part[3] - part[1] > 1]


def standing_in(generator: Generator, i: int, shape: torch.Size, rng: Rng) -> Tensor:
    """A sample of the generator, of the picture's size: the same for the same number."""
    z, labels = generator.latent.sample(i, i + 1, rng.fork("synthetic")), generator.latent.labels(i, i + 1)
    there = generator.device
    with torch.no_grad():
        sample = generator(z.to(there), None if labels is None else labels.to(there)).cpu()
    sample = sample.mean(1, keepdim=True) if shape[0] == 1 else sample.expand(-1, shape[0], -1, -1)
    return F.interpolate(sample.float(), tuple(shape[1:]), mode="bilinear", antialias=True)[0]
