"""Reading speed: a 300 MB pickle of tensors through the child process, beside the floor of hashing and copying it."""

from __future__ import annotations

import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from genvet.files import read
from genvet.files.nvlabs_writer import Module, Tensor, write_nvlabs

RUNS = 3
LAYERS, SIZE, LENGTH = 75, (1000, 1000), 1_000_000


def nvlabs(path: Path) -> None:
    """300 MB in NVlabs' layout: every tensor in a torch file of its own inside the pickle."""
    layers = {
        f"fc{i}": Module(class_name="Layer", parameters={"weight": Tensor("float32", SIZE, os.urandom(4 * LENGTH))})
        for i in range(LAYERS)
    }
    module = Module(class_name="Generator", source="class Generator: ...\n\n\nclass Layer: ...\n", modules=layers)
    path.write_bytes(write_nvlabs({"G_ema": module}))


def torch_zip(path: Path) -> None:
    """300 MB as torch.save writes a state dict today."""
    torch.save({f"fc{i}.weight": torch.rand(SIZE) for i in range(LAYERS)}, path)


def seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    """Print, for each layout, the time to read it and the time merely to load and hash its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        for name, write in (("NVlabs pickle", nvlabs), ("torch zip", torch_zip)):
            path = Path(folder) / "model"
            write(path)
            floor = seconds(lambda path=path: hashlib.sha256(path.read_bytes()).digest())
            took = seconds(partial(read, path))
            tensors = sum(len(part.tensors) for part in read(path).parts)
            size = path.stat().st_size / 1e6
            print(f"{name}: {size:.0f} MB, {tensors} tensors: {took:.2f} s (aim 10 s)")
            print(f"    reading and hashing its bytes alone: {floor:.2f} s")


if __name__ == "__main__":
    main()
