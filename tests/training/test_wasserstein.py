"""A WaveGAN has the paper's sizes, learns the sound of a tone, and goes out and comes in again."""

from __future__ import annotations

import json
import math
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from genvet.cli import main
from genvet.core.data import Sounds
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.files.convert import load_saved, save
from genvet.files.load import load
from genvet.nets import wavegan
from genvet.nets.wavegan import Critic
from genvet.training.checkpoints import Folder, State, kept_by
from genvet.training.wasserstein import Given, Wasserstein

SMALL = {"batch": 16, "latent": 4, "capacity": 2, "length": 1024, "taps": 16, "critic_steps": 2}


def tones(n: int = 64) -> Sounds:
    """Sines of 50 to 60 periods, half as loud as can be, at any phase."""
    numbers = torch.rand(n, 2, generator=Rng(0, "tones").block())
    turns = (50 + 10 * numbers[:, :1]) * torch.arange(1024) / 1024 + numbers[:, 1:]
    return Sounds(0.5 * torch.sin(2 * math.pi * turns)[:, None], ("",) * n)


def test_it_is_the_papers_network() -> None:
    with torch.device("meta"):
        generator, critic = wavegan.build(), Critic()
        assert generator.shape == (1, 16_384) and generator.latent.distribution == "uniform"
        assert generator.module(torch.empty(2, 100)).shape == (2, 1, 16_384)
        assert critic.eval()(torch.empty(2, 1, 16_384)).shape == (2, 1)
    first = generator.module.up[0].weight.shape
    assert tuple(first) == (1024, 512, 25) and generator.module.filter.weight.shape == (1, 1, 512)


def test_the_filter_comes_last_and_keeps_the_length() -> None:
    generator = wavegan.build(4, 2, 2048, 5)
    z = generator.latent.sample(0, 3, Rng(0))
    before = generator.module.before_filter(z)
    assert before.shape == (3, 1, 2048) and before.abs().max() < 1
    with torch.no_grad():
        generator.module.filter.weight.copy_(torch.tensor([[[0.0, 0, 1, 0, 0]]]))
    assert torch.equal(generator.module(z), before)
    unfiltered = wavegan.build(4, 2, 1024, 0)
    assert unfiltered.module.filter is None and unfiltered(z).abs().max() < 1


def energy_by_pitch(x: torch.Tensor) -> torch.Tensor:
    """The share of the energy in the tones' band."""
    power = torch.fft.rfft(x[:, 0]).abs().square()
    return power[:, 45:66].sum(1) / power[:, 1:].sum(1)


def test_it_learns_the_band_of_the_tones() -> None:
    knobs = {**SMALL, "steps": 150, "rate": 2e-3, "average": 0.9, "capacity": 4}
    trained = Wasserstein.model_validate(knobs)(Given(tones()), Rng(0))
    untrained = Wasserstein.model_validate({**knobs, "steps": 1})(Given(tones()), Rng(0))
    learned, before = (energy_by_pitch(t.generator.sample(32, Rng(1))).mean() for t in (trained, untrained))
    assert energy_by_pitch(tones().x).mean() > 0.9
    assert learned > 0.3 > 2 * before


class Interrupted(Folder):
    def keep(self, state: State) -> None:
        super().keep(state)
        self.stop = True


def test_interrupted_and_resumed_is_the_uninterrupted_run(tmp_path: Path) -> None:
    recipe = Wasserstein.model_validate({**SMALL, "steps": 5})
    whole = recipe(Given(tones()), Rng(0))
    with pytest.raises(KeyboardInterrupt), kept_by(Interrupted(tmp_path, every=2)):
        recipe(Given(tones()), Rng(0))
    with kept_by(Folder(tmp_path)):
        again = recipe(Given(tones()), Rng(0))
    states = whole.generator.module.state_dict(), again.generator.module.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_bare_weights_are_recognised(tmp_path: Path) -> None:
    generator = wavegan.build(4, 2, 2048, 8)
    save(generator, tmp_path / "own.safetensors")
    torch.save(generator.module.state_dict(), tmp_path / "bare.pt")
    x = generator.sample(3, Rng(0))
    for name in ("own.safetensors", "bare.pt"):
        again = load_saved(tmp_path / name)
        assert again.name == "wavegan" and torch.equal(again.sample(3, Rng(0)), x)
    torch.save(Critic(2, 2048).state_dict(), tmp_path / "critic.pt")
    assert not load(tmp_path / "critic.pt").generators


def test_the_command_learns_from_a_zip_of_wavs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("tones.zip", "w") as archive:
        for i, x in enumerate(tones(50).x):
            with wave.open("one.wav", "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes((x[0, : 900 + i].numpy() * 32767).astype(np.int16).tobytes())
            archive.write("one.wav", f"tones/{i:02d}.wav")
    words = "--steps 2 --batch 4 --latent 4 --capacity 2 --length 1024 --taps 8 --critic-steps 1 --device cpu --out o"
    with pytest.raises(SystemExit) as stop:
        main(["train", "wavegan", "--data", "tones.zip", *words.split()])
    assert stop.value.code == 0
    assert load_saved("o/generator.safetensors").shape == (1, 1024)
    told = json.loads(load("o/generator.safetensors").metadata["genvet.data"])
    assert told == {"name": "tones.zip", "count": 50, "shape": [1, 1024], "rate": 8000}
    shown = sorted(Path("o/samples").glob("*.wav"))
    with wave.open(str(shown[0])) as file:
        assert len(shown) == 4 and (file.getframerate(), file.getnframes()) == (8000, 1024)


def test_sounds_of_another_length_are_refused() -> None:
    with pytest.raises(BadInput, match=r"expected \(n, 1, 2048\)"):
        Wasserstein(length=2048)(Given(tones()), Rng())
