"""Files are replaced in one step: a reader sees the old bytes or the new ones, never half of either."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from genvet.core.errors import BadInput
from genvet.core.printable import printable

if TYPE_CHECKING:
    from torch import Tensor


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write a whole file, making its folder; raises BadInput where that cannot be."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).chmod(0o666 & ~_umask())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BadInput(f"cannot write {printable(path)}: {printable(error.strerror or error)}") from None
    return path


def write_tensors(tensors: Mapping[str, Tensor], path: str | Path, about: Mapping[str, str]) -> Path:
    """Tensors as one safetensors file, with this metadata."""
    import torch  # late: plain files need no torch
    from safetensors.torch import save

    plain = {key: t.detach().cpu().clone(memory_format=torch.contiguous_format) for key, t in tensors.items()}
    return write_bytes(path, save(plain, dict(about)))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
