"""Planted dimensions are named beside turned bases; in a turned basis nothing is claimed; path lengths are lengths."""

from __future__ import annotations

import pytest
import torch
from shapes import discs
from torch import nn

from genvet.core.classifier import Classifier
from genvet.core.errors import Unsupported
from genvet.core.rng import Rng
from genvet.engine import assess, measured
from genvet.maths.disentanglement import random_turn
from genvet.nets import stylegan2
from genvet.nets.path_length import STEP, path_lengths, without_extremes
from genvet.nets.style_space import space
from genvet.studies.disentangle import SCORES, Disentangle, Disentangled, Given


def told(generator: object, **knobs: object) -> Disentangled:
    result, _ = measured(Disentangle(**{"samples": 800, "turns": 19, "paths": 40, **knobs}), generator, Given())
    assert isinstance(result, Disentangled)
    return result


def test_planted_dimensions_are_named_and_no_turned_basis_has_their_like() -> None:
    found = told(discs(8))
    best = {named.factor: named for named in found.named}
    assert (best["centroid x"].dimension, best["centroid y"].dimension) == ("z[1]", "z[2]")
    assert best["area"].dimension == best["sharpness"].dimension == "z[3]"
    assert all(best[name].value.value > 0.85 and best[name].p == 0.05 for name in ("centroid x", "area"))
    assert all(found.p(score) == 0.05 for score in SCORES) and found.special >= 5 > 10 * found.by_chance
    assert found.separable["centroid x"] < 0.1 < 0.9 < found.separable["symmetry"], "symmetric, wherever it is"


def test_in_a_turned_basis_nothing_is_claimed() -> None:
    found = told(discs(8, random_turn(8, Rng(3).block())))
    assert all(found.p(score) > 0.1 for score in SCORES) and found.special <= 2
    assert found.explained == pytest.approx(told(discs(8), turns=1).explained, abs=0.05), "but no less is known"


def test_a_path_is_as_long_as_the_network_is_steep() -> None:
    here, n = space(discs(4), "z"), 60

    def flat(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).double()

    once = path_lengths(here, flat, n, Rng(1), 32)
    twice = path_lengths(here, lambda x: 2 * flat(x), n, Rng(1), 32)
    assert (
        torch.allclose(twice, 4 * once) and (once.diff() >= 0).all() and len(without_extremes(torch.arange(200))) == 196
    )
    z = discs(4).latent.sample(0, 2 * n, Rng(1))
    angle = torch.nn.functional.cosine_similarity(z[:n], z[n:]).acos()
    assert float(once.mean()) > 0 and STEP == 1e-4
    ball = path_lengths(here_of_identity(), flat, n, Rng(1), 32)  # x is z: a step is as long as it is on the circle
    radial = (z[:n].norm(dim=1) - z[n:].norm(dim=1)).square()
    assert float(ball.max()) <= float((angle.square() * z.norm(dim=1).max() ** 2 + radial).max()) * 1.01


def here_of_identity() -> object:
    from genvet.core.generator import Generator
    from genvet.core.latent import Latent

    return space(Generator(module=nn.Unflatten(1, (1, 2, 2)), latent=Latent(4), shape=(1, 2, 2), name="mlp"), "z")


@pytest.mark.parametrize("knobs", [{"space": "w"}, {"space": "s", "layers": "b8.conv0,b8.conv1", "most": 5}])
def test_w_and_styles_are_looked_into_as_well(knobs: dict[str, object]) -> None:
    sizes = {"size": 8, "channels": 3, "z_dim": 8, "w_dim": 6, "channel_base": 64, "channel_max": 8, "classes": 2}
    finding = assess(Disentangle(**Disentangle.smoke | knobs), stylegan2.build(**sizes, rng=Rng(1)), Given())
    values = {m.name: m for m in finding.measures}
    assert set(values) >= {*SCORES, "dci.informativeness", "special", "path-length", "linear-separability"}
    assert all(values[name].chance is not None and "p " in values[name].note for name in SCORES)
    assert "random-conv-1" in values["path-length"].note and [f.kind for f in finding.figures] == ["heat", "scatter"]
    assert len(finding.figures[0].data["rows"]) == (6 if knobs["space"] == "w" else 5)


def test_a_classifier_adds_its_classes_and_is_the_space_of_path_lengths() -> None:
    module = nn.Module()
    module.features, module.head = nn.Flatten(), nn.Linear(256, 2)
    with torch.no_grad():  # the second class is light on the right
        module.head.weight.copy_(torch.stack([torch.zeros(256), torch.linspace(-1, 1, 16).repeat(16)]))
        module.head.bias.zero_()
    judge = Classifier(module=module.eval(), shape=(1, 16, 16), classes=("left", "right"), name="toy")
    result, finding = measured(Disentangle(samples=400, turns=9, paths=20), discs(8), Given(judge))
    assert isinstance(result, Disentangled)
    best = {named.factor: named for named in result.named}
    assert best["class right"].dimension == "z[1]" and best["class right"].value.value > 0.5
    note = next(m.note for m in finding.measures if m.name == "path-length")
    assert "the last hidden layer of the toy" in note and "2 classes" in note


def test_a_generator_that_always_gives_the_same_is_told() -> None:
    generator = discs(4)
    generator.module.turn = torch.zeros(4, 4)
    with pytest.raises(Unsupported, match="the same"):
        told(generator)
