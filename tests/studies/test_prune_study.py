"""The study of pruning: thresholds are the normal distribution's, useless weights go first, controls stand beside."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.engine import measured
from genvet.nets import stylegan2
from genvet.nets.weights import noised
from genvet.studies.measuring import Yardstick
from genvet.studies.prune import Given, Prune, Pruned

QUICK = {"latents": 16, "samples": 40, "repeats": 1, "share": 0.5}


def style(seed: int = 1) -> StyleGenerator:
    generator = stylegan2.build(16, 1, 16, 16, channel_base=256, channel_max=16, mapping_layers=2, rng=Rng(seed))
    generator.module.eval().requires_grad_(False)
    return generator


def critic() -> Critic:
    """Calls bright images real."""

    class Bright(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).mean(1, keepdim=True)

    return Critic(Bright(), (1, 16, 16))


def pruned(target: Generator, given: Given, **config: object) -> tuple[Pruned, dict[str, float | None]]:
    result, finding = measured(Prune(**{**QUICK, **config}), target, given)
    assert isinstance(result, Pruned)
    return result, {m.name: m.value for m in finding.measures}


def test_an_untrained_network_is_pruned_as_the_paper_pruned_its_trained_one() -> None:
    """Two thirds of the weights at a threshold of 1: the headline, from a network that learned nothing."""
    result, measures = pruned(style(), Given(critic()), thresholds=(0.4, 1.0), sparsities=(0.5,), criteria=("random",))
    assert measures["below.1"] == pytest.approx(0.6827, abs=0.01) and measures["raw.sigma"] == pytest.approx(
        1, abs=0.03
    )
    paper, chance = result.by_threshold[2:]
    assert paper.by == "magnitude" and chance.by == "random" and paper.threshold == chance.threshold == 1.0
    assert paper.sparsity == pytest.approx(chance.sparsity, abs=1e-3)
    assert paper.kept == result.count - round(paper.sparsity * result.count)
    assert paper.look.probability is not None and 0 < paper.look.probability.value < 1
    tables = {t.title: t for t in result.tables()}
    assert "By threshold of the raw weight, as the paper" in tables and "What is gained" in tables
    assert {f.title for f in result.figures()} >= {"What a threshold takes"}


def redundant() -> Generator:
    """Half of its hidden weights do nothing, and are small."""
    net = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Unflatten(1, (1, 8, 8)))
    with torch.no_grad(), Rng(1).seeded():
        for layer in (net[0], net[2]):
            layer.weight.copy_(torch.randn_like(layer.weight) / layer.in_features**0.5)
            layer.weight[:, layer.in_features // 2 :] *= 0.001
    net.eval().requires_grad_(False)
    return Generator(module=net, latent=Latent(8), shape=(1, 8, 8), name="mlp")


def test_small_weights_go_first_and_random_masks_do_harm() -> None:
    result, measures = pruned(redundant(), Given(), sparsities=(0.2, 0.4, 0.6, 0.8))
    assert measures["bearable.magnitude"] > 0.55 > 0.25 > measures["bearable.random"]
    assert set(result.missing) == {"effective", "movement", "thresholds", "channels", "random channels"}
    assert not result.by_threshold and "below.1" not in measures
    moved = {c.by: c.look.drift.value for c in result.by_share if abs(c.sparsity - 0.4) < 0.01}
    assert moved["magnitude"] < 0.01 < 0.3 < moved["random"]


def test_movement_is_measured_where_the_beginning_is_known() -> None:
    start = style(3)
    trained = replace(start, module=noised(style(3).module, 0.2, Rng(5)))
    told = replace(trained, metadata={**trained.metadata, "genvet.training": json.dumps({"seed": 3})})
    wanted = {"criteria": ("movement", "random"), "sparsities": (0.5,), "thresholds": ()}
    by_hand, measures = pruned(trained, Given(began=start), **wanted)
    assert by_hand.criteria() == ["movement", "random"] and 0.9 < measures["start.correlation"] < 1
    nobody, unknown = pruned(told, Given(), **wanted)  # its record's seed is used otherwise: see nets.pruning.began
    assert "movement" in nobody.missing and unknown["start.correlation"] is None
    with pytest.raises(BadInput, match="did not begin with that network"):
        pruned(trained, Given(began=style(4)), **wanted)


def test_quality_stands_beside_its_floor_and_channels_make_a_smaller_network() -> None:
    generator = style()
    reference = Images(generator.sample(120, Rng(9)).clamp(-1, 1), ("",) * 120)
    wanted = {"criteria": ("magnitude", "channels"), "sparsities": (0.5, 0.9), "thresholds": ()}
    result, measures = pruned(generator, Given(reference=reference), **wanted)
    floor, dense = result.yard.floor["frechet"], result.dense.quality["frechet"]
    assert dense.low <= floor.high and floor.low <= dense.high, "real ones are its own images"
    worst = next(c for c in result.by_share if c.by == "magnitude" and c.sparsity > 0.8)
    assert worst.look.quality["frechet"].value > 2 * dense.value
    sizes = {name.partition(",")[0]: size.stored for name, size in result.sizes.items()}
    assert sizes["masked"] == sizes["whole"] > 1.5 * sizes["smaller"]
    smaller = next(c for c in result.by_share if c.by == "channels")
    assert abs(smaller.sparsity - 0.5) < 0.1 and measures["bearable.magnitude"] >= 0


def test_a_critic_that_does_not_fit_is_told() -> None:
    with pytest.raises(BadInput, match="looks at other images"):
        Yardstick(style(), Rng(1), 8, 40, Critic(nn.Flatten(), (1, 8, 8)))
    with pytest.raises(BadInput, match="no score an image"):
        pruned(style(), Given(Critic(nn.Flatten(), (1, 16, 16))), sparsities=(0.5,), criteria=("random",))
