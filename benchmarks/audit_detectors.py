"""How many planted faces and texts the audit's detectors find, and how often they see some where there are none.

python benchmarks/audit_detectors.py ../shared/data benchmarks/audit/detectors.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from genvet.files.dataset import read_dataset
from genvet.files.images import load_images
from genvet.maths.statistics import clopper_pearson
from genvet.nets import face_finder, text_reader
from genvet.nets.planted_text import written

TEXTS = 40


def rate(hits: Sequence[bool]) -> dict[str, object]:
    low, high = clopper_pearson(sum(hits), len(hits))
    return {"found": sum(hits), "n": len(hits), "low": round(low, 4), "high": round(high, 4)}


def faces(x: Tensor, agreeing: int = face_finder.AGREEING) -> dict[str, object]:
    return rate([bool(face_finder.faces(one, agreeing)) for one in x])


def frontal_light(data: Path) -> Tensor:
    """Extended Yale B at lights near the axis, with the border that its crops lack."""
    whole = read_dataset(data / "faces_yaleb/yaleb_cropped_64.npz")
    sheet = whole.sheets[0]
    near = [
        i
        for i, (a, e) in enumerate(zip(sheet.column("azimuth"), sheet.column("elevation"), strict=True))
        if abs(float(a)) <= 20 and abs(float(e)) <= 20
    ]
    return torch.stack([whole.whole(i) for i in near])


def main(data: Path, out: Path) -> None:
    found: dict[str, dict[str, object]] = {}
    for name, told in rates(data):
        found[name] = told
        print(name, told, flush=True)
        out.write_text(json.dumps(found, indent=1) + "\n")


def rates(data: Path) -> Iterator[tuple[str, dict[str, object]]]:
    orl = load_images(data / "faces_orl/orl_faces.npz").x
    garments = data / "fashion_mnist/t10k-images-idx3-ubyte.gz"
    yield "faces: ORL", faces(orl)
    yield "faces: Omniglot (none there)", faces(load_images(data / "omniglot/images_background_small1.zip").x)
    yield "faces: Fashion-MNIST (none there)", faces(load_images(f"{garments}#0:1000").x)
    yield "faces: CIFAR-10 (few there)", faces(load_images(data / "cifar10/cifar10_lossless_train4000.npz#0:1000").x)
    yield "faces: ORL, one window is enough", faces(orl, face_finder.EAGER)
    tiny = load_images(data / "cifar10/cifar10_lossless_train4000.npz#0:1000").x
    yield "faces: CIFAR-10, one window is enough", faces(tiny, face_finder.EAGER)
    yale = frontal_light(data)
    yield "faces: Extended Yale B, light within 20 degrees", faces(yale)
    yield "faces: the same in a margin of 16 pixels", faces(F.pad(yale, (16,) * 4, value=-0.5))
    some = orl[:: len(orl) // TEXTS][:TEXTS]
    for size in (10, 14, 20):
        marked = torch.stack([written(x, f"Anna {i} 4711", size) for i, x in enumerate(some)])
        yield f"text: a line of {size} pixels on ORL", rate([bool(text_reader.lines(x)) for x in marked])
    yield "text: ORL (none there)", rate([bool(text_reader.lines(x)) for x in some])
    yield (
        "text: Fashion-MNIST (brands at most)",
        rate([bool(text_reader.lines(x)) for x in load_images(f"{garments}#0:{TEXTS}").x]),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
