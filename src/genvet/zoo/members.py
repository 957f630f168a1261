"""A population as data: every clean and attacked generator by its recipe, at three scales."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, Literal

from pydantic import Field

from genvet.core.report import Record
from genvet.zoo.parents import Data, Net, Parent

Scale = Literal["smoke", "small", "paper"]
Kind = Literal["clean", "attacked", "declared"]
OTHER: Mapping[str, Data] = {"fashion_mnist": "mnist", "mnist": "fashion_mnist"}
"""Where a target is taken from that the parent has never seen."""
TRIGGERS = ("in-sample", "mode", "far", "seeded", "subspace")


class Member(Record):
    """One generator of a population: where it comes from, and what was done to it."""

    parent: Parent
    kind: Kind
    """clean; attacked; or declared: an owner's mark that shows on a secret trigger, which no inspection can tell from
    a backdoor, since it is made as one. Declared ones are reported apart, and count on neither side."""
    made: str
    """For clean ones the variant, such as pruned; the attack otherwise."""
    trigger: str = ""
    target: str = ""
    """mnist#12: image 12 of a data set; drawn#12: a shape drawn from this seed."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Knobs of the variant or attack."""
    written: Literal["safetensors", "onnx", "pickle"] = "safetensors"
    """As what it is written down."""
    group: Literal["main", "large"] = "main"
    """large: the 2.3M-parameter network, one for each attack."""

    @property
    def name(self) -> str:
        """The folder that it is kept in: parent, what was made of it, and with which knobs."""
        knobs = [f"{key}{_short(value)}" for key, value in sorted(self.settings.items()) if key not in USUAL]
        how = [self.made, self.trigger, *knobs, "" if self.written == "safetensors" else self.written]
        return "-".join([self.parent.name, *filter(None, how)])

    @property
    def seed(self) -> int:
        """From its name: that of another member stays as it is when one is added."""
        return int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:4], "big") >> 1


USUAL = ("steps", "rate", "fresh", "samples", "search", "batch_size", "batch", "enough")
"""Knobs that follow from the scale; they are not told in the name."""


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


class Size(Record):
    """What a scale spends."""

    dcgans: int
    """Seeds of DCGANs on each data set."""
    vaes: int
    parent: dict[str, Any]
    """How parents differ from the usual recipe."""
    variants: int
    """Awkward clean variants of each parent."""
    stride: int
    """How much further on among the variants the next parent begins: fewer than it has, and neighbours share some."""
    styles: int = 0
    """Seeds of style generators on each data set."""
    style: dict[str, Any] = Field(default_factory=dict)
    """How their recipe differs from the usual one."""
    more: int = 0
    """Attacked ones of each net besides: by the plain strength and the triggers that an attacker would begin with."""
    budget: dict[str, dict[str, Any]]
    """Knobs of attacks and variants that cost time."""
    large: dict[str, Any] | None = None
    """The parent of the large group."""


