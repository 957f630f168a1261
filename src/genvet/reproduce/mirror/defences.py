"""Section V-E: targets that were trained or guarded to give little away, attacked as ever and by somebody who knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.core.technique import Nothing, Probe, Technique
from genvet.defences.query.rounding import Rounding
from genvet.defences.query.score_noise import ScoreNoise
from genvet.reproduce.cells import Cell, Done, Place
from genvet.reproduce.experiment import Experiment, Scale, Told
from genvet.reproduce.mirror import SOURCE, black_box
from genvet.reproduce.mirror.comparing import REAL, Asked, Variant, Way, bars, tables, ways
from genvet.reproduce.mirror.protocol import BLOCKS, BRED, FEWER, claims, controls, differs, searched

RESTARTS = 2
TRAINED = {
    "none": "no defence",
    "smoothing": "negative label smoothing",
    "mid": "information bottleneck",
    "bido": "bilateral dependency",
    "robust": "adversarial training",
    "unnormed": "no batch norm, no defence",
    "private": "no batch norm, DP-SGD",
}
"""How targets are trained, in words; private training takes no batch norms, so that it has a control of its own."""
GUARDS: Mapping[str, Any] = {
    "no guard": None,
    "rounded to 1 decimal": Rounding(decimals=1),
    "noise of 0.1 on scores": ScoreNoise(deviation=0.1),
    "fresh noise of 0.1 on scores": ScoreNoise(deviation=0.1, fresh=True),
}
"""What stands between a target and those who ask it."""
KNOWN: Mapping[str, dict[str, Any]] = {
    "rounded to 1 decimal": {"looks": 4, "jitter": 0.3},
    "noise of 0.1 on scores": {"looks": 4, "jitter": 0.05},
    "fresh noise of 0.1 on scores": {"looks": 4},
}
"""What whoever knows of a guard does: look again at every image, moved a little where that changes the answer."""
REAL_ONES, KNOWING = "real drawings", "knowing"


class Behind(Way):
    """A search by queries, with a guard before the target."""

    guard: str
    """By its name in this table."""

    def techniques(self) -> tuple[type[Technique], ...]:
        guard = GUARDS[self.guard]
        return (*super().techniques(), *([] if guard is None else [type(guard)]))

    def seen(self, probe: Probe, place: Place) -> Any:
        view, guard = self.target.classifier(place).seen_as(Scores), GUARDS[self.guard]
        return view if guard is None else guard(view, Nothing(), Rng(self.block).fork("guard"))


def trained(scale: Scale) -> list[Variant]:
    """Of each training: real drawings, which tell its price; the usual attack; and one by another loss."""
    made: list[Variant] = []
    for name in TRAINED.values():
        made += [
            (f"{name}, {REAL_ONES}", REAL, {}),
            (name, "mirror", searched(scale, RESTARTS)),
            # Cross-entropy fades where a defence has made scores sure or flat: the logit does not.
            (f"{name}, {KNOWING}", "mirror", searched(scale, RESTARTS, loss="logit")),
        ]
    return made


def guarded(scale: Scale) -> list[Variant]:
    """Of each guard: the search by queries, and one by somebody who looks again, with as many queries in all."""
    (_, method, settings), made = next(one for one in black_box.variants(scale) if one[0] == BRED), []
    for name in GUARDS:
        made.append((name, method, settings))
        if name in KNOWN:
            generations = max(settings["generations"] // KNOWN[name]["looks"], 1)
            made.append((f"{name}, {KNOWING}", method, {**settings, "generations": generations, **KNOWN[name]}))
    return made


def against(variant: str) -> dict[str, Any]:
    """How the target of a variant was trained."""
    found = {name: key for key, name in TRAINED.items()}
    key = next((found[name] for name in found if variant.startswith(name)), "none")
    family = {"family": "cnn"} if key in ("unnormed", "private") else {}
    return {"defence": "none" if key == "unnormed" else key, **family}


def behind(variant: str) -> dict[str, Any]:
    """Which guard a variant stands before."""
    return {"guard": variant.removesuffix(f", {KNOWING}")}


def asked() -> list[Asked]:
    """Of each defence, whether less is recognised; and whether whoever knows of it gets more."""
    pairs = [(name, TRAINED["unnormed" if key == "private" else "none"]) for key, name in TRAINED.items()]
    pairs = [(name, plain) for name, plain in pairs if not name.endswith("no defence")]
    pairs += [(name, "no guard") for name in KNOWN]
    made: list[Asked] = []
    for name, plain in pairs:
        short = name.replace("no batch norm, ", "").replace(" ", "-").lower()
        less, worth = f"{name}: less of it is recognised", f"{name}: who knows of it gets more"
        made += [
            (f"mirror.defence.{short}", less, name, plain, "judges", "smaller"),
            (f"mirror.defence.{short}-knowing", worth, f"{name}, {KNOWING}", name, "judges", "greater"),
        ]
    return made


class Defences(Experiment):
    """What each defence costs, and what it leaves of the attack."""

    title: ClassVar[str] = "Section V-E: defences"
    source: ClassVar[str] = f"{SOURCE}, sec. V-E"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        some = [*trained(scale), *controls(scale, RESTARTS)]
        one = ways(scale, some, FEWER[scale], BLOCKS[scale], against=against)
        other = ways(scale, guarded(scale), FEWER[scale], BLOCKS[scale], more=behind, kind=Behind)
        return tuple(sorted((*one, *other), key=lambda cell: cell.block))

    def told(self, scale: Scale, done: Done) -> Told:
        names = [name for name, *_ in (*trained(scale), *guarded(scale), *controls(scale, RESTARTS))]
        more = (
            "The price of a defence is what its target makes of real drawings: the first measure of those rows. The "
            "paper's DP-SGD tells no epsilon; ours stands in the file of the target.",
            "Whoever knows of a training follows the logit in the place of cross-entropy. Whoever knows of a guard "
            "looks four times at every image, for a quarter of the generations. Guards stand before queries alone.",
        )
        return Told(
            tables(self.title, done, names),
            claims(done, (), asked()),
            tuple(bars("Recognised by other classifiers", done, names, "judges")),
            (*differs(scale, done, restarts=RESTARTS), *more),
        )
