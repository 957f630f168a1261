"""`sample` and `convert` on real files: what comes out is the generator's own, and nothing in the file runs."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from command import run
from PIL import Image
from torch import nn

from genvet.cli.sample import draw, write
from genvet.core.errors import Unsupported
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.files.convert import save
from genvet.nets import dcgan


class Style(nn.Module):
    """The smallest thing that has a mapping and a synthesis."""

    def __init__(self) -> None:
        super().__init__()
        self.mapping = nn.Linear(4, 4)
        self.mapping.register_buffer("w_avg", torch.full((4,), 0.5))

    def synthesis(self, ws: torch.Tensor) -> torch.Tensor:
        return ws.mean(1)[:, None, :, None].tanh()

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.synthesis(self.mapping(z)[:, None])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save(dcgan.build(latent=8, capacity=2, size=8), tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def test_a_grid_of_samples_is_written_and_follows_from_the_seed(model: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("sample", model, "--count", 9, "--seed", seed, "--out", tmp_path / f"{name}.png") == 0
    a, b, c = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in "abc")
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_converting_twice_gives_the_same_hash(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", model, tmp_path / "one.safetensors") == 0
    assert run("convert", tmp_path / "one.safetensors", tmp_path / "two.safetensors") == 0
    first, second = (line.rpartition("sha256:")[2] for line in capsys.readouterr().out.splitlines())
    assert first == second and len(first) == 64
    assert run("convert", model, tmp_path / "one.bin") == 2


def test_sounds_become_wav_files(tmp_path: Path) -> None:
    x = torch.linspace(-1, 1, 300).reshape(3, 1, 100)
    paths = write(x, tmp_path / "s.png")
    assert [p.name for p in paths] == ["s-0001.wav", "s-0002.wav", "s-0003.wav"]
    assert [p.name for p in write(x[:1], tmp_path / "one.wav")] == ["one.wav"]
    with wave.open(str(paths[0])) as sound:
        assert (sound.getnchannels(), sound.getnframes()) == (1, 100)


def test_truncation_pulls_w_to_its_average_and_is_for_style_generators() -> None:
    torch.manual_seed(0)
    style = StyleGenerator(module=Style().eval(), latent=Latent(4), shape=(1, 4, 1), name="s", num_ws=1, w_dim=4)
    whole, half, none = (draw(style, 40, 3, psi) for psi in (1.0, 0.5, 0.0))
    assert torch.allclose(none, torch.full_like(none, 0.5).tanh())
    expected = (0.5 + 0.5 * (whole.atanh() - 0.5)).tanh()
    assert torch.allclose(half, expected, atol=1e-4)
    plain = Generator(module=Style().eval(), latent=Latent(4), shape=(1, 4, 1), name="s")
    assert torch.equal(draw(plain, 5, 3), plain.sample(5, Rng(3).fork("sample")))
    with pytest.raises(Unsupported):
        draw(plain, 5, 3, 0.5)
