"""Two processes that share every batch take the steps that one would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from genvet.cli.train import share
from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.core.technique import TrainedGenerator
from genvet.training.checkpoints import Folder, kept_by
from genvet.training.stylegan2 import StyleGAN2
from genvet.training.styles import Given
from genvet.training.team import Team, joined, team

pytest.importorskip("lightning_fabric", reason="the extra `gpus` is not installed")


@pytest.mark.filterwarnings("ignore")  # Fabric's own, of its environment
def test_two_processes_take_the_step_of_one(tmp_path: Path) -> None:
    given = Given(Images(torch.rand(40, 1, 8, 8, generator=Rng(0).block()) * 2 - 1, ("",) * 40))
    # Nothing that a process draws for itself, and nothing that samples of one batch share.
    plain: dict[str, Any] = {"augment": "none", "mixing": 0.0, "group": 0, "r1_every": 1, "steps": 1}
    recipe = StyleGAN2(**plain, batch=8, size=8, latent=4, channel_base=32, channel_max=8)
    keeper = Folder(tmp_path, 1)
    share(recipe, given, 1, keeper, 2, "cpu")
    state = keeper.restore()
    assert state is not None and state.step == 1
    with kept_by(keeper):
        both = recipe(given, Rng(1))
    alone, half = recipe(given, Rng(1)), recipe.model_copy(update={"batch": 4})(given, Rng(1))
    assert all(torch.allclose(alone.losses[name], both.losses[name], atol=1e-5) for name in ("critic", "generator"))
    assert moved(alone, both) < 0.01 < 0.05 < moved(alone, half)  # Adam's first step is a sign, which rounding may turn
    with pytest.raises(BadInput, match="cannot be shared out"):
        share(recipe, given, 1, keeper, 3, "cpu")


def moved(one: TrainedGenerator, other: TrainedGenerator) -> float:
    """The share of the critic's weights that are not the same."""
    assert one.critic is not None and other.critic is not None
    pairs = zip(one.critic.parameters(), other.critic.parameters(), strict=True)
    return float(torch.cat([(a - b).abs().flatten() > 1e-4 for a, b in pairs]).double().mean())


def test_alone_everything_is_ones_own() -> None:
    rows = torch.arange(6)
    assert team() == Team() and torch.equal(team().share(rows), rows) and torch.equal(team().mean(rows), rows)
    with joined(Team(1, 3)):
        assert team().share(rows).tolist() == [1, 4]
