"""The pickle machine: plain values come back equal, everything else is told with its place, nothing is run."""

from __future__ import annotations

import pickle  # noqa: TID251 (only to make benign fixtures)
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genvet.core.severity import worst
from genvet.files.pickles import machine
from genvet.files.pickles.inert import Record
from genvet.files.reading import Reading, Stop

SUSPICIOUS = Path(__file__).parents[2] / "../shared/data/suspicious"
BENIGN = {"benign0_v0.pkl", "benign0_v3.pkl", "benign0_v4.pkl", "safe_large_model.pkl", "safe_model_with_binary.pkl"}
ELSEWHERE = {"new_pytorch_model.bin", "pytorch_model.bin", "not_a_pickle.bin"}  # torch files, and no pickle at all


def read(raw: bytes) -> tuple[object, Reading]:
    reading = Reading()
    return machine.run(memoryview(raw), reading, ""), reading


def told(raw: bytes) -> set[str]:
    """The rules that a stream breaks, the one that stops the reader among them."""
    reading = Reading()
    stopped = set()
    try:
        machine.run(memoryview(raw), reading, "")
    except Stop as stop:
        stopped = {stop.rule}
    return {e.rule for e in reading.evidence} | stopped


def plain(value: object) -> object:
    """Views of bytes as bytes, to compare."""
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, (list, tuple)):
        return type(value)(plain(v) for v in value)
    return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else value


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
KEYS = st.text() | st.integers(-(2**59), 2**59) | st.binary() | st.tuples(st.text(), st.integers())
VALUES = st.recursive(
    SCALARS,
    lambda v: st.lists(v) | st.dictionaries(KEYS, v) | st.lists(v).map(tuple) | st.sets(KEYS) | st.frozensets(KEYS),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(VALUES, st.integers(0, 5))
def test_plain_values_come_back_equal(value, protocol):
    found, reading = read(pickle.dumps(value, protocol))
    assert plain(found) == value
    assert type(found) is type(value)
    assert not reading.evidence


@pytest.mark.parametrize("protocol", range(6))
def test_shared_and_cyclic_values(protocol):
    shared, cycle = [1], {}
    cycle["self"] = cycle
    cycle["two"] = [shared, shared]
    found, reading = read(pickle.dumps(cycle, protocol))
    assert found["self"] is found
    assert found["two"][0] is found["two"][1]
    assert not reading.evidence


def test_long_bytes_are_views_of_the_file():
    raw = pickle.dumps({"a": bytes(1_000_000)}, 4)
    found, _ = read(raw)
    assert isinstance(found["a"], memoryview) and found["a"].obj is raw and found["a"].readonly


class Point:
    """A class of a package that the reader does not know."""

    def __init__(self) -> None:
        self.x = 3


@pytest.mark.parametrize("protocol", range(6))
def test_an_object_of_an_unknown_class_is_a_record(protocol):
    found, reading = read(pickle.dumps(Point(), protocol))
    assert isinstance(found, Record) and found.root.name == "Point" and found.state == {"x": 3}
    assert {e.rule for e in reading.evidence} == {"call.unknown-class"}


def stack_global(module: str, name: str) -> bytes:
    return b"".join(b"\x8c" + bytes([len(s)]) + s.encode() for s in (module, name)) + b"\x93"


def global_(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


CALL = b"(S'x'\ntR."
SYSTEM = global_("os", "system") + CALL
REFUSED = {
    "the system": (SYSTEM, "call.dangerous"),
    "off the list": (global_("textwrap", "dedent") + CALL, "call.unlisted"),
    "imported only": (global_("textwrap", "dedent") + b".", "call.unlisted"),
    "an unknown function": (global_("mypackage", "start") + CALL, "call.unlisted"),
    "a storage that is called": (global_("torch", "FloatStorage") + b"(I999999999999\ntR.", "call.unlisted"),
    "bytes of a terabyte": (global_("builtins", "bytearray") + b"(I999999999999\ntR.", "pickle.malformed"),
    "a dotted global": (stack_global("builtins", "print.__class__.mro") + b")R.", "call.dangerous"),
    "a dotted global of a listed module": (
        stack_global("collections", "OrderedDict.update") + b")R.",
        "call.unlisted",
    ),
    "what a constructor gave is called": (global_("collections", "OrderedDict") + b")R)R.", "call.unlisted"),
    "hidden by POP": (SYSTEM[:-1] + b"0N.", "call.dangerous"),
    "INST": (b"(S'x'\nios\nsystem\n.", "pickle.opcode"),
    "OBJ": (b"(" + global_("os", "system") + b"S'x'\no.", "pickle.opcode"),
    "EXT1": (b"\x80\x02\x82\x01)R.", "pickle.opcode"),
    "EXT4": (b"\x80\x02\x84\x01\0\0\0)R.", "pickle.opcode"),
    "NEXT_BUFFER": (b"\x80\x05\x97.", "pickle.opcode"),
    "BUILD on a class": (global_("collections", "OrderedDict") + b"}b.", "pickle.opcode"),
    "PERSID": (b"Pabc\n.", "pickle.persistent-id"),
    "BINPERSID": (b"\x80\x02X\x01\0\0\0aQ.", "pickle.persistent-id"),
    "a name that is no text": (b"\x80\x04K\x01\x8c\x06system\x93.", "pickle.memo"),
    "an unknown memo entry": (b"\x80\x04h\x07.", "pickle.memo"),
    "a memo entry overwritten": (b"Vos\np0\n0Vtorch\np0\n0N.", "pickle.memo"),
    "a huge memo index": (b"\x80\x02Nr\xff\xff\xff\x7f.", "pickle.limit"),
    "data after STOP": (b"N.N.", "pickle.trailing"),
    "a payload after STOP": (b"N." + SYSTEM, "call.dangerous"),
    "a payload before garbage": (SYSTEM[:-1] + b"\xff\xff\xff", "call.dangerous"),
    "a payload behind garbage": (b"\x80\x04\xff\xff" + SYSTEM, "call.dangerous"),
    "a payload of protocol 4 behind garbage": (b"\x80\x04\xff\x8c\x02os\x94\x8c\x06system\x94\x93.", "call.dangerous"),
    "a frame too short": (b"\x80\x04\x95" + struct.pack("<Q", 3) + b"\x8c\x05hello.", "pickle.frame"),
    "a frame too long": (b"\x80\x04\x95" + struct.pack("<Q", 9) + b"N.", "pickle.frame"),
    "a frame in a frame": (b"\x80\x04" + (b"\x95" + struct.pack("<Q", 11)) * 2 + b"N.", "pickle.frame"),
    "a payload where CPython goes on after such a frame": (
        b"\x80\x04\x95" + struct.pack("<Q", 3) + b"G\0\0" + bytes(8) + b"cos\nsystem\nK\x01\x85R.",
        "call.dangerous",
    ),
    "a number that loaders read differently": (b"I010\n.", "pickle.malformed"),
    "an empty stack": (b"\x80\x04.", "pickle.malformed"),
    "no MARK": (b"\x80\x04e.", "pickle.malformed"),
    "values left over": (b"NN.", "pickle.malformed"),
    "an unknown opcode": (b"\x80\x04\x01.", "pickle.malformed"),
    "protocol 9": (b"\x80\x09N.", "pickle.malformed"),
    "a list as key": (b"}]Ns.", "pickle.malformed"),
    "a call without a tuple": (global_("os", "system") + b"]R.", "pickle.malformed"),
    "deep tuples as a key": (b"})" + b"\x85" * 100_000 + b"Ns.", "pickle.limit"),
    "nested too deep": (b"]" * 100_000 + b"a" * 99_999 + b".", "pickle.limit"),
    "a billion laughs": (b"]" + b"".join(b"2\x86" for _ in range(40)) + b".", "pickle.limit"),
    "memory": (b"]" * 3_000_000 + b".", "pickle.limit"),
    "an integer of a megabyte": (b"\x80\x02\x8b\0\0\x10\0" + bytes(1 << 20) + b".", "pickle.limit"),
    "decimals without end": (b"L" + b"9" * 5000 + b"L\n.", "pickle.limit"),
    "a pickle in bytes": (pickle.dumps({"w": SYSTEM}, 4), "pickle.nested"),
    "a pickle in bytes, behind a harmless one": (pickle.dumps({"w": b"\x80\x02N." + SYSTEM}, 4), "pickle.nested"),
    "a pickle in text": (pickle.dumps({"w": SYSTEM.decode()}, 4), "pickle.nested"),
    "a pickle in hexadecimal": (pickle.dumps({"w": pickle.dumps(print, 4).hex()}, 4), "pickle.nested"),
    "a pickle in old bytes": (pickle.dumps({"w": pickle.dumps(print, 4)}, 2), "pickle.nested"),
    "a storage pickle nobody asked for": (
        global_("torch.storage", "_load_from_bytes") + b"C" + bytes([len(SYSTEM)]) + SYSTEM + b"\x85R.",
        "pickle.nested",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_told(name):
    raw, rule = REFUSED[name]
    assert rule in told(raw)


@pytest.mark.parametrize("cut", [3, 20, 60, 100])
def test_a_stream_that_only_ends_early_is_truncated(cut):
    raw = pickle.dumps({"name": "decoder", "sizes": list(range(60)), "rate": 0.5}, 4)
    assert told(raw[:cut]) == {"file.truncated"}


TOKENS = [raw for raw, _ in REFUSED.values() if len(raw) < 200]
TOKENS += [bytes([c]) for c in b".0(t)]}Rbeusao\x85\x86\x8f\x90\x91\x93\x94"] + [
    b"K\x01",
    b"h\x00",
    b"\x95" + bytes(8),
    b"q\x02",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(TOKENS) | st.binary(max_size=6), max_size=30), st.integers(0, 60))
def test_any_bytes_at_all_end_in_a_value_or_a_stop(tokens, cut):
    told(b"".join(tokens)[cut:])


def test_calls_come_with_offsets_and_arguments():
    reading = Reading()
    machine.run(memoryview(b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R."), reading, "data.pkl")
    (call,) = reading.calls
    assert (call.module, call.name, call.called, call.standing) == ("posix", "system", True, "dangerous")
    assert (call.offset, call.arguments, call.place) == (17, "('ls',)", "data.pkl")
    assert reading.evidence[0].offset == 17


@pytest.mark.skipif(not SUSPICIOUS.exists(), reason="../shared/data is not here")
@pytest.mark.parametrize(
    "path",
    [p for p in sorted(SUSPICIOUS.glob("*/*")) if p.suffix in (".pkl", ".pickle", ".bin") and p.name not in ELSEWHERE],
    ids=lambda p: p.name,
)
def test_fixtures_of_other_scanners(path):
    reading = Reading()
    try:
        machine.run(memoryview(path.read_bytes()), reading, "")
    except Stop as stop:
        reading.note(stop.rule, stop.message)
    if path.name in BENIGN:
        assert not reading.evidence
    else:
        assert worst(e.severity for e in reading.evidence).rank >= 3, reading.evidence
