"""The way to the one generator of a file that a command works on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genvet.cli.options import Opening

if TYPE_CHECKING:
    from genvet.core.generator import Generator
    from genvet.core.modelfile import ModelFile


def opened(path: Path, common: Opening) -> tuple[ModelFile, Generator]:
    """The file as it was read, and the generator asked for, where it is to run."""
    from genvet.files.load import load

    file = load(path, net=common.net, part=common.part)
    return file, placed(file, common)


def placed(file: ModelFile, common: Opening) -> Generator:
    """The file's generator, where it is to run."""
    from genvet.files.convert import averaged

    generator = averaged(file)
    generator.to(common.device)
    return generator
