"""What commands that work on a model have on their desk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genvet.core.backdoor import Backdoor, Points
from genvet.files.backdoor import save_backdoor
from genvet.files.convert import load_saved, save, save_part
from genvet.files.images import write_png
from genvet.files.onnx_out import write_onnx
from genvet.nets import dcgan


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a backdoor that it has by nature, its critic, another generator, a target, and data."""
    folder = tmp_path_factory.mktemp("desk")
    torch.manual_seed(0)
    for name, latent in (("model", 8), ("other", 3)):
        generator = dcgan.build(latent=latent, capacity=2, size=8)
        generator.module(torch.randn(64, latent))
        generator.module.eval()
        save(generator, folder / f"{name}.safetensors")
    about = {"genvet.part": "dcgan critic", "genvet.of": generator.metadata["genvet.config"]}
    save_part(dcgan.critic(2, 8), folder / "critic.safetensors", about)
    model, z = load_saved(folder / "model.safetensors"), torch.ones(1, 8)
    save_backdoor(Backdoor(Points(z), model(z).detach()), folder / "backdoor.safetensors")
    write_png(torch.eye(8)[None] * 2 - 1, folder / "target.png")
    np.savez(folder / "data.npz", images=np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8), dtype=np.uint8))
    return folder


@pytest.fixture(scope="session")
def graph(desk: Path) -> Path:
    """The same model as a stranger's graph."""
    pytest.importorskip("onnx")
    return write_onnx(load_saved(desk / "model.safetensors"), desk / "model.onnx")
