"""Tensors under other people's names: a table of places for each layout, and the reshaping between them.

Each layout is a table of places: our name (NVlabs' own for StyleGAN2), theirs, and the reshaping between them, in both
directions. Tables reach up to 4096 pixels and 32 mapping layers; what a network does not have is not looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from genvet.core.errors import Unsupported

Change = Callable[[Tensor], Tensor]
SIZES = tuple(4 << i for i in range(11))
"""Resolutions that a table covers."""
DEPTH = 32
"""Mapping layers that a table covers."""


def same(t: Tensor) -> Tensor:
    return t


@dataclass(frozen=True)
class Place:
    """One tensor under two names; `read` turns theirs into ours, `write` ours into theirs."""

    ours: str
    theirs: str
    read: Change = same
    write: Change = same


@dataclass(frozen=True)
class Layout:
    """A table of places, and the names by which a file of this layout is recognised."""

    name: str
    signature: Collection[str]
    """Theirs, in every generator of this layout and in no other: one of them is enough, for a file may lack some."""
    places: Callable[[], Iterator[Place]]
    ignored: Collection[str] = ()
    """Theirs, without a meaning for the finished network."""
    whole: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = dict
    """What is written, made whole by what only all tensors together tell."""

    @cached_property
    def _by_theirs(self) -> dict[str, Place]:
        return {place.theirs: place for place in self.places()}

    @cached_property
    def _by_ours(self) -> dict[str, Place]:
        return {place.ours: place for place in self.places()}

    def recognises(self, names: Collection[str]) -> bool:
        """Whether these names, prefixes left out, are a generator's in this layout."""
        return not plain_names(names).isdisjoint(self.signature)

    def read(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Ours from theirs. A name without a place stays as it is, and so does a tensor that cannot be reshaped."""
        cut, ours = prefix(state), {}
        for name, tensor in state.items():
            plain = _plain(name, cut)
            place = self._by_theirs.get(plain)
            if place is not None:
                ours[place.ours] = _changed(place.read, tensor)
            elif plain not in self.ignored:
                ours[name if self._by_theirs else plain] = tensor
        return ours

    def write(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Theirs from ours; raises Unsupported where weights have no place. The filters are theirs by default."""
        if not self._by_ours:
            return dict(state)
        if lost := [name for name in self.lost(state) if not name.endswith("resample_filter")]:
            message = f"the layout {self.name} has no place for {len(lost)} tensors, such as {lost[0]}"
            raise Unsupported(message, hint="our own names have: leave the layout out")
        places = ((self._by_ours[name], tensor) for name, tensor in state.items() if name in self._by_ours)
        return self.whole({place.theirs: place.write(tensor) for place, tensor in places})

    def lost(self, names: Collection[str]) -> list[str]:
        """Which of our tensors this layout cannot hold."""
        return [n for n in names if self._by_ours and n not in self._by_ours]

    def known_as(self, ours: str) -> str:
        """Their name for one of our tensors."""
        place = self._by_ours.get(ours)
        return ours if place is None else place.theirs


def prefix(names: Collection[str]) -> str:
    """What wrappers put before every name ("module.", "generator."): the leading words that all names share."""
    split = [name.replace("/", ".").split(".")[:-1] for name in names]
    shared: list[str] = []
    for words in zip(*split, strict=False):
        if len(set(words)) > 1 or words[0] in ("mapping", "synthesis"):
            break
        shared.append(words[0])
    return "".join(f"{word}." for word in shared)


def plain_names(names: Collection[str]) -> set[str]:
    """Without what wrappers put before them, and with dots for TensorFlow's slashes."""
    cut = prefix(names)
    return {_plain(name, cut) for name in names}


def _plain(name: str, cut: str) -> str:
    return name.replace("/", ".").removeprefix(cut)


def _changed(change: Change, tensor: Tensor) -> Tensor:
    try:
        return change(tensor)
    except (RuntimeError, IndexError, ValueError):
        return tensor


# Changes of shape that occur in several layouts.


def first(t: Tensor) -> Tensor:
    return t.squeeze(0).reshape(t.shape[1:])  # fails where more than one would be dropped


def one(t: Tensor) -> Tensor:
    return t[None]


def map_of(t: Tensor) -> Tensor:
    """A noise map (1, 1, h, w) without its two leading ones."""
    return t.reshape(t.shape[2:])


def map_to(t: Tensor) -> Tensor:
    return t[None, None]


def flip(t: Tensor) -> Tensor:
    return t.flip(2, 3)


def transpose(t: Tensor) -> Tensor:
    return t.transpose(0, 1)


def dense(theirs: Callable[[int], str]) -> Iterator[Place]:
    for i in range(DEPTH):
        for kind in ("weight", "bias"):
            yield Place(f"mapping.fc{i}.{kind}", f"{theirs(i)}.{kind}")


def quarter(t: Tensor) -> Tensor:
    """Filters of an upsampling layer carry its gain of four."""
    return t / 4


def four(t: Tensor) -> Tensor:
    return t * 4


def quartered_map(t: Tensor) -> Tensor:
    return map_of(t) / 4


def four_map(t: Tensor) -> Tensor:
    return map_to(t) * 4


def plus_one(t: Tensor) -> Tensor:
    return t + 1


def minus_one(t: Tensor) -> Tensor:
    return t - 1


def hwio(t: Tensor) -> Tensor:
    """TensorFlow's (h, w, in, out) to (out, in, h, w)."""
    return t.permute(3, 2, 0, 1)


def to_hwio(t: Tensor) -> Tensor:
    return t.permute(2, 3, 1, 0)


def hwio_flipped(t: Tensor) -> Tensor:
    return flip(hwio(t))


def to_hwio_flipped(t: Tensor) -> Tensor:
    return to_hwio(flip(t))