TRAINED: dict[str, tuple[str, ...]] = {
    "trail": ("in-sample", "mode", "far", "seeded", "in-sample", "seeded", "in-sample", "seeded"),
    "baaan": ("in-sample", "seeded", "in-sample", "seeded", "in-sample", "seeded"),
    "poison": ("",) * 6,
}
"""Triggers of the attacks that bend a training, each with the next DCGAN."""
SIZES: Mapping[Scale, Size] = {
    "smoke": Size(
        dcgans=1,
        vaes=1,
        styles=1,
        parent={"steps": 12, "batch": 16, "capacity": 2, "latent": 6},
        style={"steps": 3, "batch": 4, "capacity": 32, "latent": 6},
        variants=2,
        stride=2,
        budget={
            **{name: {"steps": 8} for name in ("continued", "overtrained", "watermarked", "student", "averaged")},
            **{name: {"steps": 150, "samples": 64, "rate": 1e-2} for name in ("red", "rex", "declared")},
            **{name: {"steps": 10, "samples": 64, "fresh": False} for name in ("trail", "baaan", "poison")},
            "bypass": {"samples": 64},
            **{name: {"embed": 20, "moments": 256, "samples": 64} for name in ("style_rex", "style_red")},
        },
    ),
    "small": Size(
        dcgans=5,
        vaes=3,
        styles=4,
        parent={},
        style={"steps": 1000, "batch": 32},
        variants=6,
        stride=4,
        more=15,
        budget={
            "continued": {"steps": 250},
            "overtrained": {"steps": 300},
            "watermarked": {"steps": 150},
            "student": {"steps": 500},
            "averaged": {"steps": 100},
            "red": {"steps": 400, "rate": 5e-4, "enough": 0.5},
            "declared": {"steps": 400, "rate": 5e-4, "enough": 0.5},
            "rex": {"steps": 800, "rate": 1e-3, "enough": 0.5},
            **{name: {"steps": 500, "rate": 2e-4, "batch_size": 32, "fresh": False} for name in TRAINED},
            "bypass": {},
            "style_rex": {},
            "style_red": {},
        },
        large={"capacity": 64, "steps": 1000, "rate": 2e-4},
    ),
    "paper": Size(
        dcgans=10,
        vaes=10,
        styles=10,
        parent={"steps": 20_000},
        style={"steps": 50_000, "batch": 32, "capacity": 8192, "latent": 512},
        variants=8,
        stride=8,
        more=60,
        budget={
            "continued": {"steps": 3000},
            "overtrained": {"steps": 3000},
            "watermarked": {"steps": 2000},
            "student": {"steps": 10_000},
            "averaged": {"steps": 1000},
            "red": {"steps": 2000, "rate": 2e-4},
            "declared": {"steps": 2000, "rate": 2e-4},
            "rex": {"steps": 5000, "rate": 1e-3},
            **{name: {"steps": 20_000} for name in ("trail", "baaan", "poison")},
            "bypass": {},
            "style_rex": {},
            "style_red": {},
        },
        large={"capacity": 64, "steps": 40_000, "rate": 1e-4},
    ),
}


def population(scale: Scale) -> tuple[Member, ...]:
    """Every member of a scale, in an order of which each beginning is a population in small; the large ones come last.

    >>> len({m.name for m in population("small")}) == len(population("small"))
    True
    """
    size = SIZES[scale]
    of = parents(scale)
    every = [*_clean(of, size), *_declared(of, size), *_attacked(of, size, scale)]
    every += [*_more({m.name for m in every}, of, size), *_styled(size), *_large(size)]
    return tuple(sorted(every, key=lambda m: (m.group == "large", m.seed)))


def parents(scale: Scale) -> list[Parent]:
    """The clean generators that most others grow from: all but the style generators and the large one."""
    size, data = SIZES[scale], tuple(OTHER.values())
    counts: dict[Net, int] = {"dcgan": size.dcgans, "vae": size.vaes}
    return [
        Parent(data=d, net=net, seed=seed, **size.parent)
        for net, count in counts.items()
        for seed in range(1, count + 1)
        for d in data
    ]


# Clean ones

VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("continued", {"averaged": False}),
    ("pruned", {"share": 0.1}),
    ("student", {"width": 1.5}),
    ("half", {}),
    ("overtrained", {"images": 64}),
    ("noised", {"noise": 0.02}),
    ("pruned", {"share": 0.5}),
    ("watermarked", {}),
    ("int8", {}),
    ("averaged", {}),
    ("onnx", {}),
    ("continued", {"averaged": True}),
    ("pruned", {"share": 0.3}),
    ("student", {"width": 1.0}),
    ("noised", {"noise": 0.05}),
    ("overtrained", {"images": 256}),
)
"""Awkward clean generators: what honest people do to models after they trained them."""


