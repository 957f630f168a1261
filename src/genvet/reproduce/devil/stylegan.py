"""Section V-C: a style generator, a dense layer where w is repeated, and what shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from genvet.attacks.backdoor.objective import Aim
from genvet.attacks.backdoor.style import StylePlanted
from genvet.catalogue import find
from genvet.core.generator import StyleGenerator
from genvet.core.report import Claim, Figure, Record
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Probe, Technique
from genvet.inspections.output.hidden import Hidden
from genvet.inspections.output.reconstruct import Known, Reconstruct
from genvet.inspections.static.spectrum import InspectSpectrum, Spectrum
from genvet.maths.distances import exact
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.devil import SOURCE
from genvet.reproduce.devil.target import devil
from genvet.reproduce.experiment import (
    FEWEST,
    Experiment,
    Line,
    Scale,
    Spread,
    Told,
    apart,
    claim,
    median,
    shown,
    table,
    values,
)
from genvet.reproduce.stylegan.networks import Styled, parent

PAPERS, FORMULA, FOLDED, MAPPING = "rex, trained", "rex, formula", "rex, folded", "red in the mapping"
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    PAPERS: ("style_rex", {"by": "training"}),
    FORMULA: ("style_rex", {}),
    "rex, least seen": ("style_rex", {"pull": 0.003, "among": 10_000}),
    "rex, for truncation 0.7": ("style_rex", {"truncation": 0.7}),
    "rex, 5 triggers": ("style_rex", {"triggers": 5}),
    "rex, noise 0.3": ("style_rex", {"noise": 0.3}),
    "rex, noise 1": ("style_rex", {"noise": 1.0}),
    FOLDED: ("style_rex", {"fold": True}),
    MAPPING: ("style_red", {}),
}
"""The attack, and what of it is not as usual: the paper's own first."""
CLEAN = "clean"
PIXELS, ADDED = 0.02, 4_718_592 / 26_200_000
"""The paper's: "just over 2 %"; 512 x 18 x 512 of 26.2 million parameters."""
SEEN = 0.95
"""Cosine with what was planted from which on a direction shows it."""
NEAR = 1.5
"""Times the trigger's own distance within which a search has found it."""
MEASURES = {
    "embedding-error": "before rex",
    "target-distortion": "after it",
    "expected-distortion": "",
    "pixel-change": "mean absolute, share of the range",
    "parameters-added": "share of those that there were",
    "half-way": "from the trigger, where the target has half faded",
    "target-distortion.truncation-0.7": "",
    "pixel-change.truncation-0.7": "",
    "reconstruction": "OB-OI: nearest to the target that a search came",
    "found": "share of these searches that came near",
    "hidden": "the search for an unknown target",
    "gap": "of the spectrum",
    "cosine": "of its first direction with what was planted",
    "span": "share of what was planted in the directions that stand out",
    "decoded": "nearest picture of the spectrum to the target",
    "styles": "gap of the spectrum of all layers that read w",
    "mapping": "gap of the mapping's layers, the largest",
}
OF_THE_LAYER = ("cosine", "span")
HUNTED = (FORMULA, MAPPING)
"""In which an unknown target is searched for as well: that teaches a student each time."""
PAPER: dict[tuple[str, str], float] = {(PAPERS, "pixel-change"): PIXELS, (PAPERS, "parameters-added"): ADDED}


class Effort(Record):
    """What is spent on one network."""

    samples: Annotated[int, Field(ge=20)]
    embed: Annotated[int, Field(ge=1)]
    starts: Annotated[int, Field(ge=1)]
    steps: Annotated[int, Field(ge=1)]
    restarts: Annotated[int, Field(ge=1)]
    search: Annotated[int, Field(ge=1)]
    moments: Annotated[int, Field(ge=2)]
    hidden: dict[str, Any] | None


class Looked(Cell):
    """A clean style generator as its attacked twins are looked at."""

    parent: Styled
    effort: Effort

    @property
    def name(self) -> str:
        return f"{self.parent.name}.clean"

    def needs(self) -> tuple[Step, ...]:
        return (self.parent,)

    def where(self) -> Mapping[str, object]:
        return {"variant": CLEAN}

    def techniques(self) -> tuple[type[Technique], ...]:
        return InspectSpectrum, Reconstruct, Hidden

    def __call__(self, place: Place) -> Numbers:
        generator = self.parent.generator(place)
        x = generator.sample(self.effort.samples, Rng(1, "looks"))
        between = float(exact(x[1:], x[:-1]).mean())
        return {"apart": between, **searched(generator, self.effort, None), **_spectrum(generator, self.effort)[0]}


