"""Detectors of generated images that need nobody's weights: each learns from images of one generator and real ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from genvet.core.classifier import Classifier
from genvet.core.data import Critic
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.maths.delivery import blurred, jpeg
from genvet.maths.forensics import co_occurrences, correlation, cosine_spectrum, radial_spectrum, residual
from genvet.nets.random_features import random_features

Array = NDArray[np.float64]
BATCH = 64
VALUES = 1 << 22
"""Of images that are looked at together: what is made of them takes nine times as many and more."""


def parts(x: Tensor) -> tuple[Tensor, ...]:
    """The images some at a time."""
    return x.split(max(1, VALUES // max(x[0].numel(), 1))) if len(x) else (x,)


class Detector(ABC):
    """Learns once, then gives each image its probability of being generated."""

    @abstractmethod
    def learn(self, real: Tensor, fake: Tensor, rng: Rng) -> Detector: ...

    @abstractmethod
    def __call__(self, x: Tensor) -> Array:
        """(n,) for images (n, c, h, w)."""


class Linear(Detector):
    """Logistic regression on a row of numbers."""

    def __init__(self, numbers: Callable[[Tensor], Tensor], c: float = 1.0) -> None:
        self.numbers, self.c = numbers, c
        self.model: Any = None

    def learn(self, real: Tensor, fake: Tensor, rng: Rng) -> Detector:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.begin(real, fake)
        x = np.concatenate([self._rows(real), self._rows(fake)])
        y = np.repeat([0, 1], [len(real), len(fake)])
        model = LogisticRegression(C=self.c, max_iter=2000, tol=1e-3)
        self.model = make_pipeline(StandardScaler(), model).fit(x, y)
        return self

    def begin(self, real: Tensor, fake: Tensor) -> None:
        """What is taken from the images before the regression."""

    def __call__(self, x: Tensor) -> Array:
        told: Array = self.model.predict_proba(self._rows(x))[:, 1]
        return told

    def _rows(self, x: Tensor) -> Array:
        rows: Array = torch.cat([self.numbers(some) for some in parts(x)]).double().numpy()
        return rows


class Fingerprint(Linear):
    """How well an image's residue goes with the mean residue of the generator (Marra et al. 2019)."""

    def __init__(self) -> None:
        super().__init__(self._alike)
        self.pattern = torch.zeros(0)

    def begin(self, real: Tensor, fake: Tensor) -> None:
        ours, theirs = (torch.stack([residual(s).sum(0) for s in parts(x)]).sum(0) / len(x) for x in (fake, real))
        self.pattern = ours - theirs

    def _alike(self, x: Tensor) -> Tensor:
        return correlation(residual(x), self.pattern)[:, None]


class Neighbours(Linear):
    """Whether the nearest known images in a feature space are generated or real (Ojha et al. 2023)."""

    def __init__(self, features: Callable[[Tensor], Tensor], k: int = 5) -> None:
        super().__init__(self._nearness)
        self.features, self.k = features, k
        self.known: tuple[Tensor, Tensor] = (torch.zeros(0), torch.zeros(0))

    def begin(self, real: Tensor, fake: Tensor) -> None:
        a, b = self.features(real), self.features(fake)
        self.mean, self.scale = a.mean(0), a.std(0).clamp_min(1e-6)
        self.known = ((a - self.mean) / self.scale, (b - self.mean) / self.scale)

    def _nearness(self, x: Tensor) -> Tensor:
        rows = (self.features(x) - self.mean) / self.scale
        near = [self._nearest(rows, known) for known in self.known]
        return (near[0] / near[1].clamp_min(1e-9)).log()[:, None]

    def _nearest(self, rows: Tensor, known: Tensor) -> Tensor:
        """The mean distance to the k nearest; an image that was learned from is none of its own."""
        found = torch.cdist(rows, known, compute_mode="donot_use_mm_for_euclid_dist")
        found[found < 1e-6] = float("inf")
        return found.topk(self.k, largest=False).values.mean(1)


class SmallCNN(Detector):
    """Four convolutions, learned with blur and JPEG at random, so that they see more than the finest grain."""

    def __init__(self, steps: int = 400) -> None:
        self.steps = steps
        self.network: nn.Module = nn.Identity()

    def learn(self, real: Tensor, fake: Tensor, rng: Rng) -> Detector:
        x, y = torch.cat([real, fake]), torch.cat([torch.zeros(len(real)), torch.ones(len(fake))])
        with rng.fork("cnn").seeded():
            self.network = _convolutions(x.shape[1])
        optimiser = torch.optim.AdamW(self.network.parameters(), 2e-3, weight_decay=1e-2)
        pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, self.steps)
        for step in range(self.steps):
            rows = torch.randint(len(x), (BATCH,), generator=rng.fork("rows").block(step))
            loss = F.binary_cross_entropy_with_logits(self.network(_altered(x[rows], rng, step))[:, 0], y[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            pace.step()
        self.network.eval().requires_grad_(False)
        return self

    def __call__(self, x: Tensor) -> Array:
        with torch.inference_mode():
            told = torch.cat([self.network(some)[:, 0].sigmoid() for some in parts(x)])
        return np.asarray(told.double().numpy())


def _convolutions(channels: int) -> nn.Module:
    """About 25,000 weights: the first layer sees residues, for it is not pooled."""
    layers: list[nn.Module] = []
    for before, after, stride in ((channels, 16, 1), (16, 24, 2), (24, 32, 2), (32, 48, 2)):
        layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.GroupNorm(4, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 1))


def _altered(x: Tensor, rng: Rng, step: int) -> Tensor:
    """A quarter of them blurred, another quarter as JPEG (Wang et al. 2020): which, and how much, follows the step."""
    part, x = len(x) // 4, x.clone()
    drawn = torch.rand(3, generator=rng.fork("altered").block(step))
    x[:part] = blurred(x[:part], 0.2 + 1.3 * float(drawn[0]))
    if x.shape[1] in (1, 3):
        x[part : 2 * part] = jpeg(x[part : 2 * part], 40 + int(55 * float(drawn[1])))
    return x


class OwnCritic(Detector):
    """The critic that the generator was trained against, as it is."""

    def __init__(self, critic: Critic) -> None:
        self.critic = critic

    def learn(self, real: Tensor, fake: Tensor, rng: Rng) -> Detector:
        return self

    def __call__(self, x: Tensor) -> Array:
        device = next(self.critic.module.parameters(), torch.zeros(0)).device
        with torch.inference_mode():
            told = torch.cat([self.critic(some.to(device)).float().cpu() for some in x.split(BATCH)])
        if told.numel() != len(x):
            raise BadInput("the critic gives no score an image", expected=f"({len(x)}, 1)", got=str(tuple(told.shape)))
        return np.asarray((-told).sigmoid().flatten().double().numpy())


def panel(critic: Critic | None = None, classifier: Classifier | None = None, steps: int = 400) -> dict[str, Detector]:
    """Fresh detectors by name; the critic among them where there is one."""
    features = random_features if classifier is None else classifier.embedded
    made: dict[str, Detector] = {
        "radial spectrum": Linear(radial_spectrum),
        "cosine spectrum": Linear(cosine_spectrum, c=0.01),
        "co-occurrences": Linear(co_occurrences, c=0.1),
        "fingerprint": Fingerprint(),
        "small CNN": SmallCNN(steps),
        "neighbours": Neighbours(features),
    }
    return made if critic is None else {**made, "own critic": OwnCritic(critic)}
