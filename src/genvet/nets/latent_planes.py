"""Planes in z between images with much and with little of an attribute: for a guard, and for who undoes it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from genvet.core.errors import Unsupported
from genvet.core.queries import Queries, Reply
from genvet.core.rng import Rng
from genvet.maths.boundaries import Boundary, between_ends
from genvet.nets.between import Between
from genvet.nets.editing import Readings

SAMPLES = 2000
"""Latents that planes are fitted to: the quarter with the highest score against that with the lowest."""
FEWEST, EACH, ROUNDS = 400, 10, 4
"""An attacker, who pays for them, takes so many queries at least, so many for each dimension of z, and so often."""
BATCH = 64


def planes(z: Tensor, scores: Mapping[str, Tensor], asked: tuple[str, ...], rng: Rng) -> dict[str, Boundary]:
    """The plane of each attribute, from latents (n, dim) and scores (n,) by name; raises Unsupported where none is.

    Attributes that are asked for must differ from image to image; where none is, those that do not are left out.
    """
    quarter = len(z) // 4
    mixed = torch.randperm(2 * quarter, generator=rng.block())
    found = {name: between_ends(z, scores[name], quarter, mixed) for name in asked or scores}
    flat = [name for name, plane in found.items() if plane is None]
    if asked and flat:
        raise Unsupported(f"{' and '.join(flat)} hardly differ from image to image", hint="name other attributes")
    kept = {name: plane for name, plane in found.items() if plane is not None}
    if not kept:
        raise Unsupported("no attribute differs from image to image", hint="give a classifier, or a trained generator")
    return kept


class BackAcross(Between):
    """Moves latents against one attribute's normal first, and keeps the answer that the guard then moves back.

    The attacker knows the attributes and the magnitude, and fits a plane of his own to answers; then again to answers
    for latents moved by what he has, which are nearer to ordinary ones, and tell more. One query gives one image of an
    ordinary latent, as nearly as his normal is the guard's.
    """

    def __init__(self, view: Queries, read: Readings, names: tuple[str, ...], magnitude: float) -> None:
        super().__init__(view)
        self._each, self.brings = self.brings, 1
        columns = {place: read.names.index(n) for place, n in enumerate(names or read.names) if n in read.names}
        if len(names or read.names) != self._each or not columns:
            raise Unsupported(f"the attributes of {self._each} images a query are not known", hint="name them")
        rng, found, self.place = Rng(0, "attacker"), dict[str, Boundary](), 0
        z = view.latent.sample(0, max(FEWEST, EACH * view.latent.dim), rng)
        for _ in range(ROUNDS):
            step = magnitude * found[str(self.place)].normal if found else torch.zeros(view.latent.dim)
            told = self._told(z - step, read)
            scores = {str(place): told[:, place, at] for place, at in columns.items()}
            found = planes(z, scores, (), rng.fork("order"))
            self.place = int(max(found, key=lambda place: found[place].accuracy))
            columns = {self.place: columns[self.place]}
        self.plane = found[str(self.place)]
        self._step = magnitude * self.plane.normal

    def _told(self, z: Tensor, read: Readings) -> Tensor:
        """What answers to latents (n, dim) show: (n, images a query, readings)."""
        labels = self.latent.labels(0, len(z))
        kinds = [None] * len(z) if labels is None else labels.split(BATCH)
        replies = (self.inner.ask(some, kind) for some, kind in zip(z.split(BATCH), kinds, strict=False))
        told = torch.cat([read(reply.images.float().cpu()) for reply in replies])
        return told.view(len(z), self._each, -1)

    def _passed(self, z: Tensor, labels: Tensor | None) -> Reply:
        reply = self.inner.ask(z - self._step.to(z), labels)
        places = torch.cat([torch.arange(int(k)) for k in torch.bincount(reply.owner, minlength=len(z))])
        kept = places == self.place
        status = reply.status.clone()
        status[~torch.isin(torch.arange(len(z)), reply.owner[kept])] = 1
        return Reply(reply.images[kept.to(reply.images.device)], reply.owner[kept], status)