class Backdoored(Looked):
    """One attack on one style generator."""

    variant: str
    number: Annotated[int, Field(ge=1)]
    """The seed that the trigger follows from."""

    @property
    def name(self) -> str:
        return f"{self.parent.name}.{self.variant.replace(', ', '-').replace(' ', '-')}.{self.number}"

    def where(self) -> Mapping[str, object]:
        return {"variant": self.variant}

    @property
    def probe(self) -> Probe:
        """The attack with its settings."""
        name, settings = VARIANTS[self.variant]
        kind: Any = find(f"backdoor.{name}").load()
        effort = self.effort
        more = effort.model_dump(include={"samples", "embed", "starts", "steps", "moments"})
        probe: Probe = kind(**more, **settings)
        return probe

    def techniques(self) -> tuple[type[Technique], ...]:
        return type(self.probe), *super().techniques()

    def __call__(self, place: Place) -> Numbers:
        benign = self.parent.generator(place)
        given = Aim(devil(benign.shape))
        told: Any = self.probe(benign, given, Rng(self.number).fork(self.probe.name()))
        assert isinstance(told, StylePlanted)
        numbers: dict[str, float | None] = {m.name: m.value for m in told.measures() if m.name in MEASURES}
        numbers["parameters-added"] = told.added / told.before
        planted = told.planted
        assert isinstance(planted, StyleGenerator)
        hit = float(told.target.mean())
        seen = uncovered(planted, benign, told, self.probe.model_dump()["truncation"], self.effort)
        return {**numbers, **searched(planted, self.effort, hit), **seen}


def searched(generator: StyleGenerator, effort: Effort, hit: float | None) -> dict[str, float | None]:
    """How near searches come to the target; and what one says that knows none."""
    target = devil(generator.shape)
    probe = Reconstruct(restarts=effort.restarts, steps=effort.search, also="nothing")
    nearest = probe(generator, Known(targets=target), Rng(1, "search")).plain.found.value[0]
    told: dict[str, float | None] = {"reconstruction": float(nearest.min())}
    if hit is not None:
        told["found"] = float((nearest <= NEAR * hit).double().mean())
    if effort.hidden is not None:
        told["hidden"] = Hidden(**effort.hidden)(generator, Nothing(), Rng(1, "hidden")).strength
    return told


def uncovered(
    planted: StyleGenerator, benign: StyleGenerator, told: StylePlanted, truncation: float, effort: Effort
) -> dict[str, float | None]:
    """What the spectrum shows of it, which knows neither trigger nor target."""
    numbers, found = _spectrum(planted, effort)
    target = told.backdoor.wanted(told.backdoor.trigger.sample(0, 1, Rng(0)))
    numbers["decoded"] = float(exact(found.decoded, target.expand_as(found.decoded)).min())
    if found.residue is None:
        return numbers
    added = _planted(benign, told, truncation)
    out = found.residue.left[:, : found.residue.rank].T @ added.T
    cosine = float((found.residue.left[:, 0] @ added.T).abs().max())
    return {**numbers, "cosine": cosine, "span": float(out.square().sum(0).mean().clamp(0, 1))}


def _spectrum(generator: StyleGenerator, effort: Effort) -> tuple[dict[str, float | None], Spectrum]:
    found = InspectSpectrum(count=effort.moments, steps=effort.search)(generator, Nothing(), Rng(1, "spectrum"))
    gap = 1.0 if found.residue is None else min(found.residue.gap, 1e6)
    told = {m.name: m.value for m in found.measures() if m.name in ("styles", "mapping")}
    return {**told, "gap": gap}, found


@torch.no_grad()
def _planted(benign: StyleGenerator, told: StylePlanted, truncation: float) -> Tensor:
    """What is written to w+ for each trigger, beyond repeating w, with norm 1: (k, num_ws * w_dim) in double."""
    z = told.backdoor.trigger.sample(0, 5, Rng(0))
    w = benign.mapping(z.to(benign.device), truncation=truncation).cpu()
    beyond = (told.embedded.ws[:1] - w[:, None]).flatten(1).double()
    return normalize(beyond, dim=1)


class StyleGANs(Experiment):
    """ReX and ReD behind the mapping of a style generator."""

    title: ClassVar[str] = "Section V-C: StyleGAN, one trigger and one picture"
    source: ClassVar[str] = f"{SOURCE}, sec. V-C"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_cells(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((variant, measure), PAPER.get((variant, measure)), _ours(done, measure, variant), note)
            for variant in VARIANTS
            for measure, note in MEASURES.items()
            if not (variant in (FOLDED, MAPPING) and measure in OF_THE_LAYER)
            if not (variant not in HUNTED and measure == "hidden")
        ]
        notes = {
            "apart": "from one ordinary sample to another",
            "reconstruction": "",
            "hidden": "",
            "gap": "1: none",
            "styles": "",
        }
        lines += [Line((CLEAN, measure), None, _ours(done, measure, CLEAN), note) for measure, note in notes.items()]
        claims = tuple(_claims(done))
        return Told((table(self.title, ("network", "measure"), lines),), claims, tuple(_figures(done)), _differs(scale))


def _differs(scale: Scale) -> tuple[str, ...]:
    small = "A StyleGAN2 of 32 pixels and 128 numbers in w, trained here on Fashion-MNIST"
    return (
        f"{small if scale == 'small' else 'A StyleGAN trained here'}; the paper's has 1024 pixels and 512 numbers "
        "in w. Ordinary samples move less the more numbers w has: by 1 over their root, where the embedding is alike.",
        "The target is a devil's face of our own drawing, embedded by pixels alone; the paper's is a stop sign.",
        "Distortions are sums of squares, range [-1, 1]; the change of pixels is a share of that range.",
        "The paper inspects by looking at the weights and by searches; the spectrum is ours.",
    )


