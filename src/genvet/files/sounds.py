"""Sounds in and out: WAV files, mono, as floats in [-1, 1]."""

from __future__ import annotations

import io
import struct
import wave
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genvet.core.data import Sounds
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.files import members
from genvet.files.members import Member
from genvet.files.writing import write_bytes

MOST_NUMBERS = 1 << 31
"""Of all sounds together."""
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


def load_sounds(path: str | Path, shape: tuple[int, ...] | None = None) -> Sounds:
    """Sounds in [-1, 1], (n, 1, t), from a folder, a zip or a single WAV; `#a:b` slices.

    With a `shape` (1, t) each is cut or filled with silence to that length, else all to the longest. Channels are
    mixed to one. Raises BadInput where there is nothing to read, or where the sampling rates differ.
    """
    path, part = members.split_slice(path)
    members.existing(path)
    if path.is_dir():
        found = members.in_folder(path, (".wav",))
    elif zipfile.is_zipfile(path):
        found = members.in_zip(path, (".wav",))
    else:
        found = [members.single(path)]
    chosen = members.sliced(found, part, path)
    if not chosen:
        raise BadInput(f"no sounds in {printable(path)}", expected="WAV files")
    rates, waves = zip(*(read_wav(m) for m in chosen), strict=True)
    if len(set(rates)) > 1:
        raise BadInput("the sampling rates differ", expected="one rate", got=", ".join(map(str, sorted(set(rates)))))
    length = shape[-1] if shape else max(len(w) for w in waves)
    if len(waves) * length > MOST_NUMBERS:
        raise BadInput("too many sounds at once", hint="take a slice: path#0:1000")
    x = torch.zeros(len(waves), 1, length)
    for row, sound in zip(x, waves, strict=True):
        row[0, : len(sound)] = sound[:length]
    return Sounds(x, tuple(m.name for m in chosen), rates[0])


def read_wav(member: Member) -> tuple[int, Tensor]:
    """The sampling rate and the mono signal (t,) of one WAV: PCM of 8 to 32 bits, or floats."""
    data = member.read()
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise BadInput(f"{member.name} is no WAV file")
    chunks = _chunks(data)
    header = chunks.get(b"fmt ", b"")
    if len(header) < 16 or b"data" not in chunks:
        raise BadInput(f"{member.name} is damaged", expected="a format and a data chunk")
    kind, channels, rate, _, block, bits = struct.unpack("<HHIIHH", header[:16])
    if kind == _EXTENSIBLE and len(header) >= 26:
        (kind,) = struct.unpack("<H", header[24:26])
    if not 1 <= channels <= 64 or block != channels * -(-bits // 8) or not rate:
        raise BadInput(f"{member.name} is damaged: {channels} channels of {bits} bits in blocks of {block}")
    samples = chunks[b"data"][: len(chunks[b"data"]) // block * block]
    sound = _numbers(samples, kind, bits, member.name).reshape(-1, channels).mean(1)
    if not len(sound) or not np.isfinite(sound).all():
        raise BadInput(f"{member.name} holds no sound")
    return rate, torch.from_numpy(sound.astype(np.float32)).clamp(-1, 1)


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """The first chunk of each name; a last one that is cut short is taken as far as it goes."""
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        chunks.setdefault(data[at : at + 4], data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return chunks


def _numbers(samples: bytes, kind: int, bits: int, name: str) -> np.ndarray:
    """Samples as floats, (frames * channels,)."""
    if kind == _PCM and bits == 8:
        return (np.frombuffer(samples, np.uint8).astype(np.float32) - 128) / 128
    if kind == _PCM and bits in (16, 32):
        return np.frombuffer(samples, f"<i{bits // 8}").astype(np.float64) / 2.0 ** (bits - 1)
    if kind == _PCM and bits == 24:
        # Each three bytes become the high ones of an int32: the sign comes along.
        wide = np.zeros((len(samples) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(samples, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0].astype(np.float64) / 2.0**31
    if kind == _FLOAT and bits in (32, 64):
        return np.frombuffer(samples, f"<f{bits // 8}").astype(np.float64)
    raise BadInput(f"{name} is coded in an unknown way", expected="PCM or float", got=f"code {kind}, {bits} bits")


def write_wav(x: Tensor, path: str | Path, rate: int = 16_000) -> Path:
    """Write one sound (1, t) or (t,) in [-1, 1] as 16-bit PCM; what reaches past the range is clipped."""
    return write_bytes(path, wav(x, rate))


def wav(x: Tensor, rate: int = 16_000) -> bytes:
    """One sound (1, t) or (t,) in [-1, 1] as the bytes of a WAV file; what reaches past the range is clipped."""
    samples = x.detach().float().cpu().reshape(-1).clamp(-1, 1).mul(32767).round().to(torch.int16)
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.numpy().astype("<i2").tobytes())
    return data.getvalue()
