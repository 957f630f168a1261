"""Refinement: of what a target answers, what its own critic takes for real, calibrated on some real data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.extraction.asking import Asking
from genvet.attacks.extraction.measuring import Beside
from genvet.attacks.extraction.stolen import Loot, Stealing
from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.progress import track
from genvet.core.report import Measure
from genvet.core.rng import BLOCK, Rng
from genvet.maths.density_ratio import METHODS, Calibration, Method, calibrated
from genvet.maths.metropolis import Rejection, Walk, walk

DULL = 0.99
"""Share of draws that are taken beyond which a critic is said to tell nothing."""
FEWEST = 20
"""Real samples: half of them calibrate, half test the calibration and begin the chains."""
PART = 50_000
"""Numbers that the critic looks at at once: of more images, what lies between its layers leaves a processor's cache."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Insider(Beside):
    """The same, for an attacker who has the target's critic and some real data."""

    critic: Critic
    """That the target was trained against."""
    real: Images
    """Some of what the target learned from, or the like: it calibrates the critic, and chains begin there."""


class Refining(Stealing):
    """The knobs of thefts that refine what was answered before they learn from it."""

    refined: Annotated[int, Field(ge=2, le=10_000_000)] = 10_000
    """Samples to learn from, after refinement."""
    sampler: Literal["metropolis", "rejection"] = "metropolis"
    """Metropolis-Hastings chains, as the paper has it; or discriminator rejection sampling (Azadi et al. 2019)."""
    shifted: bool = True
    """rejection: with the shift that its authors set by a pilot, or without, which is exact and keeps fewer where the
    ratio has no bound."""
    chain: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Draws for each sample that a chain gives, K; the sampler's authors take 640, the paper does not say."""
    calibration: Method = "isotonic"
    """How scores become density ratios: isotonic, logistic, or identity, which takes them for log-odds."""

    def calibrated(self, given: Insider, asking: Asking, rng: Rng) -> Calibrated:
        """The critic, calibrated on half of the real samples and as many generated ones; the other half tests it."""
        real = given.real.fitting(tuple(asking.target.shape))
        if tuple(given.critic.shape) != tuple(asking.target.shape):
            expected, got = str(tuple(asking.target.shape)), str(tuple(given.critic.shape))
            raise BadInput("the critic looks at other images than the target makes", expected=expected, got=got)
        if len(real) < FEWEST:
            raise BadInput("too few real samples to calibrate on", expected=f"{FEWEST} or more", got=str(len(real)))
        fake = asking.take(len(real))
        if fake is None:
            raise Unsupported("the budget ended before the critic was calibrated", hint=f"{len(real)} queries go there")
        shuffled = torch.randperm(len(real), generator=rng.fork("halves").block())
        first, second = shuffled.chunk(2)
        of_real, of_fake = scores(given.critic, real), scores(given.critic, fake)
        if not bool(torch.cat([of_real, of_fake]).isfinite().all()):
            raise BadInput("the critic's scores are no numbers", expected="finite scores", hint="give another critic")
        fits = {method: calibrated(method, of_real[first], of_fake[first]) for method in METHODS}
        zs = {method: fit.z(of_real[second], of_fake[second]) for method, fit in fits.items()}
        starts = real[second].float().cpu()
        return Calibrated(given.critic, fits[self.calibration], zs, starts, fake, len(second))

    def refine(self, how: Calibrated, asking: Asking, rng: Rng) -> Loot:
        """What is left of the answers; raises Unsupported where that is nothing."""
        chains = self.sampler == "metropolis"
        found = self._chains(how, asking, rng) if chains else self._kept(how, asking, rng)
        if len(found.x) < 2:
            rates = {m.name: m.value for m in found.told}
            what = f"of {found.asked} queries, {len(found.x)} samples are left (acceptance {rates['acceptance']:.2g})"
            hint = (
                "the critic tells all apart, or was calibrated on too few samples: --calibration logistic is smoother"
            )
            raise Unsupported(what, hint=hint)
        return found

    def _chains(self, how: Calibrated, asking: Asking, rng: Rng) -> Loot:
        """A chain for each sample, BLOCK of them side by side, each begun at a real sample that it has to leave."""
        walks: list[Walk] = []
        starts, ratios = how.starts, how.ratio(how.starts)
        for block in track(range(-(-self.refined // BLOCK)), -(-self.refined // BLOCK), "chains"):
            first = block * BLOCK
            at = torch.arange(first, min(first + BLOCK, self.refined)) % len(starts)
            proposals = self._proposals(how, asking, len(at))
            walks.append(walk(starts[at], ratios[at], proposals, rng.fork(f"chains {block}")))
            if asking.spent:
                break
        x = torch.cat([w.kept for w in walks])
        chains, steps = sum(len(w.x) for w in walks), sum(len(w.x) * w.steps for w in walks)
        rate = sum(int(w.moves.sum()) for w in walks) / steps if steps else 0.0
        taken = Measure(name="acceptance", value=rate, n=steps, note="share of the proposals that chains took")
        note = "chains that never left a real sample: dropped"
        stuck = Measure(name="stuck", value=chains - len(x), n=chains, note=note)
        ended = f"The budget ended the chains after {walks[-1].steps} of {self.chain} draws." if asking.spent else ""
        return self._loot(x, how, asking, taken, ended, stuck)

    def _proposals(self, how: Calibrated, asking: Asking, chains: int) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(self.chain):
            x = asking.take(chains)
            if x is None:
                return
            yield x, how.ratio(x)

    def _kept(self, how: Calibrated, asking: Asking, rng: Rng) -> Loot:
        """Samples one after the other, each kept or not; the pilot is what the critic was calibrated with."""
        rule, kept, seen = Rejection.of(how.ratio(how.pilot), self.shifted), [how.pilot[:0]], 0
        most = self.refined * self.chain
        while sum(map(len, kept)) < self.refined and seen < most:
            x = asking.take(BLOCK)
            if x is None:
                break
            kept.append(x[rule.taken(how.ratio(x), rng.fork(f"rejection {seen}"))])
            seen += len(x)
        x = torch.cat(kept)
        note = "share of the samples that rejection kept"
        taken = Measure(name="acceptance", value=len(x) / seen if seen else 0.0, n=seen, note=note)
        ended = f"The budget ended it after {seen} samples." if asking.spent else ""
        return self._loot(x[: self.refined], how, asking, taken, ended)

    def _loot(
        self, x: Tensor, how: Calibrated, asking: Asking, taken: Measure, ended: str, stuck: Measure | None = None
    ) -> Loot:
        chosen = how.z[self.calibration]
        notes = [
            f"Refined from {asking.asked} raw queries to {len(x)} samples"
            + (f" ({stuck.value:.0f} chains never left a real one)." if stuck and stuck.value else "."),
            *([ended] if ended else []),
        ]
        if (taken.value or 0) > DULL:
            notes.append("Next to every draw was taken: the critic tells nothing apart.")
        if chosen is None or abs(chosen) > 3:
            z = "cannot be tested" if chosen is None else f"fails its test (Z = {chosen:.1f})"
            notes.append(f"The {self.calibration} calibration {z}.")
        zs = tuple(
            Measure(
                name=f"calibration.{method}.z",
                value=z,
                n=2 * how.tested,
                note="standard normal where the critic is calibrated" if z is not None else "it is certain of all",
            )
            for method, z in how.z.items()
        )
        raw = Measure(name="queries.raw", value=asking.asked, note="before refinement; those to calibrate among them")
        told = (raw, taken, *([stuck] if stuck else ()), *zs)
        return Loot(x=x, asked=asking.asked, notes=tuple(notes), told=told, refined=x)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A critic whose scores are density ratios."""

    critic: Critic
    fit: Calibration
    z: dict[Method, float | None]
    """Of each method, on real and generated samples that it was not fitted to."""
    starts: Tensor
    """The real samples that it was not fitted to, where chains begin."""
    pilot: Tensor
    """The generated samples of the calibration."""
    tested: int

    def ratio(self, x: Tensor) -> Tensor:
        """log p_real / p_generated of samples (n, *shape): (n,), on the CPU."""
        return self.fit(scores(self.critic, x))


@torch.no_grad()
def scores(critic: Critic, x: Tensor) -> Tensor:
    """What the critic says of samples (n, *shape): (n,), on the CPU, its weights and its mode left as they are."""
    device = next((p.device for p in critic.module.parameters()), torch.device("cpu"))
    before, many = critic.module.training, max(16, PART // max(1, x[0].numel() if len(x) else 1))
    critic.module.eval()
    try:
        return torch.cat([critic(part.to(device)).flatten().float().cpu() for part in x.split(many)])
    finally:
        critic.module.train(before)
