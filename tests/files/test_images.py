"""Images from every kind of source come in as (n, c, h, w) in [-1, 1]; hostile ones are refused with a reason."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genvet.core.errors import BadInput
from genvet.files.images import load_images, write_grid, write_png

DATA = Path(os.environ.get("GENVET_TEST_DATA", Path(__file__).parents[3] / "shared/data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")

PIXELS = np.arange(6 * 8 * 8, dtype=np.uint8).reshape(6, 8, 8)
WANTED = torch.from_numpy(PIXELS).float()[:, None] / 127.5 - 1


def png(array: np.ndarray, format: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, format)
    return out.getvalue()


def as_folder(at: Path) -> Path:
    (at / "sub").mkdir(parents=True)
    for i, image in enumerate(PIXELS):
        (at / ("sub" if i > 2 else ".") / f"{i}.png").write_bytes(png(image))
    (at / "notes.txt").write_text("no image")
    return at


def as_zip(at: Path) -> Path:
    with zipfile.ZipFile(at, "w") as archive:
        for i in reversed(range(6)):
            archive.writestr(f"../../{i}.png", png(PIXELS[i]))
        archive.writestr("__MACOSX/._0.png", b"junk")
    return at


def as_idx(at: Path) -> Path:
    head = struct.pack(">4B3I", 0, 0, 8, 3, *PIXELS.shape)
    at.write_bytes(gzip.compress(head + PIXELS.tobytes()))
    return at


def as_npz(at: Path, **arrays) -> Path:
    with at.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return at


def test_every_source_gives_the_same_images(tmp_path):
    sources = [
        as_folder(tmp_path / "folder"),
        as_zip(tmp_path / "images.zip"),
        as_idx(tmp_path / "idx.gz"),
        as_npz(tmp_path / "a.npz", images=PIXELS, labels=np.arange(6)),
        as_npz(tmp_path / "b.npz", x=PIXELS[..., None]),
        as_npz(tmp_path / "c.npz", x=PIXELS[:, None] / 255),
        as_npz(tmp_path / "d.npz", x=WANTED.numpy()),
        as_npz(tmp_path / "e.npz", x=np.asfortranarray(PIXELS.astype(np.int64))),
    ]
    for source in sources:
        images = load_images(source)
        torch.testing.assert_close(images.x, WANTED, atol=1e-6, rtol=0, msg=source.name)
        assert len(images.names) == len(set(images.names)) == 6
        part = load_images(f"{source}#2:4")
        torch.testing.assert_close(part.x, WANTED[2:4], atol=1e-6, rtol=0)
        assert part.names == images.names[2:4]


def test_pictures_become_the_shape_asked_for(tmp_path):
    colour = np.zeros((10, 20, 3), np.uint8)
    colour[..., 0] = 255
    for format in ("PNG", "BMP", "PPM", "JPEG"):
        path = tmp_path / f"x.{format.lower()}"
        path.write_bytes(png(colour, format))
        assert load_images(path).x.shape == (1, 3, 10, 20)
        red = load_images(path, (3, 4, 4)).x
        torch.testing.assert_close(red[0, :, 2, 2], torch.tensor([1.0, -1.0, -1.0]), atol=0.02, rtol=0)
        assert load_images(path, (1, 5, 4)).x.shape == (1, 1, 5, 4)


def test_sixteen_bits_and_colour_on_one_axis(tmp_path):
    (tmp_path / "deep.png").write_bytes(png((PIXELS[0].astype(np.uint16) << 8) + 9))
    torch.testing.assert_close(load_images(tmp_path / "deep.png").x, WANTED[:1], atol=0.01, rtol=0)
    last = np.random.default_rng(0).integers(0, 255, (2, 5, 6, 3), dtype=np.uint8)
    path = as_npz(tmp_path / "colour.npz", images=last)
    assert load_images(path).x.shape == (2, 3, 5, 6)
    torch.testing.assert_close(load_images(path, (3, 5, 6)).x, load_images(path).x)


def test_arrays_of_another_shape_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"expected \(1, 28, 28\).*got \(1, 8, 8\)"):
        load_images(as_npz(tmp_path / "a.npz", x=PIXELS), (1, 28, 28))


def claims_to_be_huge() -> bytes:
    """A PNG whose header declares 60,000 x 60,000 pixels, and brings none."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"")
    chunks = b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, body, b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def lying_npy() -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": (10**13, 8, 8)})
    return out.getvalue() + b"few"


