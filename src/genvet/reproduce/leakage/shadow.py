"""Shadow models: an attack model, likelihood ratios and RMIA beside the signal by itself."""

from __future__ import annotations

from typing import Any, ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Line, Scale, Told, above, table
from genvet.reproduce.leakage import SOURCE
from genvet.reproduce.leakage.attacking import DIFFERS, Leak, ahead, over_seeds, spread
from genvet.reproduce.leakage.networks import SEEDS, SETTINGS, SOME, Learned, learned

SIGNALS = (
    "attack model",
    "likelihood ratio",
    "likelihood ratio, offline",
    "RMIA",
    "RMIA, offline",
    "the signal itself",
)
SHADOWS: dict[Scale, int] = {"smoke": 2, "small": 6, "paper": 64}
SAMPLES: dict[Scale, int] = {"smoke": 20, "small": 3000, "paper": 50_000}


def targets(scale: Scale) -> list[Learned]:
    """Of all seeds."""
    return [learned(scale, SOME[scale], seed) for seed in range(1, SEEDS[scale] + 1)]


def shadowed(scale: Scale, target: Learned) -> Leak:
    """The attack, whose shadows are trained as the target was."""
    recipe = "regularised:" + ",".join(f"{key}={value}" for key, value in SETTINGS[scale].items())
    knobs: dict[str, Any] = {"recipe": recipe, "shadows": SHADOWS[scale], "samples": SAMPLES[scale]}
    return Leak(variant="shadow", attack="shadow", settings=knobs, target=target, others=SOME[scale])


class Shadows(Experiment):
    """What shadow models add to the critic's score."""

    title: ClassVar[str] = "Shadow models"
    source: ClassVar[str] = f"{SOURCE}, sec. 2.4.4 (shadow models, attack model)"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(shadowed(scale, target) for target in targets(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        every = {
            name: {m: over_seeds(done, f"{i}.{m}" if i else m, "shadow", targets(scale)) for m in MEASURES}
            for i, name in enumerate(SIGNALS)
        }
        lines = [
            Line((name, words), None, spread(every[name][measure]))
            for name in SIGNALS
            for measure, words in MEASURES.items()
        ]
        plain, claims = every[SIGNALS[-1]]["auc"], []
        for name in SIGNALS[:-1]:
            more = ahead(every[name]["auc"], plain)
            words = name.replace(",", "")
            claims.append(above(f"{words} tells more than the signal", more, 0, "difference of AUC"))
        said = f"{SHADOWS[scale]} shadow models for each target; the papers take 64 and more of classifiers."
        return Told((table(self.title, ("score", "measure"), lines),), tuple(claims), (), (*DIFFERS, said))


MEASURES = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "auc.permuted": "AUC, labels permuted",
}