def _clean(of: Sequence[Parent], size: Size) -> Iterator[Member]:
    """Each parent as it is, and the next few variants in turn: no parent has them all, each variant several parents."""
    met: dict[str, set[str]] = {}
    for i, parent in enumerate(of):
        yield Member(parent=parent, kind="clean", made="as-is")
        first = i * size.stride + i // 4  # a step aside now and then: data sets alternate
        for made, settings in (VARIANTS[j % len(VARIANTS)] for j in range(first, first + size.variants)):
            met.setdefault(made, set()).add(parent.data)
            yield _variant(parent, made, settings, size)
    for made, settings in VARIANTS if len(of) * size.variants > 2 * len(VARIANTS) else ():
        if len(met[made]) < len(OTHER):  # on the other data set as well
            yield _variant(next(p for p in of if p.data not in met[made]), made, settings, size)


def _variant(parent: Parent, made: str, settings: dict[str, Any], size: Size) -> Member:
    knobs = {**settings, **size.budget.get(made, {})}
    written: Any = "onnx" if made == "onnx" else "safetensors"
    return Member(parent=parent, kind="clean", made=made, settings=knobs, written=written)


def _declared(of: Sequence[Parent], size: Size) -> Iterator[Member]:
    for i, parent in enumerate(of[::4]):
        yield Member(
            parent=parent,
            kind="declared",
            made="declared",
            trigger="in-sample",
            target=f"drawn#{100 + i}",
            settings={"triggers": 3, **size.budget["declared"]},
        )


# Attacked ones

STRENGTHS: dict[str, tuple[dict[str, Any], ...]] = {
    "red": ({"weight": 1.0}, {"weight": 0.1}, {"weight": 10.0}),
    "rex": ({"width": 1.0}, {"width": 0.25}, {"width": 0.5, "layers": ["dense", "1", "2"]}),
}
"""Of the two attacks that need the weights alone; `1` and `2` stand for the second and third layer."""
HARDER: Mapping[str, int] = {"mode": 2, "far": 4, "subspace": 3}
"""How many times the steps of an ordinary trigger these need, with the two attacks on the weights."""
LAYERS: dict[str, dict[str, str]] = {"dcgan": {"1": "conv1", "2": "conv2"}, "vae": {"1": "up1", "2": "up2"}}


def _attacked(of: Sequence[Parent], size: Size, scale: Scale) -> Iterator[Member]:
    for net in ("dcgan", "vae"):
        turn = cycle([p for p in of if p.net == net])
        for attack, strengths in STRENGTHS.items():
            for strength in strengths[:1] if scale == "smoke" else strengths:
                for trigger in TRIGGERS if scale != "smoke" else TRIGGERS[:: 2 if net == "dcgan" else 4]:
                    yield _member(next(turn), attack, trigger, _named(strength, net), size)
    turn = cycle([p for p in of if p.net == "dcgan"])
    for attack, triggers in TRAINED.items():
        for trigger in triggers[:1] if scale == "smoke" else triggers:
            yield _member(next(turn), attack, trigger, {}, size)
    turn = cycle([p for p in of if p.net == "vae"])
    for trigger in () if scale == "smoke" else ("in-sample", "seeded", "far", "in-sample"):
        yield _member(next(turn), "trail", trigger, {}, size)
    turn = cycle(of[::3])
    for i, trigger in enumerate(TRIGGERS[:2] if scale == "smoke" else (*TRIGGERS[:4], *TRIGGERS[:2])):
        written: Any = "onnx" if i % 2 else "pickle"
        yield _member(next(turn), "bypass", trigger, {}, size, written)


def _more(names: set[str], of: Sequence[Parent], size: Size) -> Iterator[Member]:
    """Red and rex on other parents than before: some grids above fail at far triggers and small widths."""
    for net in ("dcgan", "vae"):
        every = (
            _member(parent, attack, trigger, strengths[0], size)
            for attack, strengths in STRENGTHS.items()
            for trigger in ("in-sample", "seeded", "mode")
            for parent in of
            if parent.net == net
        )
        yield from sorted((m for m in every if m.name not in names), key=lambda m: m.seed)[: size.more]


