"""Where a network runs."""

from __future__ import annotations

import torch
from torch import nn

from genvet.core.errors import BadInput
from genvet.core.printable import printable


def move(module: nn.Module, device: str) -> None:
    """Move a network to `cpu`, `cuda`, or by `auto` to a GPU where there is one; raises BadInput otherwise."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        module.to(device)
    except (RuntimeError, AssertionError) as error:
        got = printable(error, 100)
        raise BadInput(f"there is no device {device!r} here", expected="auto, cpu or cuda", got=got) from None
