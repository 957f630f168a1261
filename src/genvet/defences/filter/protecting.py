"""What filters have in common: what is protected, a threshold that knows its false blocks, and what is done then."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.queries import Queries
from genvet.core.report import Measure
from genvet.core.rng import Rng
from genvet.core.technique import Technique
from genvet.maths.held_out import Cut, cut_at, cut_given, needed
from genvet.maths.overlap import overlap
from genvet.nets.between import first_each
from genvet.nets.dodging import around, consistent
from genvet.nets.filtered import Again, Change, Filtered, Mode, Remedy
from genvet.nets.protected import Distance, Index, Mirrored
from genvet.nets.undoing import Knowing, deblurred, denoised

PART = 256
"""Outputs at once, where the null is the generator's own."""
SETS = 8
"""Of unseen images, each as many as are protected, that outputs are held against."""
PARTS = 4
"""Of the unseen images that tell what is usual around a protected one."""


@dataclass(frozen=True, eq=False)
class Given:
    """What must not be given away, and what tells how near ordinary images come to it."""

    protected: Images
    """The training images, or those of them that are sensitive."""
    unseen: Images | None = None
    """Real images of the same kind that are none of these: they set the threshold."""


class Filter(Technique):
    """The knobs of every filter: where it cuts, and what it does about what lies below."""

    rate: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Of unseen images that may be blocked: the threshold follows from it."""
    threshold: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Block what is nearer than this, in the filter's own unit, instead; unseen images then tell how often it is
    wrong."""
    mode: Mode = "block"
    """Block what is too near, answer with the image of another latent, or change the image until it is far enough."""
    tries: Annotated[int, Field(ge=1, le=1000)] = 8
    """Other latents, or strengths of change, before it is blocked after all."""
    again: Again = "independent"
    """Which other latents: independent ones, or some near by."""
    reach: Annotated[float, Field(gt=0, le=10)] = 0.3
    """How far off those near by are, in root mean square latents."""
    change: Change = "blur"
    """What is done to images that are modified."""
    strongest: Annotated[float, Field(gt=0, le=64)] = 2.0
    """The last and strongest change: pixels of the blur, or standard deviation of the noise."""

    def known(self) -> Mapping[str, Callable[[Queries], Queries]]:
        """What an attacker who knows it does: move latents until answered, tell what was drawn again, or restore."""
        if self.mode == "block":
            return {"moves latents until they are answered": around}
        if self.mode == "resample":
            return {"asks around, and keeps what most agree on": consistent}
        if self.change == "noise":
            return {"denoises": lambda view: Knowing(view, lambda x: denoised(x, self.strongest / 2))}
        return {"inverts the blur": lambda view: Knowing(view, lambda x: deblurred(x, self.strongest / 2))}

    def standing(self, view: Queries, distance: Distance, cut: Cut, rng: Rng, index: Index | None = None) -> Filtered:
        """The filter before a view."""
        remedy = Remedy(
            mode=self.mode,
            tries=self.tries,
            again=self.again,
            reach=self.reach,
            change=self.change,
            strongest=self.strongest,
        )
        about = (*told(cut), *(kept(index) if index else ()))
        return Filtered(view, distance, cut.value, remedy, rng.fork("key"), about, index)


