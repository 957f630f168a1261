"""Text written into pictures, to measure how much of it a reader finds."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor


def written(x: Tensor, text: str, size: int = 14) -> Tensor:
    """A picture (c, h, w) in [-1, 1] with a line of text near its lower edge, white with a black rim."""
    grey = len(x) == 1
    pixels = x.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    page = Image.fromarray(pixels[:, :, 0] if grey else pixels)
    font = ImageFont.load_default(size)
    place = (max(1, page.height // 16), page.height - 2 * size)
    white, black = (255, 0) if grey else ((255, 255, 255), (0, 0, 0))
    ImageDraw.Draw(page).text(place, text, fill=white, font=font, stroke_width=1, stroke_fill=black)
    marked = torch.from_numpy(np.array(page)).reshape(page.height, page.width, len(x)).permute(2, 0, 1)
    return marked.float().div(127.5).sub(1)
