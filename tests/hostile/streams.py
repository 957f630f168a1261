"""Pickle streams written by hand, each with one trick; the payload would write the marker file."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from hostile.case import Case, case

from genvet.files.pickle_writer import Global, New, Persistent, Reduce, dumps


def system() -> Global:
    return Global("os", "system")


def evil_stream(marker: str, protocol: int = 4) -> bytes:
    return dumps(Reduce(system(), (f"touch {marker}",)), protocol)


def text(value: str) -> bytes:
    """SHORT_BINUNICODE."""
    return b"\x8c" + bytes([len(value.encode())]) + value.encode()


def streams(marker: str) -> Iterator[Case]:
    """Every opcode-level trick that a scanner was known to miss, and a few of our own."""
    touch = f"touch {marker}"
    head = b"\x80\x04"
    yield case("reduce", evil_stream(marker), "call.dangerous")
    yield case("protocol-2", evil_stream(marker, 2), "call.dangerous")
    yield case("protocol-0", f"cos\nsystem\n(V{touch}\ntR.".encode(), "call.dangerous")
    inst = f"(V{touch}\nios\nsystem\n.".encode()
    yield case("inst", inst, "call.dangerous", "pickle.opcode")
    obj = head + b"(cos\nsystem\n" + text(touch) + b"o."
    yield case("obj", obj, "call.dangerous", "pickle.opcode")
    popped = head + b"(cos\nsystem\n" + text(touch) + b"o0N."
    yield case("obj-hidden-by-pop", popped, "call.dangerous", "pickle.opcode", advisory="fickling GHSA-mxhj")
    yield case("ext1", head + b"\x82\x01.", "pickle.opcode", advisory="copyreg extension registry")
    yield case("ext2", head + b"\x83\x01\x02.", "pickle.opcode")
    yield case("ext4", head + b"\x84\x01\x02\x03\x04.", "pickle.opcode")
    yield case("newobj", dumps(New(Global("subprocess", "Popen"), (touch,))), "call.dangerous")
    yield case("newobj-ex", head + b"csubprocess\nPopen\n" + text(touch) + b"\x85}\x92.", "call.dangerous")
    yield case("build", dumps(Reduce(Global("builtins", "object"), (), {"__setstate__": system()})), "call.dangerous")
    yield case("dotted", head + text("builtins") + text("eval.__call__") + b"\x93.", "call.dangerous")
    chain = head + text("builtins") + text("print.__class__.__base__.__subclasses__") + b"\x93)R."
    yield case("dotted-chain", chain, "call.dangerous", advisory="modelscan #338")
    memo = head + text("os") + b"\x940" + text("system") + b"\x940h\x00h\x01\x93" + text(touch) + b"\x85R."
    yield case("names-by-memo", memo, "call.dangerous")
    swap = head + text("os") + b"q\x05" + text("math") + b"q\x050h\x050N."
    yield case("memo-twice", swap, "pickle.memo")
    yield case("memo-unknown", head + b"h\x63.", "pickle.memo")
    yield case("name-no-text", head + b"K\x01K\x02\x93.", "pickle.memo")
    builds = dumps(Reduce(Global("collections", "OrderedDict"), ([("a", Reduce(system(), (touch,)))],)))
    yield case("ordered-dict", builds, "call.dangerous", advisory="modelaudit exploit6")
    attribute = Reduce(Global("builtins", "getattr"), (Global("os", "path"), "os"))
    yield case("getattr", dumps(attribute), "call.dangerous")
    resolve = Reduce(Global("pkgutil", "resolve_name"), ("os:system",))
    yield case("resolve-name", dumps(Reduce(resolve, (touch,))), "call.dangerous", advisory="GHSA-vvpj")
    yield case(
        "pip", dumps(Reduce(Global("pip", "main"), (["install", "x"],))), "call.dangerous", advisory="CVE-2025-1716"
    )
    submodule = Global("asyncio.unix_events", "_UnixSubprocessTransport._start")
    yield case("submodule", dumps(Reduce(submodule, ())), "call.dangerous", advisory="CVE-2025-10157")
    magic = Reduce(Global("builtins", "eval"), (f"open({marker!r}, 'w') and 0x1950a86a20f9469cfc6c",))
    yield case("magic-number", dumps(magic, 2) + dumps(1001, 2), "call.dangerous", advisory="pytorch_magic_bypass.pt")
    yield case("persistent-id", dumps(Persistent("x")), "pickle.persistent-id")
    yield case("persistent-text", b"\x80\x02Pevil\n.", "pickle.persistent-id")
    yield case(
        "unlisted",
        dumps(Reduce(Global("torch.nn.modules.module", "register_module_forward_hook"), ())),
        "call.unlisted",
    )
    yield case("buffer", head + b"\x97.", "pickle.opcode")
    yield case("hidden-in-bytes", dumps({"weights": evil_stream(marker)}), "pickle.nested")
    yield from _bombs(head)


def _bombs(head: bytes) -> Iterator[Case]:
    doubling = head + b"]\x94(Ne"
    doubling += b"".join(b"](" + b"h" + bytes([n]) + b"h" + bytes([n]) + b"e\x94" for n in range(60))
    yield case("doubling", doubling + b".", "pickle.limit", advisory="billion laughs")
    yield case("deep", head + b"]" * 200_000 + b"a" * 199_999 + b".", "pickle.limit")
    yield case("long-memo", head + b"Nr\xff\xff\xff\x7f.", "pickle.limit")
    yield case("huge-integer", head + b"\x8b" + struct.pack("<I", 1 << 30) + b"\x01.", "pickle.limit")
    yield case("unhashable", head + b"}]Ns.", "pickle.malformed")