class Protecting(Filter):
    """Filters that hold outputs against protected images."""

    null: Literal["images", "outputs"] = "images"
    """How near is ordinary: unseen images to the protected ones, or the generator's own outputs to unseen images."""
    outputs: Annotated[int, Field(ge=10, le=10_000_000)] = 1000
    """Outputs of that null, which are made before the filter stands."""
    local: bool = True
    """Hold each distance against what is usual around that protected image, as half of the unseen images tell it: a
    plain picture has near neighbours that are no copies, and would set the threshold for all others."""
    mirrored: bool = False
    """Look at the mirror image of each output as well; it takes twice as long."""

    @abstractmethod
    def index(self, x: Tensor, given: Any) -> Index:
        """Protected images (n, *shape) in the form in which they are compared."""

    def stood(self, view: Queries, given: Any, rng: Rng) -> Filtered:
        """The filter before a view, with the threshold that its null gives."""
        protected, unseen = checked(given, view.shape)
        usual, unseen = self._usual(unseen, rng)
        index = self._index(protected, usual, given)
        cut = self._cut(view, index, usual, unseen, given, rng)
        if cut.rate is not None and cut.value <= 0:
            what = f"{cut.n} ordinary images tell copies from others at no distance: {cut.rate:g} are as near as copies"
            raise BadInput(what, hint="ask for a higher rate, or take a filter that sees more")
        return self.standing(view, lambda x: index.nearest(x).distance, cut, rng, index)

    def _usual(self, unseen: Tensor | None, rng: Rng) -> tuple[Tensor | None, Tensor | None]:
        """The unseen images in two: what tells how near is usual, where that is asked for, and the null."""
        if unseen is None or self.threshold is not None or not self.local:
            return None, unseen
        least = 2 * needed(self.rate)
        if len(unseen) < least:
            what = f"too few unseen images for a false-block rate of {self.rate:g}"
            hint = "half of them tell what is usual around each protected image; with --no-local, all are the null"
            raise BadInput(what, expected=f"{least} or more", got=str(len(unseen)), hint=hint)
        drawn = torch.randperm(len(unseen), generator=rng.fork("halves").block())
        half = len(unseen) // 2
        return unseen[drawn[:half]], unseen[drawn[half:]]

    def _index(self, x: Tensor, usual: Tensor | None, given: Any) -> Index:
        index = self.index(x, given)
        if usual is not None:
            # The mean of a few nearest ones, each among others, is steadier than the nearest of all.
            nearest = [self.index(part, given).nearest(x).distance for part in usual.tensor_split(PARTS) if len(part)]
            scale = torch.stack(nearest).mean(0)
            index = index.scaled(scale.clamp_min(1e-3 * float(scale.mean()) + 1e-12))
        return Mirrored(index) if self.mirrored else index

    def _cut(
        self, view: Queries, index: Index, usual: Tensor | None, unseen: Tensor | None, given: Any, rng: Rng
    ) -> Cut:
        if unseen is None:
            if self.threshold is None:
                hint = "or set a threshold yourself: then nobody knows how often it is wrong"
                raise BadInput("nothing tells how near ordinary images come", expected="unseen images", hint=hint)
            return cut_given(self.threshold, None)
        if self.threshold is not None:
            return cut_given(self.threshold, index.nearest(unseen).distance)
        if self.null == "images":
            return cut_at(index.nearest(unseen).distance, self.rate)
        # A nearest one of more is nearer: as many are compared at a time as are protected, or the rate is shared out.
        parts = -(-index.size // len(unseen))
        sets = self._sets(unseen, -(-index.size // parts), rng)
        besides = [self._index(some, usual, given) for some in sets]
        latents, labels = rng.fork("outputs"), view.latent.labels
        found = []
        for start in range(0, self.outputs, PART):
            stop = min(start + PART, self.outputs)
            x = first_each(view.ask(view.latent.sample(start, stop, latents), labels(start, stop)))
            found += [beside.nearest(x[i :: len(sets)]).distance for i, beside in enumerate(besides)]
        cut = cut_at(torch.cat(found), self.rate, parts)
        return replace(cut, who="outputs, held against images that the generator never saw,")

    def _sets(self, unseen: Tensor, size: int, rng: Rng) -> list[Tensor]:
        """A few sets of as many unseen images as are protected: one set alone may be nearer than most."""
        drawn = unseen[torch.randperm(len(unseen), generator=rng.fork("unseen").block())]
        return [some for some in drawn.split(size) if len(some) == size][:SETS]


def checked(given: Given, shape: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
    """Protected and unseen images; raises BadInput for none, for others' shapes, for NaN, and for what is in both."""
    protected = plain(given.protected, "protected", shape)
    if given.unseen is None:
        return protected, None
    unseen = plain(given.unseen, "unseen", shape)
    twice = overlap(protected, unseen, 0)
    if twice:
        names = ", ".join(printable(given.unseen.names[pair.second], 60) for pair in twice[:5])
        what = f"{len(twice)} of the unseen images are protected ones: {names}"
        raise BadInput(what, expected="sets that share no image", hint="take them out of the unseen")
    return protected, unseen


def plain(images: Images, what: str, shape: tuple[int, ...]) -> Tensor:
    """The images, where they are some, of this shape, and numbers; raises BadInput otherwise."""
    if not len(images):
        raise BadInput(f"there are no {what} images", expected="one or more", got="0")
    x = images.fitting(shape).float().cpu()
    broken = ~x.flatten(1).isfinite().all(1)
    if bool(broken.any()):
        first = printable(images.names[int(broken.nonzero()[0])], 60)
        got = f"{int(broken.sum())} with others, {first} the first"
        raise BadInput(f"{what} images hold what is no number", expected="values in [-1, 1]", got=got)
    return x


def told(cut: Cut) -> tuple[Measure, ...]:
    """The threshold, and its false blocks."""
    note = cut.who if cut.n else "not known: no unseen images were given"
    low, high = cut.interval if cut.n else (None, None)
    return (
        Measure(name="threshold", value=cut.value, note="what is nearer is blocked"),
        Measure(name="false-blocks", value=cut.share, chance=cut.rate, n=cut.n, note=note, low=low, high=high),
    )


def kept(index: Index) -> tuple[Measure, ...]:
    """What the index holds."""
    note = f"of memory an image; who gets hold of it has {index.exposes}"
    return (Measure(name="index.bytes", value=index.bytes_each, n=index.size, note=note),)
