"""Honest and unlike previews: how far each is from its picture, for the threshold of `data.metadata`.

    python benchmarks/audit_previews.py ../shared/data benchmarks/audit/previews.json

Honest ones are made from the picture by four filters, at four JPEG qualities, with bars and without. Unlike ones are
made from a picture of which a strip was then cropped, or a part blurred or covered.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps

from genvet.files.dataset import UNLIKE
from genvet.maths.previews import unlikeness
from genvet.maths.statistics import clopper_pearson

FILTERS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
QUALITIES = (50, 65, 80, 95)


def pictures(data: Path) -> Iterator[Image.Image]:
    """Faces, and grids of coloured pictures: smooth ones, and ones of many edges."""
    faces = np.load(data / "faces_orl/orl_faces.npz")["images"]
    for face in faces[::8]:
        yield Image.fromarray(face).resize((368, 448), Image.Resampling.BICUBIC).convert("RGB")
    rng = np.random.default_rng(0)
    for _ in range(40):
        tiles = faces[rng.choice(len(faces), 12)].reshape(3, 4, 112, 92).transpose(0, 2, 1, 3).reshape(336, 368)
        yield Image.fromarray(tiles).convert("RGB")


def packed(x: Image.Image, quality: int) -> torch.Tensor:
    data = io.BytesIO()
    x.save(data, "JPEG", quality=quality)
    return tensor(Image.open(data).convert("RGB"))


def tensor(x: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(x)).permute(2, 0, 1)


def small(x: Image.Image, filter_: Image.Resampling) -> Image.Image:
    return x.resize((max(1, round(160 * x.width / x.height)), 160), filter_)


def main(data: Path, out: Path) -> None:
    honest, unlike = [], {"cropped a quarter": [], "cropped a tenth": [], "blurred a third": [], "covered a fifth": []}
    for i, x in enumerate(pictures(data)):
        filter_, quality = FILTERS[i % 4], QUALITIES[i // 4 % 4]
        before = small(x, filter_)
        shown = ImageOps.pad(before, (160, 160)) if i % 3 == 0 else before
        honest.append(unlikeness(tensor(x), packed(shown, quality)))
        w, h = x.size
        for name, share in (("cropped a quarter", 4), ("cropped a tenth", 10)):
            after = x.crop((0, 0, w, h - h // share))
            unlike[name].append(unlikeness(tensor(after), packed(shown, quality)))
        for name, part in (("blurred a third", 3), ("covered a fifth", 5)):
            after, box = x.copy(), (w // 4, h // 4, w // 4 + w // part, h // 4 + h // part)
            region = after.crop(box)
            region = region.filter(ImageFilter.GaussianBlur(16)) if part == 3 else Image.new("RGB", region.size)
            after.paste(region, box)
            unlike[name].append(unlikeness(tensor(after), packed(shown, quality)))
    found = {"threshold": UNLIKE, "honest": told(honest, above=True)}
    found |= {name: told(values, above=True) for name, values in unlike.items()}
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def told(values: list[float], above: bool) -> dict[str, object]:
    hits = sum(v > UNLIKE for v in values)
    low, high = clopper_pearson(hits, len(values))
    ordered = sorted(values)
    rate = {"above": hits, "n": len(values), "low": round(low, 4), "high": round(high, 4)}
    return {
        **rate,
        "least": round(ordered[0], 2),
        "median": round(ordered[len(values) // 2], 2),
        "most": round(ordered[-1], 2),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
