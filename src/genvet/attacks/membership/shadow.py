"""Shadow models: how records look to models of one's own that did, and did not, learn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.membership.exposed import Exposed, exposed
from genvet.attacks.membership.records import Cohort, Comparing, Seen
from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.progress import track
from genvet.core.queries import Samples
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.maths.shadow_signals import above_outside, likelihood_ratio, relative, standardised
from genvet.nets.judging import scores_of
from genvet.nets.nearest_samples import Nearest as Near
from genvet.nets.nearest_samples import nearest_samples
from genvet.training.shadows import drawn, recipe, shadow


@dataclass(frozen=True, eq=False, kw_only=True)
class Given(Seen):
    """What it is given."""

    critic: Critic | None = None
    """The target's critic, or a stolen model's: its score is then the first signal."""


class Shadow(Comparing, Probe):
    """Tells members by what models of the same recipe, trained on parts of the records, make of them.

    Signals are the critic's score, where one is given, and how near the nearest sample comes. An attack model learns
    from the shadows which signals members have; likelihood ratios and RMIA look at each record by itself.
    """

    source: ClassVar[str] = (
        "Shokri et al. 2017 (attack model); Carlini et al. 2022, sec. V (LiRA); Zarifzadeh et al. 2024 (RMIA)"
    )
    smoke: ClassVar[dict[str, Any]] = {
        "shadows": 2,
        "samples": 50,
        "recipe": "adversarial:steps=2,batch=8,capacity=2,latent=4",
    }

    recipe: Annotated[str, Field(max_length=1000)] = "adversarial:steps=2500,capacity=16,rate=0.0005"
    """How shadow models are trained, as the target was: adversarial, variational, stylegan1, stylegan2; with fields."""
    shadows: Annotated[int, Field(ge=2, le=1000)] = 8
    """Models; each learns from as many records as the target did, and every record is in equally many."""
    samples: Annotated[int, Field(ge=1, le=10_000_000)] = 5000
    """Of each model, for the nearest to each record."""
    offline: Annotated[float, Field(ge=0, le=1)] = 0.5
    """RMIA's a, where no shadow may have learned from the record."""

    def __call__(self, target: Samples, given: Given, rng: Rng) -> Exposed:
        cohort = self.cohort(given, getattr(target, "shape", None))
        own, seen = self.looks(target, given.critic, cohort.x, given, self.samples, rng.fork("target"))
        inside = drawn(_people(cohort), _count(cohort), self.shadows, rng.fork("halves"))
        others = torch.stack(
            [
                self._of_shadow(number, cohort, chosen, given, seen.samples, rng)
                for number, chosen in enumerate(track(inside, len(inside), "shadow models"))
            ]
        )
        own, others = standardised(own.T).T, standardised(others.transpose(1, 2)).transpose(1, 2)
        first, theirs = own[:, 0], others[:, :, 0]
        scores = {
            "attack model": _attack_model(own, others, inside),
            "likelihood ratio": likelihood_ratio(first, theirs, inside),
            "likelihood ratio, offline": above_outside(first, theirs, inside),
            "RMIA": relative(first, theirs, inside),
            "RMIA, offline": relative(first, theirs, inside, self.offline),
            "the signal itself": first,
        }
        note = f"{self.shadows} shadow models of {int(inside[0].sum())} records each."
        return exposed(self, "shadow", cohort, scores, rng, asked=seen.samples, notes=(note, *seen.notes))

    def looks(
        self, model: Samples, critic: Critic | None, x: Tensor, given: Given, samples: int, rng: Rng
    ) -> tuple[Tensor, Near]:
        """What one model says of the records x (n, *shape), (n, signals); and the nearest of its samples."""
        near = nearest_samples(model, x, self.seen(given), samples, rng.fork("samples"))
        found = [-near.distance.clamp_min(1e-9).log()]
        return torch.stack([scores_of(critic, x), *found] if critic is not None else found, 1), near

    def _of_shadow(self, number: int, cohort: Cohort, chosen: Tensor, given: Given, samples: int, rng: Rng) -> Tensor:
        """The signals of one shadow model, of which as many samples are looked at as the target gave."""
        names = tuple(name for name, mine in zip(cohort.names, chosen.tolist(), strict=True) if mine)
        drawn = rng.fork(f"shadow {number}")
        made = shadow(recipe(self.recipe), Images(cohort.x[chosen], names), drawn)
        if tuple(made.generator.shape) != tuple(cohort.x.shape[1:]):
            expected, got = str(tuple(cohort.x.shape[1:])), str(tuple(made.generator.shape))
            raise BadInput("this recipe makes images of another shape", expected=expected, got=got)
        if given.critic is not None and made.critic is None:
            raise Unsupported("this recipe trains no critic to compare with", hint="leave --critic out")
        critic = None if given.critic is None else made.critic
        return self.looks(made.generator.seen_as(Samples), critic, cohort.x, given, samples, drawn)[0]


def _people(cohort: Cohort) -> Tensor:
    """A number for each record's person; unseen ones, and where nobody knows all of them, are people of their own."""
    if cohort.people is None:
        return torch.arange(len(cohort.x))
    known = torch.cat(cohort.people)
    return torch.cat([known, int(known.max()) + 1 + torch.arange(len(cohort.x) - len(known))])


def _count(cohort: Cohort) -> int:
    """Records that each shadow learns from: as many as there are members, and half of all at most."""
    return max(2, min(cohort.members, len(cohort.x) // 2))


def _attack_model(own: Tensor, others: Tensor, inside: Tensor) -> Tensor:
    """The log odds of membership by a logistic regression that learned from the shadows alone: (n,)."""
    from sklearn.linear_model import LogisticRegression  # here, so that --help need not wait for it

    def features(signals: Tensor) -> Tensor:
        bounded = signals.clamp(-5, 5)
        return torch.cat([bounded, bounded.square()], -1)

    model = LogisticRegression(max_iter=1000, class_weight="balanced")
    model.fit(features(others).flatten(0, 1).numpy(), inside.flatten().numpy())
    return torch.from_numpy(model.decision_function(features(own).numpy()))
