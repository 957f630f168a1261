"""A state is a picture: what the sliders of `genvet explore` do, without any socket."""

from __future__ import annotations

import pytest
import torch

from genvet.core.errors import BadInput, Unsupported
from genvet.core.rng import Rng
from genvet.nets import dcgan, stylegan2, wavegan
from genvet.serve.explorer import SHOWN, Explorer, State

SMALL = {"size": 16, "z_dim": 16, "w_dim": 12, "channel_base": 128, "channel_max": 16}


@pytest.fixture(scope="module")
def explorer() -> Explorer:
    return Explorer(stylegan2.build(**SMALL, rng=Rng(1)), Rng(0).fork("sample"))


def test_untouched_pictures_are_those_of_genvet_sample(explorer):
    from genvet.cli.sample import draw

    for seed in (0, 3, 1500):
        shown = explorer.show(State(seed=seed))
        expected = explorer.generator.sample(seed + 1, explorer.rng)[seed] if seed < 9 else None
        if expected is not None:
            torch.testing.assert_close(shown.x, expected, rtol=1e-4, atol=1e-5)
        assert shown.change == 0 and torch.equal(shown.x, shown.untouched)
    assert torch.allclose(draw(explorer.generator, 4, 0)[3], explorer.show(State(seed=3)).x, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 4}, {"psi": 0.5}, {"start": 0}, {"start": 3}, {"moves": {0: 2.0}}, {"moves": {"9": -1.0}},
        {"along": "sefa", "moves": {0: 2.0}}, {"dims": {15: 5.0}},
    ],
    ids=str,
)  # fmt: skip
def test_every_control_changes_the_picture(explorer, changes):
    shown = explorer.show(State.parse({"seed": 3} | changes))
    plain = explorer.show(State(seed=3))
    assert float((shown.x - plain.x).abs().max()) > 1e-3
    if "seed" not in changes:
        assert 0 < shown.change < 1 and torch.equal(shown.untouched, plain.x)
        assert any(abs(r["now"] - r["before"]) > 0 for r in shown.readings())


def test_what_the_controls_mean(explorer):
    """Against the same by hand, from the generator's own parts."""
    g = explorer.generator
    first, second = (g.mapping(explorer.generator.latent.sample(i, i + 1, explorer.rng)) for i in (2, 5))
    mixed = torch.cat([g.broadcast(first)[:, :2], g.broadcast(second)[:, 2:]], dim=1)
    shown = explorer.show(State(seed=2, mix=5, start=2))
    torch.testing.assert_close(shown.x, g.synthesis(mixed)[0].detach(), rtol=1e-4, atol=1e-5)
    average = explorer.show(State(seed=2, psi=0))
    torch.testing.assert_close(average.x, explorer.show(State(seed=7, psi=0)).x)  # nothing is left of the seed
    # Three steps along the first component are three standard deviations of w.
    w = g.mapping(g.latent.sample(0, 2000, Rng(9))).detach()
    moved = explorer._ws(g, g.latent.sample(2, 3, explorer.rng), None, State(seed=2, moves={0: 3}))[0, 0].detach()
    step = moved - first[0].detach()
    assert 2.8 < float(step.norm() / (w @ (step / step.norm())).std()) < 3.2


def test_z_is_normalised_so_that_a_huge_delta_leaves_one_picture(explorer):
    far = [explorer.show(State(seed=seed, dims={3: 10_000})).x for seed in (1, 2)]
    torch.testing.assert_close(*far, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"dims": {16: 1.0}}, "no dimension 16; expected 0 to 15"),
        ({"moves": {SHOWN: 1.0}}, f"no direction {SHOWN}"),
        ({"start": 6}, "no layer 6"),
        ({"label": 0}, "no class 0; expected none"),
        ({"seed": -1}, "seed: .*greater than or equal to 0"),
        ({"psi": 3}, "psi"),
        ({"psi": float("nan")}, "psi: .*finite"),
        ({"dims": {0: 1e9}}, "dims.0"),
        ({"dims": {str(i): 0.0 for i in range(65)}}, "dims"),
        ({"sead": 1}, "sead: Extra"),
        ([1], "the state"),
        (None, "the state"),
    ],
)
def test_odd_states_are_refused_in_words(explorer, given, told):
    with pytest.raises(BadInput, match=told):
        explorer.show(State.parse(given))


def test_classes_and_plain_generators():
    labelled = Explorer(stylegan2.build(**SMALL, classes=3, rng=Rng(1)), Rng(0))
    assert labelled.about()["classes"] == 3
    pictures = [labelled.show(State(seed=4, label=label)).x for label in (0, 1, None)]
    assert torch.equal(pictures[1], pictures[2])  # sample 4 has class 4 mod 3
    assert not torch.allclose(pictures[0], pictures[1], atol=1e-3)
    network = dcgan.build(latent=5, capacity=4, size=8)
    network.module.eval()
    plain = Explorer(network, Rng(0))
    about = plain.about()
    assert (about["layers"], about["directions"], about["latents"], about["normalised"]) == (0, {}, 5, False)
    assert plain.show(State(dims={4: 2.0})).change > 0
    for given in ({"psi": 0.5}, {"start": 0}, {"moves": {0: 1.0}}):
        with pytest.raises(BadInput, match="no style generator"):
            plain.show(State.parse(given))


def test_what_cannot_be_explored_says_why():
    with pytest.raises(Unsupported, match="sounds"):
        Explorer(wavegan.build(latent=4, capacity=1, length=1024), Rng(0))
    noisy = stylegan2.build(**SMALL)
    noisy.module.synthesis.noise = "random"
    with pytest.raises(Unsupported, match="new noise"):
        Explorer(noisy, Rng(0))