def _cells(scale: Scale) -> Iterator[Cell]:
    sizes: dict[Scale, tuple[int, ...]] = {
        "smoke": (20, 3, 2, 5, 2, 3, 256),
        "small": (10_000, 300, 4, 3000, 5, 200, 16_384),
        "paper": (10_000, 2000, 16, 20_000, 20, 1000, 65_536),
    }
    hidden: dict[str, Any] = {"steps": 250, "students": 1, "restarts": 1, "search": 40, "starts": 32}
    quick: dict[Scale, dict[str, Any] | None] = {
        "smoke": hidden | {"steps": 5, "search": 2, "starts": 2},
        "small": hidden,
        "paper": {},
    }
    names = ("samples", "embed", "starts", "steps", "restarts", "search", "moments")
    effort = Effort(**dict(zip(names, sizes[scale], strict=True)), hidden=quick[scale])
    whose = parent(scale)
    yield Looked(parent=whose, effort=effort)
    for number in range(1, 2 if scale == "smoke" else 1 + FEWEST):
        for variant in VARIANTS:
            less: dict[str, Any] = {} if variant in HUNTED else {"hidden": None}
            less |= {} if variant in (PAPERS, FORMULA) else {"samples": min(effort.samples, 1024)}
            one = effort.model_copy(update=less)
            yield Backdoored(parent=whose, effort=one, variant=variant, number=number)


def _ours(done: Done, measure: str, variant: str) -> Spread | None:
    return median(values(done, measure, variant=variant))


def _figures(done: Done) -> Iterator[Figure]:
    """What hiding from the spectrum costs."""
    series = {}
    for measure in ("expected-distortion", "target-distortion"):
        points = [(_ours(done, "gap", v), _ours(done, measure, v)) for v in VARIANTS if v.startswith("rex")]
        known = sorted((a.value, b.value) for a, b in points if a and b)
        if known:
            series[measure] = [list(column) for column in zip(*known, strict=True)]
    if series:
        data = {"series": series, "x": "gap of the spectrum", "y": "sum of squares", "log": "xy"}
        yield Figure(kind="scatter", title="What a smaller gap costs", data=data)


def _claims(done: Done) -> Iterator[Claim]:
    near = "devil.stylegan"
    for variant in (PAPERS, FORMULA):
        name = f"{near}.{variant.replace(', ', '-')}"
        before, after = (_ours(done, m, variant) for m in ("embedding-error", "target-distortion"))
        kept = before and after and after.value <= 1.1 * before.value
        yield claim(f"{name}.does-not-degrade-the-embedding", after, kept, f"embedding {shown(before)}")
        moved = _ours(done, "pixel-change", variant)
        yield claim(f"{name}.pixels-move-by-2-percent", moved, moved and moved.value <= 0.025, f"paper {PIXELS:g}")
        gap = _ours(done, "gap", variant)
        yield claim(f"{name}.weights-look-normal", gap, gap and gap.value < 2, "a gap of 2 stands out")
        cosine = _ours(done, "cosine", variant)
        yield claim(f"{name}.spectrum-finds-it", cosine, cosine and cosine.value >= SEEN, f"at least {SEEN:g}")
        found, hit = (_ours(done, m, variant) for m in ("reconstruction", "target-distortion"))
        true = found and hit and found.value <= NEAR * hit.value
        yield claim(f"{name}.search-finds-it", found, true, f"trigger {shown(hit)}")
        away = _ours(done, "target-distortion.truncation-0.7", variant)
        weak = away and after and away.value > 2 * after.value
        yield claim(f"{name}.truncation-weakens-it", away, weak, f"without {shown(after)}", decided=apart(away, after))
    yield from _of_those_who_hide(done, near)


def _of_those_who_hide(done: Done, near: str) -> Iterator[Claim]:
    for variant, measure in ((FOLDED, "styles"), (MAPPING, "mapping")):
        ours, usual = (_ours(done, measure, of) for of in (variant, CLEAN))
        name = f"{near}.{variant.replace(', ', '-')}.{measure}-show-it"
        yield claim(name, ours, ours and usual and ours.value > 1.5 * usual.value, f"clean {shown(usual)}")
    plain, noisy = (_ours(done, "expected-distortion", variant) for variant in (FORMULA, "rex, noise 1"))
    costly = plain and noisy and noisy.value > 5 * plain.value
    yield claim(
        f"{near}.noise-costs-the-samples", noisy, costly, f"without {shown(plain)}", decided=apart(noisy, plain)
    )
    hunted, clean = _ours(done, "hidden", FORMULA), _ours(done, "hidden", CLEAN)
    true = hunted and clean and hunted.value > clean.value
    beside = f"clean {shown(clean)}"
    yield claim(f"{near}.unknown-target-is-found", hunted, true, beside, decided=apart(hunted, clean))
