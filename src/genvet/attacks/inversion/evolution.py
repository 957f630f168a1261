"""CMA-ES in the principal directions of P: the same queries as the genetic search, used by a better one."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.inversion.course import Course
from genvet.attacks.inversion.inverted import LAST, Against, Found, Inverted, Looking, told
from genvet.core.errors import Unsupported
from genvet.core.generator import StyleGenerator
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.core.technique import Probe
from genvet.nets.first_guesses import first_guesses, shown
from genvet.nets.latent_spaces import LatentSpace
from genvet.nets.p_space import PSpace

AGAIN = 8
"""Best samples of each label that are looked at again, where every look counts for little."""


class Evolution(Looking, Probe):
    """Inverts a classifier by queries alone: CMA-ES in the strongest directions of P.

    From the best sample for each label, in whitened P, where ordinary latents are standard normal. All labels ask
    side by side.
    """

    source: ClassVar[str] = "Hansen: The CMA evolution strategy, 2016; in the directions of P_N (Zhu et al. 2020)"
    smoke: ClassVar[dict[str, Any]] = {
        **{"samples": 32, "population": 4, "generations": 2, "directions": 4},
        **{"moments": 512, "trust_p": True},
    }

    population: Annotated[int, Field(ge=2, le=100_000)] = 50
    """Images of each generation, for each label."""
    generations: Annotated[int, Field(ge=0, le=100_000)] = 200
    """The most for each label."""
    enough: Annotated[float, Field(gt=0, le=1)] = 0.95
    """A label is done once the target is so sure of its best image."""
    directions: Annotated[int, Field(ge=2, le=4096)] = 32
    """Of P, the strongest first; the others stay where the best sample has them."""
    width: Annotated[float, Field(gt=0)] = 0.3
    """Of the first generation, in standard deviations of P."""
    c: Annotated[float, Field(gt=0)] = 3.0
    """No direction goes beyond so many of them."""
    moments: Annotated[int, Field(ge=2, le=10_000_000)] = 20_000
    """Latents over which P's directions are taken."""
    trust_p: bool = False
    """Search in P though it is far from normal."""

    def __call__(self, target: Scores, given: Against, rng: Rng) -> Inverted:
        if not isinstance(given.prior, StyleGenerator):
            raise Unsupported("this search goes through P, which style generators have", hint="take one as the prior")
        prior, labels, before = given.prior, self.chosen(target.classes), target.used
        p = PSpace.of(prior, self.moments, rng.fork("moments"))
        p, space = (p if self.trust_p else p.checked()), LatentSpace(generator=prior, name="w")

        def ask(x: Tensor) -> Tensor:
            return target(shown(x, target.shape))

        view = self.looking(target, rng)
        count = 1 if view is target else min(AGAIN, self.samples)
        guesses = first_guesses(prior, ask, labels, count, self.samples, rng.fork("samples"))
        first = guesses if view is target else self.looked_at(prior, view, guesses, labels)
        with torch.no_grad():
            begin = p.whitened(prior.mapping(first.z[:, 0].to(prior.device)).cpu())
        earlier = target.used - before - view.used
        best, note, noted = self._evolved(view, space, p, begin, first.sure[:, 0], labels, rng)
        u = p.coloured(best)[:, None]
        found = Found(
            labels=labels,
            x=space.rendered(u),
            u=u,
            asked=target.used - before,
            start=LatentSpace(generator=prior).rendered(guesses.z[:, :1]),
            course=Course.of_rounds([(earlier + used, top) for used, top in noted]),
            notes=(note,) * bool(note),
        )
        return told("cma-es", target, given, found)

    def _evolved(
        self, target: Scores, space: LatentSpace, p: PSpace, begin: Tensor, sure: Tensor, labels: Tensor, rng: Rng
    ) -> tuple[Tensor, str, list[tuple[int, Tensor]]]:
        """The best v of each label, a word on what stopped the search before its end, and how its scores went."""
        searches = [self._search(begin[i], rng.fork(f"label {int(k)}")) for i, k in enumerate(labels)]
        best, top, size = begin.clone(), sure.clone(), min(self.directions, begin.shape[1])
        noted = [(target.used, top.clone())]
        for _ in track(range(self.generations), self.generations, "generations"):
            going = [i for i in range(len(labels)) if top[i] < self.enough and not searches[i].stop()]
            if not going:
                break
            if target.left is not None and target.left < len(going) * self.population + LAST * len(labels):
                return best, "The budget of queries ended the search.", noted
            asked = {i: searches[i].ask() for i in going}
            v = torch.cat([_moved(begin[i], torch.tensor(np.stack(asked[i])), size) for i in going])
            scores = [
                target(shown(space.rendered(p.coloured(some)[:, None]), target.shape)) for some in v.split(self.batch)
            ]
            rows = torch.cat(scores).view(len(going), self.population, -1)
            for place, i in enumerate(going):
                value = rows[place, :, labels[i]].double()
                searches[i].tell(asked[i], (-value.clamp_min(1e-30).log()).tolist())
                if value.max() > top[i]:
                    top[i], best[i] = value.max(), v.view(len(going), self.population, -1)[place, value.argmax()]
            noted.append((target.used, top.clone()))
        return best, "", noted

    def _search(self, begin: Tensor, rng: Rng) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it looks for a plotting library
                from cma import CMAEvolutionStrategy  # type: ignore[import-untyped]
        except ImportError:
            raise Unsupported("this search needs the extra `search`", hint="pip install 'genvet[search]'") from None
        seed = rng.block().initial_seed() % (2**31 - 2) + 1
        first = begin[: min(self.directions, len(begin))].clamp(-self.c, self.c).double().numpy()
        options = {"seed": seed, "popsize": self.population, "verbose": -9, "bounds": [-self.c, self.c]}
        return CMAEvolutionStrategy(first, self.width, options)


def _moved(begin: Tensor, first: Tensor, size: int) -> Tensor:
    """v (n, w_dim) whose strongest directions are these (n, size), and whose others are those of the beginning."""
    return torch.cat([first.float(), begin[size:].expand(len(first), -1)], 1)
