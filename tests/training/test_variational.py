"""The variational recipe learns what there is, and hands over an encoder that finds the latents back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.files.convert import load_saved, save, save_part
from genvet.files.load import load
from genvet.nets import vae
from genvet.nets.vae_network import Encoder
from genvet.training.variational import Given, Variational


def digits() -> Images:
    x = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1
    return Images(x, ("",) * len(x))


def test_it_has_the_size_that_it_says() -> None:
    decoder, encoder = vae.build(), Encoder()
    both = decoder.parameters + sum(p.numel() for p in encoder.parameters())
    assert (decoder.parameters, both) == (80_893, 193_629)


def test_it_learns_digits_and_its_encoder_finds_the_latents_back(tmp_path: Path) -> None:
    knobs = {"steps": 400, "batch": 64, "latent": 6, "capacity": 8, "rate": 5e-3, "average": 0.98}
    trained = Variational.model_validate(knobs)(Given(digits()), Rng(0))
    x, fake = digits().x, trained.generator.sample(500, Rng(1))
    assert fake.min() >= -1 and fake.max() <= 1
    assert (fake.mean(0) - x.mean(0)).abs().mean() < 0.15 < (0 - x.mean(0)).abs().mean()
    z = trained.generator.latent.sample(0, 200, Rng(2))
    assert trained.encoder is not None
    with torch.no_grad():
        found, _ = trained.encoder(trained.generator(z))
        mean, _ = trained.encoder(x)
        back = trained.generator(mean)
    assert torch.corrcoef(torch.stack([z.flatten(), found.flatten()]))[0, 1] > 0.7
    assert (back - x).square().mean() < 0.5 * (x.mean(0) - x).square().mean()
    assert trained.losses["reconstruction"][-50:].mean() < 0.8 * trained.losses["reconstruction"][:5].mean()
    save_part(trained.encoder, tmp_path / "e.safetensors", {})
    assert list(load(tmp_path / "e.safetensors").not_generators.values()) == [
        "an encoder: images of 1 channel -> 12 numbers"
    ]
    save(trained.generator, tmp_path / "g.safetensors")
    again = load_saved(tmp_path / "g.safetensors")
    assert again.name == "vae" and torch.equal(again.sample(5, Rng(3)), trained.generator.sample(5, Rng(3)))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match="multiple of 4"):
        Variational(steps=1)(Given(Images(torch.zeros(4, 1, 10, 10), ("",) * 4)), Rng())
