"""The loop that every recipe shares: resumable to the same bit, and stopped where it diverges.

Everything that a step draws at random follows from the seed and the number of the step, so that a checkpoint needs no
state of random number generators.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genvet.core.errors import BadInput, Unsupported
from genvet.core.printable import printable
from genvet.core.progress import track
from genvet.core.rng import BLOCK, Rng
from genvet.core.technique import Recipe
from genvet.files.convert import tensor_hash
from genvet.training import starting
from genvet.training.checkpoints import Keeper, State, keeper
from genvet.training.team import team

RECENT = 100
"""Steps whose mean loss the record tells."""
BUDGET = "epsilon"
"""What a private training has spent, beside its losses: of it, the last value is told."""


class Learner:
    """Networks and optimisers, moved on step by step."""

    networks: Mapping[str, nn.Module]
    """All that has weights, the averaged ones too."""
    optimisers: Mapping[str, torch.optim.Optimizer]

    @abstractmethod
    def step(self, number: int) -> dict[str, Tensor]:
        """One update of every network; gives the losses by name."""

    @abstractmethod
    def show(self) -> Tensor | None:
        """Some samples, for a picture while it runs."""

    def judged(self) -> dict[str, float]:
        """How good they are at a checkpoint, by the names of distances in named spaces."""
        return {}


def run(
    learner: Learner, recipe: Recipe, steps: int, x: Tensor, rng: Rng, labels: Tensor | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Take all steps, or those that a checkpoint leaves; gives the losses of all by name, and the run's record.

    Raises Unsupported where a loss or a weight is no finite number: the last good checkpoint stays.
    """
    kept, told = keeper(), _told(recipe, {"x": x} if labels is None else {"labels": labels, "x": x}, rng)
    begun = _restored(learner, recipe, steps, told, kept) if kept else State(0, {}, {})
    judged = list(begun.about.get("judged", []))
    before = {k.removeprefix("loss/"): t.tolist() for k, t in begun.tensors.items() if k.startswith("loss/")}
    losses: dict[str, list[float]] = {} if begun.step < steps else before
    with rng.fork("weights").seeded(x.device):
        for number in track(range(begun.step, steps), steps, "training", start=begun.step):
            _reseed(rng.fork("step"), number, x.device)
            for name, loss in learner.step(number).items():
                losses.setdefault(name, before.get(name, [])).append(team().mean(loss.detach()).item())
                if not math.isfinite(losses[name][-1]):
                    raise _diverged(f"the loss of the {name} is {losses[name][-1]}", number, kept)
            if kept:
                _keep(kept, learner, number + 1, steps, losses, begun, judged)
    taken = {name: torch.tensor(values, dtype=torch.float64) for name, values in losses.items()}
    earlier = {"earlier": begun.about["earlier"]} if begun.about.get("earlier") else {}
    recent = {name: round(loss, 6) for name, loss in sorted(_recent(losses).items())}
    return taken, {**told, **earlier, "loss": recent, **({"judged": judged} if judged else {})}


def order(n: int, batch: int, number: int, rng: Rng) -> Tensor:
    """Which of `n` samples the batch of this step takes, (batch,): with replacement, the same whoever asks, whenever.

    Of several processes, each is told its part.

    >>> whole = order(50, 2000, 0, Rng(1))
    >>> torch.equal(order(50, 500, 3, Rng(1)), whole[1500:])
    True
    """
    start, stop = number * batch, (number + 1) * batch
    first, last = start // BLOCK, -(-stop // BLOCK)
    drawn = [torch.randint(n, (BLOCK,), generator=rng.block(block)) for block in range(first, last)]
    return team().share(torch.cat(drawn)[start - first * BLOCK : stop - first * BLOCK])


