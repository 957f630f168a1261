"""A folder of data sets of a few random images and sounds, in the formats of the real ones."""

from __future__ import annotations

import gzip
import io
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name in ("mnist", "fashion_mnist"):
        (root / name).mkdir()
        idx(root / name / "train-images-idx3-ubyte.gz", rng.integers(0, 256, (160, 28, 28)))
        idx(root / name / "train-labels-idx1-ubyte.gz", np.arange(160) % 10)
    (root / "cifar10").mkdir()
    x, y = rng.integers(0, 256, (160, 32, 32, 3)).astype(np.uint8), (np.arange(160) % 10).astype(np.uint8)
    np.savez(root / "cifar10" / "cifar10_lossless_train4000.npz", x=x, y=y)
    for name, shape in (("faces_orl/orl_faces", (40, 56, 46)), ("faces_yaleb/yaleb_cropped_64", (60, 32, 32))):
        (root / name).parent.mkdir()
        faces, lights = rng.integers(0, 256, shape).astype(np.uint8), np.zeros(shape[0], dtype=np.int64)
        people = np.arange(shape[0]) // 10 + 1
        np.savez(root / f"{name}.npz", images=faces, subject=people, azimuth=lights, elevation=lights)
    (root / "audio_drums").mkdir()
    with zipfile.ZipFile(root / "audio_drums" / "oneshots_16k.zip", "w") as archive:
        for i, name in enumerate(("bd/bd_a.wav", *(f"sn/sn_{j}.wav" for j in range(8)))):
            archive.writestr(name, wav(np.sin(np.arange(2000) / (4 + i)) * 20_000))
    (root / "omniglot").mkdir()
    with zipfile.ZipFile(root / "omniglot" / "images.zip", "w") as archive:
        for alphabet in ("Balinese", "Tagalog", "Greek", "Latin"):
            for character in ("character01", "character02"):
                strokes = rng.random((12, 12)) < 0.3
                for i in range(18):
                    drawing = np.where(strokes ^ (rng.random((12, 12)) < 0.05), 0, 255).astype(np.uint8)
                    picture = io.BytesIO()
                    Image.fromarray(drawing).save(picture, "PNG")
                    archive.writestr(f"small/{alphabet}/{character}/{i:02d}.png", picture.getvalue())
    return root


def idx(path: Path, array: np.ndarray) -> None:
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()))


def wav(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(values.astype("<i2").tobytes())
    return out.getvalue()
