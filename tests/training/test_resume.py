"""An interrupted run goes on to the very same result; a diverging one stops and keeps what was good."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from genvet.core.data import Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.rng import Rng
from genvet.core.technique import TrainedGenerator
from genvet.training.adversarial import Adversarial, Duel, Given
from genvet.training.checkpoints import STATE, Folder, State, kept_by

KNOBS = {"steps": 7, "batch": 8, "capacity": 2, "latent": 4, "rate": 1e-3}


class Interrupted(Folder):
    """Asks the run to stop once it has kept a state."""

    def keep(self, state: State) -> None:
        super().keep(state)
        self.stop = True


def data(seed: int = 0) -> Images:
    return Images(torch.rand(40, 1, 8, 8, generator=Rng(seed, "x").block()) * 2 - 1, ("",) * 40)


def train(
    keeper: Folder | None = None, seed: int = 3, images: Images | None = None, **knobs: float
) -> TrainedGenerator:
    recipe = Adversarial.model_validate({**KNOBS, **knobs})
    if keeper is None:
        return recipe(Given(images or data()), Rng(seed))
    with kept_by(keeper):
        return recipe(Given(images or data()), Rng(seed))


def same(a: TrainedGenerator, b: TrainedGenerator) -> None:
    for left, right in ((a.generator.module, b.generator.module), (a.critic, b.critic)):
        assert left is not None and right is not None
        states = left.state_dict(), right.state_dict()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert all(torch.equal(a.losses[name], b.losses[name]) for name in ("generator", "critic"))
    assert a.generator.metadata == b.generator.metadata


def test_interrupted_and_resumed_is_bit_for_bit_the_uninterrupted_run(tmp_path: Path) -> None:
    whole = train()
    with pytest.raises(KeyboardInterrupt):
        train(Interrupted(tmp_path, every=3))
    with pytest.raises(KeyboardInterrupt):
        train(Interrupted(tmp_path, every=1))  # further on, and not at the end
    keeper = Folder(tmp_path, every=100)
    same(whole, train(keeper))
    assert keeper.last == 7 and [p.name for p in tmp_path.iterdir()] == [STATE]
    same(whole, train(Folder(tmp_path)))  # nothing is left to do


def test_without_the_moments_of_the_optimiser_it_would_differ(tmp_path: Path) -> None:
    """What the comparison above is able to see."""
    whole = train()
    with pytest.raises(KeyboardInterrupt):
        train(Interrupted(tmp_path, every=3))
    keeper = Folder(tmp_path)
    state = keeper.restore()
    assert state is not None
    moments = {k: torch.zeros_like(t) if k.endswith("exp_avg") else t for k, t in state.tensors.items()}
    keeper.keep(State(state.step, moments, state.about))
    with pytest.raises(AssertionError):
        same(whole, train(keeper))


def test_more_steps_and_another_rate_go_on_and_are_told(tmp_path: Path) -> None:
    train(Folder(tmp_path), steps=4)
    same(train(), train(Folder(tmp_path)))
    further = train(Folder(tmp_path), steps=9, rate=1e-4)
    told = json.loads(further.generator.metadata["genvet.training"])
    assert told["earlier"] == [{"until": 7, "rate": 1e-3}] and told["rate"] == 1e-4 and told["steps"] == 9
    with pytest.raises(BadInput, match="at least 9 steps"):
        train(Folder(tmp_path))


def test_the_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    train(Folder(tmp_path))
    with pytest.raises(BadInput, match="by its batch; expected 8; got 16"):
        train(Folder(tmp_path), batch=16)
    with pytest.raises(BadInput, match="by its seed"):
        train(Folder(tmp_path), seed=4)
    with pytest.raises(BadInput, match="by its data"):
        train(Folder(tmp_path), images=data(1))


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    train(Folder(tmp_path))
    path = tmp_path / STATE
    state = load_file(path)
    about = json.dumps(Folder(tmp_path).restore().about | {"step": 7})  # type: ignore[union-attr]
    save_file({k: t for k, t in state.items() if "conv3" not in k}, path, {"genvet.resume": about})
    with pytest.raises(BadInput, match="does not fit"):
        train(Folder(tmp_path))
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(BadInput, match="no checkpoint of GenVet"):
        train(Folder(tmp_path))


def test_a_diverging_run_stops_and_keeps_the_last_good_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = Images(data().x * torch.inf, ("",) * 40)
    with pytest.raises(Unsupported, match=r"the loss of the \w+ is (nan|inf)") as refused:
        train(images=endless)
    assert "lower rate" in refused.value.hint

    def poisoned(duel: Duel, number: int) -> dict[str, torch.Tensor]:
        losses = step(duel, number)
        if number == 5:
            duel.D[-1].weight.data.fill_(torch.nan)
        return losses

    step = Duel.step
    monkeypatch.setattr(Duel, "step", poisoned)
    keeper = Folder(tmp_path, every=2)
    with pytest.raises(Unsupported, match=r"critic/score\.weight") as refused:
        train(keeper)
    state = Folder(tmp_path).restore()
    assert "step 4 is kept" in refused.value.hint and state is not None and state.step == keeper.last == 4
    assert all(torch.isfinite(t).all() for t in state.tensors.values() if t.is_floating_point())
    monkeypatch.undo()
    same(train(), train(Folder(tmp_path)))
