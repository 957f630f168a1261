"""Few classes with much data: digits and garments, where transfer says little; controls, and never a headline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Scale, Told
from genvet.reproduce.mirror import SOURCE, white_box
from genvet.reproduce.mirror.comparing import NULL, Asked, Variant, Way, tables, ways
from genvet.reproduce.mirror.identities import Domain
from genvet.reproduce.mirror.networks import BRIEFLY, PRIVATE
from genvet.reproduce.mirror.protocol import MIRROR, NOISE, claims, controls, differs, searched

DOMAINS: tuple[Domain, ...] = ("digits", "garments")
RESTARTS = 4


def variants(scale: Scale, domain: Domain) -> list[Variant]:
    """MIRROR beside images of no prior, which few classes and many pictures let transfer."""
    pixels = next(one for one in white_box.variants(scale) if one[0] == NOISE)
    made = [(MIRROR, "mirror", searched(scale, RESTARTS)), pixels, *controls(scale, RESTARTS)]
    return [(f"{name}, {domain}", method, settings) for name, method, settings in made]


def asked() -> list[Asked]:
    """Whether it is recognised more than what has no prior, and more than by chance."""
    made: list[Asked] = []
    for domain in DOMAINS:
        ours, noise, null = (f"{name}, {domain}" for name in (MIRROR, NOISE, NULL))
        made += [
            (f"mirror.controls.{domain}", f"{domain}: MIRROR's are nearer", ours, noise, "nearest", "smaller"),
            (f"mirror.controls.{domain}-judges", "and recognised more", ours, noise, "judges", "greater"),
            (f"mirror.controls.{domain}-null", "more than by chance", ours, null, "judges", "greater"),
        ]
    return made


def through(variant: str) -> dict[str, Any]:
    """The priors that another table has as well."""
    return {"steps": BRIEFLY}


class Controls(Experiment):
    """Halves of MNIST and of Fashion-MNIST."""

    title: ClassVar[str] = "Controls with few classes: halves of MNIST and Fashion-MNIST"
    source: ClassVar[str] = f"{SOURCE}; as in studies that build on it"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        of_domain = [list(self.of(scale, domain)) for domain in DOMAINS]
        return tuple(cell for pair in zip(*of_domain, strict=True) for cell in pair)

    def of(self, scale: Scale, domain: Domain) -> Iterator[Way]:
        """Those of one domain."""
        labels = min(PRIVATE[domain], 3 if scale == "smoke" else PRIVATE[domain])
        return ways(scale, variants(scale, domain), labels, 1, through=through, domain=domain)

    def told(self, scale: Scale, done: Done) -> Told:
        names = [name for domain in DOMAINS for name, *_ in variants(scale, domain)]
        more = (
            "One block of five labels decides nothing: no signed ranks of five differences reach 0.05. These rows are "
            "to be looked at, since on so few classes classifiers recognise noise as well.",
        )
        return Told(
            tables(self.title, done, names),
            claims(done, (), asked()),
            (),
            (*differs(scale, done, "digits", RESTARTS), *more),
        )