def update(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down this loss."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    team().average(optimiser)
    optimiser.step()


@torch.no_grad()
def average(kept: nn.Module, new: nn.Module, decay: float) -> None:
    """Move the averaged parameters (EMA) on."""
    for mean, now in zip(kept.parameters(), new.parameters(), strict=True):
        mean.lerp_(now.detach(), 1 - decay)


def _reseed(rng: Rng, number: int, device: torch.device) -> None:
    if team().rank:
        rng = rng.fork(str(team().rank))
    seed = rng.block(number).initial_seed()
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _keep(
    kept: Keeper,
    learner: Learner,
    step: int,
    steps: int,
    losses: Mapping[str, list[float]],
    begun: State,
    judged: list[dict[str, float]],
) -> None:
    """A checkpoint and a picture, where it is time for them; leaves where it is asked to stop."""
    asked = team().mean(torch.tensor(float(kept.stop)))  # all leave after the same step
    stop = bool(asked) and step < steps
    if not (stop or step == steps or step % kept.every == 0):
        return
    regular = step == steps or step % kept.every == 0  # a stop in between leaves the record as it would have been
    distances = learner.judged() if regular else {}
    if distances:
        judged.append({"step": step, **{name: float(f"{value:.6g}") for name, value in distances.items()}})
    state = State(step, {**_tensors(learner), **_listed(losses)}, {**begun.about, "judged": judged})
    bad = [name for name, t in state.tensors.items() if t.is_floating_point() and not torch.isfinite(t).all()]
    if bad:
        raise _diverged(f"{bad[0]} has a weight that is no number", step, kept)
    kept.keep(state)
    kept.show(step, _recent(losses) | distances, learner.show())
    if stop:
        raise KeyboardInterrupt


def _recent(losses: Mapping[str, list[float]]) -> dict[str, float]:
    shown = {name: values[-1:] if name == BUDGET else values[-RECENT:] for name, values in losses.items()}
    return {name: sum(values) / len(values) for name, values in shown.items()}


def _told(recipe: Recipe, data: Mapping[str, Tensor], rng: Rng) -> dict[str, Any]:
    """What is known of a run before its first step: it tells one run from another."""
    made = {"recipe": recipe.name(), "version": recipe.version, **recipe.model_dump(mode="json")}
    return {**made, "seed": rng.seed, "data": f"sha256:{tensor_hash(data)}", **starting.told()}


def _diverged(what: str, step: int, kept: Keeper | None) -> Unsupported:
    last = f"the checkpoint of step {kept.last} is kept; go on from it with" if kept and kept.last else "try"
    return Unsupported(f"the training diverged at step {step}: {what}", hint=f"{last} a lower rate")


# States


def _tensors(learner: Learner) -> dict[str, Tensor]:
    """All weights and all moments of the optimisers, by name."""
    found = {f"{name}/{key}": t for name, net in learner.networks.items() for key, t in net.state_dict().items()}
    for name, optimiser in learner.optimisers.items():
        for index, moments in optimiser.state_dict()["state"].items():
            found |= {f"optimiser/{name}/{index}/{key}": torch.as_tensor(value) for key, value in moments.items()}
    return found


def _listed(losses: Mapping[str, list[float]]) -> dict[str, Tensor]:
    return {f"loss/{name}": torch.tensor(values, dtype=torch.float64) for name, values in losses.items()}


def _restored(learner: Learner, recipe: Recipe, steps: int, told: Mapping[str, Any], kept: Keeper) -> State:
    """The state to begin with: that of the last checkpoint, where it is one of this very run."""
    mine = {key: value for key, value in told.items() if key not in recipe.may_change}
    free = {key: told[key] for key in sorted(recipe.may_change - {"steps"}) if key in told}
    state = kept.restore()
    if state is None:
        return State(0, {}, {**mine, "settings": free, "earlier": []})
    earlier, before = state.about.get("earlier", []), state.about.get("settings", free)
    theirs = {key: value for key, value in state.about.items() if key not in ("earlier", "settings", "judged")}
    for key in sorted({*mine, *theirs}):
        if mine.get(key) != theirs.get(key):
            was, now = printable(theirs.get(key), 100), printable(mine.get(key), 100)
            hint = "name another folder for this one, or give what that run was given"
            raise BadInput(f"the checkpoint is of another run, by its {key}", expected=was, got=now, hint=hint)
    if state.step > steps:
        raise BadInput("the checkpoint is further on", expected=f"at least {state.step} steps", got=str(steps))
    _load(learner, state.tensors)
    earlier = [*earlier, {"until": state.step, **before}] if before != free else earlier
    kept_so_far = {"settings": free, "earlier": earlier, "judged": state.about.get("judged", [])}
    return State(state.step, state.tensors, {**mine, **kept_so_far})


def _load(learner: Learner, tensors: Mapping[str, Tensor]) -> None:
    try:
        for name, net in learner.networks.items():
            net.load_state_dict(_below(tensors, f"{name}/"))
        for name, optimiser in learner.optimisers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in _below(tensors, f"optimiser/{name}/").items():
                index, _, moment = key.partition("/")
                state.setdefault(int(index), {})[moment] = value
            # The groups are those of the settings at hand: a lower rate counts from here on.
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    except (RuntimeError, ValueError) as error:
        raise BadInput(f"the checkpoint does not fit: {printable(error, 200)}") from None


def _below(tensors: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    return {key.removeprefix(start): t for key, t in tensors.items() if key.startswith(start)}
