"""What can be read in a picture: PP-OCR's small networks, which come inside RapidOCR's package."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from genvet.core.errors import Unsupported
from genvet.core.printable import printable
from genvet.nets.face_finder import Box

NAME = "RapidOCR's PP-OCR networks"
MODULE, EXTRA = "rapidocr", "audit"
LEAST, LONGEST = 160, 640
"""Pixels that the longer side has at least and at most while text is looked for."""


class Line(NamedTuple):
    """Some text, and where it stands."""

    text: str
    score: float
    """How sure the reader is, 0 to 1."""
    box: Box


def lines(x: Tensor, sure: float = 0.7) -> list[Line]:
    """The lines of text in one picture (c, h, w) in [-1, 1], printable; those that it is less `sure` of are left out.

    Raises Unsupported where the extra is not installed.
    """
    height, width = x.shape[1:]
    scale = min(max(LEAST, max(height, width)), LONGEST) / max(height, width)
    size = (max(8, round(height * scale)), max(8, round(width * scale)))
    coloured = x.float().clamp(-1, 1).add(1).mul(127.5).expand(3, -1, -1)[None]
    sized = F.interpolate(coloured, size, mode="bilinear", antialias=True)[0].round()
    answer = _reader()(sized.permute(1, 2, 0).numpy().astype(np.uint8))
    texts, scores, boxes = (getattr(answer, name, None) for name in ("txts", "scores", "boxes"))
    if not texts:
        return []
    found = [
        Line(printable(text, 200), float(score), _box(np.asarray(box) / scale, height, width))
        for text, score, box in zip(texts, scores, boxes, strict=True)
    ]
    return [line for line in found if line.score >= sure and sum(c.isalnum() for c in line.text) >= 2]


def _box(corners: np.ndarray[Any, Any], height: int, width: int) -> Box:
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    return Box(max(0, int(left)), max(0, int(top)), min(width, int(right) + 1), min(height, int(bottom) + 1))


@cache
def _reader() -> Any:
    try:
        from rapidocr import RapidOCR
    except ImportError:
        raise Unsupported("text is not looked for", hint=f"pip install 'genvet[{EXTRA}]'") from None
    spec = find_spec(MODULE)
    folder = Path(spec.origin or "").parent / "models" if spec else Path()
    # Named here, since RapidOCR would fetch what it does not find.
    networks = {part: sorted(folder.glob(f"*_{part}_*.onnx")) for part in ("det", "rec")}
    if not all(networks.values()):
        raise Unsupported("this RapidOCR comes without its networks", hint=f"pip install 'genvet[{EXTRA}]'")
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": False,
            "Det.model_path": str(networks["det"][0]),
            "Rec.model_path": str(networks["rec"][0]),
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