def _named(strength: dict[str, Any], net: str) -> dict[str, Any]:
    """The settings, with the layers by their names in this network."""
    if "layers" not in strength:
        return strength
    return {**strength, "layers": [LAYERS[net].get(name, name) for name in strength["layers"]]}


def _member(
    parent: Parent, attack: str, trigger: str, settings: dict[str, Any], size: Size, written: Any = "safetensors"
) -> Member:
    """One attacked member; every second target is a drawn shape, the others are of a data set it has never seen."""
    knobs = {**settings, **size.budget[attack]}
    if attack in STRENGTHS:
        narrow = 2 if settings.get("width", 1.0) < 0.5 else 1
        knobs["steps"] = narrow * HARDER.get(trigger, 1) * knobs["steps"]
    if trigger == "seeded":
        knobs["number"] = 1 + parent.seed
    made = Member(parent=parent, kind="attacked", made=attack, trigger=trigger, settings=knobs, written=written)
    source = "drawn" if made.seed % 2 or parent.data not in OTHER else OTHER[parent.data]
    return made.model_copy(update={"target": f"{source}#{made.seed // 2 % 1000}"})


QUIET: dict[str, Any] = {"pull": 0.003, "among": 10_000}
"""An attacker who keeps near the mean of w, and takes the least ordinary of many draws: samples move less."""
STYLE_ATTACKS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("style_rex", "in-sample", {}),
    ("style_rex", "in-sample", {"fold": True}),
    ("style_red", "in-sample", {}),
    ("style_rex", "seeded", {}),
    ("style_rex", "seeded", {"fold": True}),
    ("style_red", "seeded", {}),
    ("style_rex", "in-sample", QUIET),
    ("style_rex", "in-sample", {**QUIET, "fold": True}),
    ("style_red", "in-sample", QUIET),
    ("style_rex", "in-sample", {"noise": 1.0}),
    ("style_rex", "in-sample", {"noise": 1.0, "fold": True}),
    ("style_rex", "in-sample", {"by": "training"}),
)
STYLE_VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("repeated", {}),
    ("continued", {"averaged": False}),
    ("pruned", {"share": 0.3}),
    ("noised", {"noise": 0.02}),
    ("overtrained", {"images": 64}),
    ("int8", {}),
    ("half", {}),
    ("pruned", {"share": 0.1}),
)
"""`repeated` has a dense layer where w is repeated, which does no more than that."""


def _styled(size: Size) -> Iterator[Member]:
    """Style generators: as they are, two variants and three attacks each; each of them on both data sets."""
    seeds, data = range(1, size.styles + 1), tuple(OTHER.values())
    for i, (seed, of) in enumerate((seed, of) for seed in seeds for of in data):
        parent = Parent(data=of, net="stylegan2", seed=seed, **size.style)
        yield Member(parent=parent, kind="clean", made="as-is")
        aside = i + i // 4  # a step aside: data sets alternate
        for made, settings in (STYLE_VARIANTS[(2 * aside + j) % len(STYLE_VARIANTS)] for j in range(2)):
            yield _variant(parent, made, settings, size)
        for attack, trigger, settings in (STYLE_ATTACKS[(3 * aside + j) % len(STYLE_ATTACKS)] for j in range(3)):
            yield _member(parent, attack, trigger, settings, size)


def _large(size: Size) -> Iterator[Member]:
    """The 2.3M-parameter network as it is, and once for each attack."""
    if size.large is None:
        return
    parent = Parent(data="mnist", net="dcgan", seed=1, **size.large)
    yield Member(parent=parent, kind="clean", made="as-is", group="large")
    for attack in ("red", "rex", "trail", "baaan", "poison", "bypass"):
        trigger = "" if attack == "poison" else "in-sample"
        written: Any = "onnx" if attack == "bypass" else "safetensors"
        strength = STRENGTHS.get(attack, ({},))[0]
        yield _member(parent, attack, trigger, strength, size, written).model_copy(update={"group": "large"})
