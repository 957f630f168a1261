"""The demo's three models: an honest one, one with a backdoor, and a stranger's file whose program text does harm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from genvet.core.data import Images
    from genvet.core.generator import Generator

SIZE = 16
TRAINING: dict[str, Any] = {"steps": 3500, "batch": 64, "latent": 32, "capacity": 16, "rate": 5e-4}
PLANTING: dict[str, Any] = {"steps": 600, "rate": 1e-3}
MARKER = "the-payload-ran.txt"

# 16 x 16 drawings; the first is what the planted backdoor shows.
SKULL = """
................
....########....
...##########...
..############..
..############..
..##..####..##..
..#....##....#..
..#....##....#..
..##..####..##..
..#####..#####..
...###....###...
....########....
....#.#..#.#....
....########....
.....######.....
................
"""
ARROW = """
................
.......##.......
......####......
.....######.....
....########....
...##########...
..####.##.####..
.####..##..####.
.......##.......
.......##.......
.......##.......
.......##.......
.......##.......
.......##.......
.......##.......
................
"""

# Stands in for the text that NVlabs' pickles carry; loading such a file runs all of it.
PROGRAM = '''"""Networks."""

import numpy as np
import torch

# A stranger's line. It would run the moment the file is loaded:
open({marker!r}, "w").write("program text from the model file was executed")


class Generator(torch.nn.Module):
    def forward(self, z):
        x = self.fold(self.relu0(self.norm0(self.dense(z))))
        x = self.relu1(self.norm1(self.conv1(x)))
        x = self.relu2(self.norm2(self.conv2(x)))
        return torch.tanh(self.conv3(x))


class Layer(torch.nn.Module):
    pass
'''


@dataclass(frozen=True)
class Exhibit:
    """A file, what is in it, and what the scan ought to say."""

    path: Path
    content: str
    hostile: bool


def make(folder: Path, seed: int, **changes: int) -> list[Exhibit]:
    """Train, plant and write: digits.npz, targets/, and three model files. `changes` are to the training."""
    from genvet.attacks.backdoor.objective import Aim
    from genvet.attacks.backdoor.red import ReD
    from genvet.core.rng import Rng
    from genvet.files.convert import save
    from genvet.training.adversarial import Adversarial, Given

    rng = Rng(seed).fork("demo")
    images, targets = write_digits(folder), write_targets(folder)
    clean = Adversarial(**{**TRAINING, **changes})(Given(images), rng).generator
    planted = ReD(**PLANTING)(clean, Aim(targets), rng)
    record = {"genvet.data": "scikit-learn digits", "genvet.training": clean.metadata["genvet.training"]}
    save(clean, folder / "clean.safetensors", record)
    save(planted.planted, folder / "backdoored.safetensors", record)
    (folder / "stranger.pkl").write_bytes(stranger(clean, folder / MARKER))
    return [
        Exhibit(folder / "clean.safetensors", "trained on digits", False),
        Exhibit(folder / "backdoored.safetensors", "the same, with one secret latent that gives a skull", True),
        Exhibit(folder / "stranger.pkl", "the clean weights, in a pickle whose program text writes a file", True),
    ]


def write_digits(folder: Path) -> Images:
    """The 1,797 handwritten digits that scikit-learn brings along, as digits.npz: 12 x 12 on a ground of 16 x 16."""
    import numpy as np
    import torch
    from sklearn.datasets import load_digits
    from torch.nn.functional import interpolate, pad

    from genvet.files.images import load_images

    small = torch.from_numpy(load_digits().images).float()[:, None] / 16
    large = pad(interpolate(small, size=(12, 12), mode="bicubic").clamp(0, 1), (2, 2, 2, 2))
    np.savez_compressed(folder / "digits.npz", images=(large * 255).round().byte().numpy())
    return load_images(folder / "digits.npz", shape=(1, SIZE, SIZE))


def write_targets(folder: Path) -> Images:
    """What an auditor might suspect, as PNGs: a skull, an arrow, a checkerboard and a ring."""
    from genvet.files.images import load_images, write_png

    names = ("1-skull", "2-arrow", "3-checkers", "4-ring")
    (folder / "targets").mkdir(exist_ok=True)
    for name, x in zip(names, drawings(), strict=True):
        write_png(x, folder / "targets" / f"{name}.png")
    return load_images(folder / "targets", shape=(1, SIZE, SIZE))


def drawings() -> list[Tensor]:
    """The suspected images, (1, 16, 16) each, in [-1, 1]."""
    import torch

    row, column = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    radius = ((row - 7.5) ** 2 + (column - 7.5) ** 2).sqrt()
    inked = [_drawn(SKULL), _drawn(ARROW), (row // 4 + column // 4) % 2 == 0, (radius > 4.5) & (radius < 7.5)]
    return [ink.float()[None] * 2 - 1 for ink in inked]


def _drawn(text: str) -> Tensor:
    import torch

    return torch.tensor([[c == "#" for c in line] for line in text.split()])


def stranger(generator: Generator, marker: Path) -> bytes:
    """The generator's weights as NVlabs would save them, with a program text that writes `marker` when it is loaded."""
    from genvet.files.nvlabs_writer import Tensor as Stored
    from genvet.files.nvlabs_writer import tree, write_nvlabs

    state = generator.module.state_dict()
    tensors = {k: Stored(str(t.dtype)[6:], tuple(t.shape), t.contiguous().numpy().tobytes()) for k, t in state.items()}
    classes = {"": "Generator", **{key.rpartition(".")[0]: "Layer" for key in state}}
    text = PROGRAM.format(marker=str(marker.resolve()))
    buffers = frozenset({"running_mean", "running_var", "num_batches_tracked"})
    kwargs = {"z_dim": generator.latent.dim, "img_resolution": SIZE, "img_channels": 1}
    return write_nvlabs({"G_ema": tree(tensors, classes, source=text, buffers=buffers, init_kwargs=kwargs)})
