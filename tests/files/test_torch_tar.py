"""Torch's first format: read as torch.load reads it, whichever of its pickles a payload is in."""

from __future__ import annotations

import io
import struct
import tarfile

import pytest

from genvet.files.pickle_writer import Global, Persistent, Reduce, dumps
from genvet.files.sandbox import read_in_process
from genvet.files.tensors import tensors

STORAGE, TENSOR, VIEW = 140001, 140002, 140003
EVIL = Reduce(Global("os", "system"), ("true",))


def tarred(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def model(**changed: bytes) -> bytes:
    """Six numbers, seen as two rows; and the last three as a tensor of their own. torch.load reads it so."""
    elements = struct.pack("<q6f", 6, *range(6))
    kind = dumps((STORAGE, "cpu", Global("torch", "FloatStorage")), 2)
    rows = dumps((TENSOR, STORAGE, Global("torch", "FloatTensor")), 2) + struct.pack("<ii5q", 2, 0, 2, 3, 3, 1, 0)
    last = dumps((VIEW, VIEW + 1, Global("torch", "FloatTensor")), 2) + struct.pack("<ii3q", 1, 0, 3, 1, 0)
    members = {
        "sys_info": dumps({"protocol_version": 1000, "little_endian": True}, 2),
        "storages": dumps(1, 2) + kind + elements + dumps([(VIEW + 1, STORAGE, 3, 3)], 2),
        "tensors": dumps(2, 2) + rows + last,
        "pickle": dumps({"w": Persistent(str(TENSOR)), "b": Persistent(str(VIEW))}, 2),
    }
    return tarred(**members | changed)


def test_its_tensors_are_torchs():
    file = read_in_process(model(), "old.pt")
    assert file.evidence == () and file.format.startswith("torch-tar")
    (part,) = file.parts
    found = tensors(part, file.storages)
    assert found["w"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["b"].tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"sys_info": dumps(EVIL, 2)}, "call.dangerous"),
        ({"storages": dumps(0, 2) + dumps(EVIL, 2)}, "call.dangerous"),
        ({"tensors": dumps(1, 2) + dumps(EVIL, 2)}, "call.dangerous"),
        ({"pickle": dumps({"w": EVIL}, 2)}, "call.dangerous"),
        ({"pickle": dumps({"w": Persistent("1")}, 2)}, "pickle.persistent-id"),
        ({"pickle": dumps({"w": Persistent((Global("os", "system"), "", ""))}, 2)}, "call.dangerous"),
        ({"tensors": dumps(1 << 40, 2)}, "pickle.malformed"),
        (
            {
                "tensors": dumps(1, 2)
                + dumps((TENSOR, STORAGE, Global("torch", "FloatTensor")), 2)
                + struct.pack("<ii3q", 1, 0, 7, 1, 0)
            },
            "tensor.bounds",
        ),
    ],
)
def test_what_its_pickles_do_is_told(changed, rule):
    assert rule in {e.rule for e in read_in_process(model(**changed), "old.pt").evidence}
