"""A folder of data sets, as small as can be: shapes of 8 pixels, in the files that the real ones have."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
import torch

from genvet.core.rng import Rng

SIDE, COUNT = 8, 96


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    rng = Rng(0).block()
    for number, name in enumerate(("mnist", "fashion_mnist")):
        x = torch.zeros(COUNT, SIDE, SIDE, dtype=torch.uint8)
        places = torch.randint(0, SIDE - 3, (COUNT, 2), generator=rng)
        for image, (row, column) in zip(x, places.tolist(), strict=True):
            image[row : row + 3, column : column + 3 - number] = 255
        (root / name).mkdir()
        head = struct.pack(">HBB3I", 0, 8, 3, COUNT, SIDE, SIDE)
        (root / name / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + x.numpy().tobytes()))
    return root
