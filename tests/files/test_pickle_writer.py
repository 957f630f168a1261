"""The writer against Python's and torch's own: the same bytes."""

import pickle  # noqa: TID251 - only dumps, to compare with
import sys
from collections import OrderedDict

import pytest
import torch

from genvet.files.nvlabs_writer import Tensor, storage_bytes, tensor_value, tree
from genvet.files.pickle_writer import FRAME, Global, Reduce, Writer, dumps

# Python's pickler knows strings by identity and the writer by content, so each string occurs once here.
PLAIN = {
    "none": None,
    "flags": [True, False],
    "ints": (0, 255, 256, 65535, 65536, -1, -(2**31), 2**31, 2**70, -(2**70)),
    "floats": [0.0, -1.5, 1e300],
    "one": ("a",),
    "two": ("b", "c"),
    "three": ("d", "e", "f"),
    "nothing": (),
    "text": "\u00e4\u0000" * 200,
    "set": {7},
    "many": list(range(2500)),
    "map": {i: -i for i in range(2500)},
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_plain_values_have_pythons_own_bytes(protocol):
    value = {k: v for k, v in PLAIN.items() if protocol > 2 or k != "set"}
    assert dumps(value, protocol) == pickle.dumps(value, protocol)


@pytest.mark.parametrize("size", [10, 300, FRAME - 1, FRAME, 3 * FRAME])
def test_long_bytes_leave_the_frame_as_pythons_do(size):
    value = [b"x" * size, "y" * size, 1, b"z" * size]
    assert dumps(value, 4) == pickle.dumps(value, 4)


def test_shared_values_are_written_once():
    inner = [1]
    value = [inner, inner, "text", "text"]
    assert dumps(value) == pickle.dumps(value, 4)
    cycle: list = []
    cycle.append(cycle)
    assert dumps(cycle) == pickle.dumps(cycle, 4)


def test_globals_and_calls():
    assert dumps(Global("collections", "OrderedDict")) == pickle.dumps(OrderedDict, 4)
    assert dumps(Reduce(Global("collections", "OrderedDict"), ())) == pickle.dumps(OrderedDict(), 4)
    assert Writer(2).value(Global("a", "b")).finish() == b"\x80\x02ca\nb\nq\x00."
    with pytest.raises(ValueError):
        Writer(1)
    with pytest.raises(TypeError):
        dumps(object())


@pytest.mark.skipif(sys.byteorder != "little", reason="torch writes the machine's own order")
def test_storages_have_torchs_own_bytes():
    x = torch.arange(5.0)
    with pytest.warns(UserWarning, match="TypedStorage"):
        own = x.storage().__reduce__()[1][0]
    key = next(str(n) for n in [x.untyped_storage()._cdata] if str(n).encode() in own)
    assert storage_bytes(Tensor("float32", (5,), x.numpy().tobytes()), key) == own


def test_a_tree_follows_the_dotted_names():
    t = Tensor("float32", (2, 3), bytes(24))
    assert t.stride == (3, 1)
    root = tree({"a.b.weight": t, "a.w_avg": t}, {"": "G", "a": "A", "a.b": "B"}, source="s")
    assert root.class_name == "G" and root.modules["a"].modules["b"].class_name == "B"
    assert list(root.modules["a"].buffers) == ["w_avg"]
    assert dumps(tensor_value(t, parameter=True)).count(b"_rebuild_parameter") == 1