def objects() -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([print], dtype=object), allow_pickle=True)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("huge.png", claims_to_be_huge(), "too large"),
        ("cut.png", png(PIXELS[0])[:45], "cannot be decoded"),
        ("image.gif", png(PIXELS[0], "GIF"), "is no PNG"),
        ("lying.npy", lying_npy(), "damaged"),
        ("objects.npy", objects(), "holds no images"),
        ("labels.idx", struct.pack(">4BI", 0, 0, 8, 1, 3) + b"abc", "no images"),
        ("cut.idx", struct.pack(">4B3I", 0, 0, 8, 3, 9, 9, 9) + b"abc", "damaged"),
        ("huge.idx", struct.pack(">4B3I", 0, 0, 8, 3, *[2**31] * 3), "damaged"),
        ("wide.npy", b"\x93NUMPY\x01\x00\xff\xff{'descr'", "no readable npy"),
        ("broken.zip", b"PK\x03\x04 and nothing", "no readable zip"),
        ("empty.png", b"", "is empty"),
        ("text.txt", b"hello", "is no PNG"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_and_damaged_files_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=message):
        load_images(tmp_path / name)


def test_missing_paths_and_empty_folders_are_told(tmp_path):
    for path, message in [(tmp_path / "no", "there is no"), (tmp_path, "no images")]:
        with pytest.raises(BadInput, match=message):
            load_images(path)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("#9:12", "has none of the 6 in .*START below 6; got #9:12"),
        ("#6:", "has none of the 6"),
        ("#4:2", "START:STOP with START below STOP.*got #4:2"),
        ("#3", "cannot be cut so.*got #3"),
        ("#a:b", "cannot be cut so"),
    ],
)
def test_slices_that_take_nothing_say_what_a_slice_is(tmp_path, part, message):
    for source in (as_folder(tmp_path / "f"), as_npz(tmp_path / "a.npz", x=PIXELS)):
        with pytest.raises(BadInput, match=message):
            load_images(f"{source}{part}")
    with pytest.raises(BadInput, match="there is no"):
        load_images(f"{tmp_path}/none{part}")


def test_one_value_tells_no_range(tmp_path):
    for value in (0.0, 0.5, 1.0):
        with pytest.raises(BadInput, match=f"every value of a.npy is {value:g}, which may be of"):
            flat(tmp_path, value, np.float32)
    assert flat(tmp_path, -0.5, np.float32) == pytest.approx(-0.5)  # the rest tell theirs
    assert flat(tmp_path, 255.0, np.float32) == 1 == flat(tmp_path, 255, np.uint8) and flat(tmp_path, 0, np.uint8) == -1


def flat(at: Path, value: float, dtype: type) -> float:
    np.save(at / "a.npy", np.full((1, 4, 4), value, dtype))
    return float(load_images(at / "a.npy").x.unique())


def test_written_pictures_come_back(tmp_path):
    write_png(WANTED[3] * 1.0, tmp_path / "new" / "a.png")
    torch.testing.assert_close(load_images(tmp_path / "new/a.png").x[0], WANTED[3])
    write_png(torch.full((3, 4, 4), 7.0), tmp_path / "b.png")
    assert load_images(tmp_path / "b.png").x.max() == 1
    layers = torch.zeros(5, 2, 2)
    layers[3, 0, 0] = layers[0, 1, 1] = 1
    write_png(layers, tmp_path / "c.png")
    shown = load_images(tmp_path / "c.png").x[0]
    assert (shown[:, 1, 1] == -1).all() and not torch.equal(shown[:, 0, 0], shown[:, 1, 1])


def test_grid_has_every_image_at_its_place(tmp_path):
    write_grid(WANTED, tmp_path / "grid.png", columns=4, captions=["a\x1b[31m", "b"])
    grid = load_images(tmp_path / "grid.png").x[0]
    zoom = 12
    assert grid.shape == (3, 2 + 2 * (8 * zoom + 14 + 2), 2 + 4 * (8 * zoom + 2))
    fifth = grid[0, 2 + 8 * zoom + 16 :, 2:][: 8 * zoom : zoom, : 8 * zoom : zoom]
    torch.testing.assert_close(fifth, WANTED[4, 0], atol=1e-6, rtol=0)


def test_unwritable_output_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match="cannot write"):
        write_png(WANTED[0], tmp_path / "file" / "x.png")


@needs_data
def test_real_collections_load():
    mnist = load_images(f"{DATA}/mnist/t10k-images-idx3-ubyte.gz#0:100")
    assert mnist.x.shape == (100, 1, 28, 28) and mnist.x.min() == -1 and mnist.x.max() == 1
    assert load_images(f"{DATA}/cifar10/cifar10_jpeg.zip#0:10", (3, 28, 28)).x.shape == (10, 3, 28, 28)
    assert load_images(f"{DATA}/cifar10/cifar10_lossless_train4000.npz#5:15").x.shape == (10, 3, 32, 32)
    assert load_images(f"{DATA}/faces_orl/orl_faces.npz#0:3").x.shape == (3, 1, 112, 92)
    assert load_images(f"{DATA}/omniglot/images_background_small1.zip#0:3").x.shape == (3, 1, 105, 105)
