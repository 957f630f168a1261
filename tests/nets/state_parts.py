"""State dicts as parts, as the readers would give them; and the real files, read by torch for comparison."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from genvet.core.modelfile import Part, TensorSpec

DATA = Path(os.environ.get("GENVET_TEST_DATA", Path(__file__).parents[3] / "shared/data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")


def part_of(state: Mapping[str, Tensor], **changes) -> Part:
    def spec(t: Tensor) -> TensorSpec:
        name = str(t.dtype).removeprefix("torch.")
        return TensorSpec(dtype=name, shape=tuple(t.shape), stride=tuple(t.stride()), offset=0, storage=0)

    specs = {key: spec(t) for key, t in state.items()}
    return Part(**{"name": "", "kind": "state", "tensors": specs, **changes})


def real(path: str) -> dict[str, Tensor]:
    return torch.load(DATA / path, weights_only=True, map_location="cpu")  # noqa: TID251
