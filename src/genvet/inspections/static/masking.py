"""Masked gradients: layers that draw at random, go in steps, or undo one another keep searches from their goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from genvet.core.generator import Generator
from genvet.core.modelfile import Evidence
from genvet.core.printable import printable
from genvet.core.report import Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Probe, Result
from genvet.nets.fast import affordable, price
from genvet.nets.passage import Met, passage, repeats

RULES = {"random": "graph.stochastic", "step": "graph.quantising", "inverse": "graph.log-exp", "cut": "graph.cut"}
SAID = {
    "random": "draws at random on the way to x",
    "step": "goes in steps: its gradient is 0 almost everywhere",
    "inverse": "undoes the function before it, and loses gradients where that one saturates",
    "cut": "cuts the gradient on the way to x",
}
SAME = 1e-4
"""Answers to the same latents that differ by less are the same: sums may be added up in another order."""


@dataclass(frozen=True)
class Masks(Result):
    """The operations between z and x that hide gradients."""

    met: tuple[Met, ...]
    apart: float
    """How far two answers to the same latents are apart."""

    def summary(self) -> str:
        if not self.met and self.apart <= SAME:
            return "Between z and x nothing draws at random, goes in steps, undoes another function or cuts gradients."
        names = ", ".join(dict.fromkeys(f"{m.operation} in {m.place or 'the network'}" for m in self.met))
        told = f"Between z and x gradients are hidden by {printable(names, 300)}. " if self.met else ""
        return f"{told}Two answers to the same latents are up to {self.apart:.2g} apart."

    def measures(self) -> tuple[Measure, ...]:
        counts = {kind: sum(m.kind == kind for m in self.met) for kind in RULES}
        found = [Measure(name=k, value=v, note=f"operations: {SAID[k]}") for k, v in counts.items()]
        return (*found, Measure(name="apart", value=self.apart, note="two answers to the same latents, at most"))

    def tables(self) -> tuple[Table, ...]:
        rows = tuple((printable(m.place, 120), printable(m.operation, 60), SAID[m.kind]) for m in self.met)
        return (Table(title="What hides gradients", columns=("layer", "operation", "how"), rows=rows),) if rows else ()

    def evidence(self) -> tuple[Evidence, ...]:
        found = [
            Evidence(rule=RULES[m.kind], message=printable(f"{m.operation} {SAID[m.kind]}", 200), place=_place(m))
            for m in self.met
        ]
        if self.apart > SAME and not any(m.kind == "random" for m in self.met):
            message = f"two answers to the same latents are {self.apart:.2g} apart"
            found.append(Evidence(rule="graph.stochastic", message=message))
        return tuple(found)


class InspectMasking(Probe):
    """Looks for layers that hide gradients: stochastic ones, steps, pairs such as log of exp, and cuts.

    It watches one forward pass, so that a branch that this pass does not take stays unseen. Gradients that vanish in
    ordinary layers are measured elsewhere.
    """

    source: ClassVar[str] = (
        "Devil in the GAN, section III-A: gradient obfuscation through stochastic, quantization or logexp layers; "
        "Athalye, Carlini, Wagner, Obfuscated Gradients Give a False Sense of Security, ICML 2018"
    )

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Masks:
        affordable(price(target), 5e12, 6)
        z = target.latent.sample(0, 2, rng.fork("latents")).to(target.device)
        labels = target.latent.labels(0, 2)
        labels = None if labels is None else labels.to(target.device)
        return Masks(tuple(passage(target, z, labels)), repeats(target, z, labels))


def _place(met: Met) -> str:
    return printable(met.place, 200)
