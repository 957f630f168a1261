"""WAV files of every usual coding come in as (n, 1, t) in [-1, 1]."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from genvet.core.errors import BadInput
from genvet.files.sounds import load_sounds, write_wav

DATA = Path(os.environ.get("GENVET_TEST_DATA", Path(__file__).parents[3] / "shared/data"))
TONE = np.sin(np.arange(200) / 7)


def wav(samples: bytes, kind: int, bits: int, channels: int = 1, rate: int = 8000, extensible: bool = False) -> bytes:
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else kind, channels, rate, rate * block, block, bits)
    if extensible:
        form += struct.pack("<HHIH", 22, bits, 0, kind) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    body = b"".join(n + struct.pack("<I", len(c)) + c + b"\0" * (len(c) % 2) for n, c in
                    [(b"fmt ", form), (b"LIST", b"odd"), (b"data", samples)])  # fmt: skip
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def coded(kind: int, bits: int, x: np.ndarray) -> bytes:
    if kind == 3:
        return x.astype(f"<f{bits // 8}").tobytes()
    if bits == 8:
        return (x * 127 + 128).round().astype(np.uint8).tobytes()
    whole = (x * (2 ** (bits - 1) - 1)).round().astype("<i4")
    return b"".join(int(v).to_bytes(bits // 8, "little", signed=True) for v in whole)


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(("kind", "bits"), [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)])
def test_every_coding_gives_the_tone(tmp_path, kind, bits, extensible):
    (tmp_path / "a.wav").write_bytes(wav(coded(kind, bits, TONE), kind, bits, extensible=extensible))
    x = load_sounds(tmp_path / "a.wav").x
    assert x.shape == (1, 1, 200)
    np.testing.assert_allclose(x[0, 0], TONE, atol=0.02 if bits == 8 else 1e-4)


def test_channels_are_mixed_and_lengths_made_equal(tmp_path):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("b.wav", wav(coded(1, 16, np.stack([TONE, -TONE], 1).ravel()), 1, 16, channels=2))
        archive.writestr("a.wav", wav(coded(1, 16, TONE[:50]), 1, 16))
    sounds = load_sounds(tmp_path / "s.zip")
    assert sounds.x.shape == (2, 1, 200) and sounds.names == ("a.wav", "b.wav")
    assert sounds.x[0, 0, 50:].abs().max() == 0 and sounds.x[1].abs().max() < 1e-4
    assert load_sounds(tmp_path / "s.zip", (1, 30)).x.shape == (2, 1, 30)
    assert load_sounds(f"{tmp_path}/s.zip#1:2").names == ("b.wav",)


def test_written_sounds_come_back_clipped(tmp_path):
    tone = torch.from_numpy(TONE).float()
    write_wav(tone * 1.5, tmp_path / "a.wav", 8000)
    torch.testing.assert_close(load_sounds(tmp_path).x[0, 0], (tone * 1.5).clamp(-1, 1), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"RIFF\0\0\0\0WAVE", "damaged"),
        (b"text", "no WAV"),
        (wav(b"abcd", 6, 8), "unknown way"),
        (wav(b"abcd", 1, 16, channels=0), "damaged"),
        (wav(b"", 1, 16), "no sound"),
        (wav(struct.pack("<f", float("nan")), 3, 32), "no sound"),
        (b"", "empty"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, message):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(BadInput, match=message):
        load_sounds(tmp_path / "a.wav")


def test_rates_that_differ_are_refused(tmp_path):
    for name, rate in [("a", 8000), ("b", 16000)]:
        write_wav(torch.zeros(5), tmp_path / f"{name}.wav", rate)
    with pytest.raises(BadInput, match="rates differ"):
        load_sounds(tmp_path)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_real_collections_load():
    assert load_sounds(f"{DATA}/audio_fsdd/fsdd_5_speakers.zip#0:5", (1, 4096)).x.shape == (5, 1, 4096)
    assert load_sounds(f"{DATA}/audio_drums/oneshots_16k.zip#0:3").x.abs().max() > 0.1
