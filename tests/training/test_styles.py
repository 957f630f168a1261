"""Style generators learn: to the same bit when interrupted, by the losses of the papers, from any images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genvet.core.data import Images, Labelled
from genvet.core.errors import BadInput
from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.core.technique import TrainedGenerator
from genvet.files.convert import load_saved
from genvet.files.critic import load_critic
from genvet.files.training_set import load_training_set
from genvet.maths.augmentation import ADAPTIVE, DIFFERENTIABLE, Changes, augmented
from genvet.maths.fitting import fitted
from genvet.nets import stylegan2
from genvet.training.checkpoints import Folder, State, kept_by
from genvet.training.stylegan1 import StyleGAN1
from genvet.training.stylegan2 import StyleGAN2
from genvet.training.styles import APART, TARGET, Given, Overfit, groups, separated
from genvet.training.written import write

KNOBS = {"steps": 5, "batch": 8, "size": 8, "latent": 6, "channel_base": 64, "channel_max": 8, "r1_every": 2}
KINDS = (StyleGAN1, StyleGAN2)


class Interrupted(Folder):
    def keep(self, state: State) -> None:
        super().keep(state)
        self.stop = True


def data(n: int = 60) -> Images:
    return Images(torch.rand(n, 1, 8, 8, generator=Rng(0, "x").block()) * 2 - 1, ("",) * n)


def train(kind: Any, keeper: Folder | None = None, images: Images | None = None, **knobs: Any) -> TrainedGenerator:
    recipe, given = kind(**{**KNOBS, "precision": "float32", **knobs}), Given(images or data())
    if keeper is None:
        return recipe(given, Rng(3))
    with kept_by(keeper):
        return recipe(given, Rng(3))


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_and_resumed_is_bit_for_bit_the_uninterrupted_run(kind: Any, tmp_path: Path) -> None:
    """Augmentation, mixing, noise and the share of changed samples too."""
    whole = train(kind, Folder(tmp_path / "whole", every=3))
    with pytest.raises(KeyboardInterrupt):
        train(kind, Interrupted(tmp_path / "cut", every=3))
    again = train(kind, Folder(tmp_path / "cut", every=3))
    assert whole.critic is not None and again.critic is not None
    for left, right in ((whole.generator.module, again.generator.module), (whole.critic, again.critic)):
        one, other = left.state_dict(), right.state_dict()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert whole.record == again.record and [j["step"] for j in again.record["judged"]] == [3, 5]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_trained_is_read_back_with_its_critic(kind: Any, tmp_path: Path) -> None:
    x = data()
    labelled = Labelled(x.x, x.names, labels=torch.arange(60) % 3, classes=("a", "b", "c"))
    for conditional, images in ((False, x), (True, labelled)):
        trained = train(kind, images=images, conditional=conditional, steps=1)
        write(trained, tmp_path, {})
        generator = load_saved(tmp_path / "generator.safetensors")
        assert isinstance(generator, StyleGenerator) and generator.latent.classes == 3 * conditional
        assert torch.equal(generator.sample(4, Rng(1)), trained.generator.sample(4, Rng(1)))
        average = generator.module.mapping.average(generator.latent)  # type: ignore[union-attr, operator]
        assert torch.allclose(generator.module.mapping.w_avg, average, atol=1e-6)  # type: ignore[union-attr]
        judge = load_critic(tmp_path / "critic.safetensors")
        labels = (torch.eye(3)[[0, 1, 2, 0]],) if conditional else ()
        assert trained.critic is not None
        with torch.no_grad():
            assert torch.equal(judge.module(x.x[:4], *labels), trained.critic(x.x[:4], *labels))


def test_without_equalised_rates_adam_moves_each_weight_as_in_a_plain_network() -> None:
    """One step of Adam on w / sqrt(inputs), beside one on w itself."""
    recipe = StyleGAN2(**KNOBS, equalized=False)
    with Rng(1).seeded():
        net = stylegan2.build(8, 1, 6, 6, widths=(4, 4)).module
    slow = torch.optim.Adam(groups(net, recipe), recipe.rate)
    weight = net.synthesis.b8.conv0.weight  # type: ignore[union-attr]
    plain = torch.nn.Parameter(weight.detach() / 6)  # 4 maps of 3 x 3: the square root of 36
    gradient = torch.randn(weight.shape, generator=Rng(2).block())
    weight.grad, plain.grad = gradient / 6, gradient.clone()
    before, start = weight.detach().clone(), plain.detach().clone()
    slow.step()
    torch.optim.Adam([plain], recipe.rate).step()
    assert torch.allclose((weight - before) / 6, plain - start, rtol=1e-4)
    assert {g.get("lr", 0) for g in groups(net, StyleGAN2(**KNOBS))} == {0}


def test_augmentation_changes_its_share_of_samples_and_passes_gradients() -> None:
    x = (torch.rand(2000, 3, 8, 8, generator=Rng(1).block()) * 2 - 1).requires_grad_()
    with Rng(1).seeded():
        assert augmented(x, ADAPTIVE, 0.0) is x
        untouched = (augmented(x, ADAPTIVE, 0.1) - x).abs().amax((1, 2, 3)) < 1e-4
        assert 0.5 < untouched.float().mean() < 0.6  # 0.9 to the sixth
        for kind in ("brightness", "contrast", "saturation", "zoom", "turn"):
            moved = (augmented(x, Changes(**{kind: 20.0 if kind == "turn" else 0.5}), 0.25) - x).abs().amax((1, 2, 3))
            assert 0.2 < (moved > 1e-4).float().mean() < 0.3, kind
        cut = augmented(x, Changes(cut=0.5), 0.25)
        assert 0.2 < ((cut == 0).sum((1, 2, 3)) > 3).float().mean() < 0.3
        shifted = augmented(x[:64], Changes(shift=0.25))
        assert torch.isin(shifted[:, :, 3, 3].detach(), x.detach()).all()  # whole pixels: no new values
        (slope,) = torch.autograd.grad(augmented(x, DIFFERENTIABLE).square().sum(), x)
    assert slope.isfinite().all() and (slope != 0).any()


def test_adaptive_augmentation_rises_where_the_critic_knows_its_images_and_falls_otherwise() -> None:
    state = Overfit()
    for _ in range(200):
        state.follow(torch.ones(()), 1000)
    assert state.sign > TARGET and state.share == 1
    for _ in range(200):
        state.follow(torch.zeros(()), 1000)
    assert state.share == 0


def test_images_of_any_size_are_brought_to_one(tmp_path: Path) -> None:
    x = torch.rand(2, 1, 28, 28, generator=Rng(1).block())
    wide = fitted(x, 32)
    assert torch.equal(wide[:, :, 2:30, 2:30], x) and torch.equal(wide[:, :, 0, 2:30], x[:, :, 0])
    assert fitted(torch.rand(1, 3, 20, 40), 8).shape == (1, 3, 8, 8)
    for i, (mode, side) in enumerate([("L", 20), ("RGB", 16), ("RGBA", 40), ("L", 3)]):
        Image.new(mode, (side, side + 4)).save(tmp_path / f"{i}.png")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    with pytest.raises(BadInput, match=r"2 of 5 pictures cannot be used: 3.png has 3x7 pixels; torn.png") as refused:
        load_training_set(tmp_path, 16)
    assert "--broken skip" in str(refused.value.hint)
    kept = load_training_set(tmp_path, 16, broken="skip")
    assert kept.x.shape == (3, 3, 16, 16) and len(kept.skipped) == 2  # grey and colour together: colour
    np.savez(tmp_path / "faces.npz", images=np.zeros((5, 30, 20, 3), np.uint8), labels=np.arange(5))
    labelled = load_training_set(tmp_path / "faces.npz", 16, labels=True)
    assert isinstance(labelled, Labelled) and labelled.x.shape == (5, 3, 16, 16)


def test_bad_settings_say_what_would_do() -> None:
    with pytest.raises(BadInput, match="power of two"):
        train(StyleGAN2, size=24)
    with pytest.raises(BadInput, match="labelled"):
        train(StyleGAN2, conditional=True)
    with pytest.raises(BadInput, match="makes images"):
        train(StyleGAN2, images=Images(torch.zeros(40, 1, 64), ("",) * 40))
    assert separated({APART: 0.995}, 1000) and not separated({APART: 0.9}, 1000) and not separated({}, 1000)
    assert not separated({APART: 1.0}, 100)


def test_half_precision_trains_too() -> None:
    trained = train(StyleGAN2, precision="bfloat16", steps=2)
    assert all(values.isfinite().all() for values in trained.losses.values())
    assert trained.generator.module.synthesis.b8.conv0.weight.dtype == torch.float32  # type: ignore[union-attr]
