"""`genvet convert`: keep the weights, leave everything else behind."""

from __future__ import annotations

from pathlib import Path

from genvet.cli import screen
from genvet.cli.options import DEBUGGING, Debugging


def convert(
    model: Path,
    out: Path,
    /,
    *,
    layout: str | None = None,
    net: str | None = None,
    part: str | None = None,
    debugging: Debugging = DEBUGGING,
) -> int:
    """Write a model's weights as safetensors or ONNX, without running any code from it.

    Parameters
    ----------
    model: Path
        The model file.
    out: Path
        The file to write; its suffix, .safetensors or .onnx, says how.
    layout: str
        For style generators: whose tensor names to use: nvlabs, rosinality or genforce.
    net: str
        The architecture, where the weights leave it open.
    part: str
        The generator to take, where the file holds several.
    """
    from genvet.files.convert import convert as write

    digest = write(model, out, layout=layout, net=net, part=part)
    screen.out().print(f"{out}: tensors sha256:{digest}", soft_wrap=True)
    return 0
