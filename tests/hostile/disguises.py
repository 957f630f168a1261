"""Payloads in files that a scanner takes for something else, or for nothing at all."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from collections.abc import Iterator

from hostile.archives import zipped
from hostile.case import Case, case
from hostile.streams import evil_stream

from genvet.files.pickle_writer import Global, New, Reduce, dumps

MAGIC = 0x1950A86A20F9469CFC6C


def npy(header: str, body: bytes) -> bytes:
    """Version 2, so that a header may be long."""
    return b"\x93NUMPY\2\0" + struct.pack("<I", len(header)) + header.encode() + body


def disguises(marker: str) -> Iterator[Case]:
    yield from _openings(marker)
    yield from _networks(marker)
    yield from _arrays(evil_stream(marker))
    text = f"cos\nsystem\n(Vtouch {marker}\ntR."
    yield case("tar-name", _tar(text), "call.dangerous", advisory="a tar's first name is its first bytes")
    polyglot = _safetensors(b"0" + text.encode())
    yield case("safetensors-and-pickle", polyglot, "call.dangerous", advisory="its length's low byte is UNICODE")
    yield case("zlib", zlib.compress(evil_stream(marker)), "call.dangerous", advisory="joblib's compress=3")
    popen = Reduce(Global("psutil", "Popen"), (("touch", marker),))
    yield case("other-popen", dumps(popen), "call.dangerous", advisory="a class of any package that starts programs")
    fetched = Reduce(Global("torchvision.datasets.mnist", "MNIST"), (marker, True, None, None, True))
    yield case("dataset-made", dumps(fetched), "call.unlisted", advisory="its constructor downloads and unpacks")
    written = {"class_name": "TFOpLambda", "module": "keras.layers", "config": {"function": "io.write_file"}}
    words = {"class_name": "StringLookup", "module": "keras.layers", "config": {"vocabulary": "/etc/passwd"}}
    for name, layer in {"op": written, "vocabulary": words}.items():
        model = {"class_name": "Sequential", "config": {"layers": [layer]}}
        yield case(f"keras-{name}", zipped("config.json", json.dumps(model).encode()), "keras.unlisted")
    settings = {
        "class_name": "Sequential",
        "config": {"layers": [{"module": "os", "class_name": "system", "config": {}}]},
    }
    for encoding in ("utf-8", "utf-16"):
        archive = zipped("config.json", json.dumps(settings).encode(encoding))
        yield case(
            f"keras-alone-{encoding}", archive, "call.dangerous", advisory="Keras makes the model, then looks on"
        )
    resize = Reduce(Global("torch.nn.functional", "interpolate"), (1, 10**12))
    yield case("called-activation", dumps(resize), "call.unlisted", advisory="named in modules, called by none")
    maker = Reduce(Global("numpy.random._pickle", "__generator_ctor"), (10**12, Global("torch", "FloatStorage")))
    yield case("random-maker", dumps(maker), "call.unlisted", advisory="numpy calls the second with the first")
    rebuilt = (Global("torch", "compile"), Global("torch", "Tensor"), (1,), {})
    by_type = Reduce(Global("torch._tensor", "_rebuild_from_type_v2"), rebuilt)
    yield case("rebuilt-by", dumps(by_type), "call.unlisted", advisory="_rebuild_from_type_v2 calls its first argument")


def _networks(marker: str) -> Iterator[Case]:
    """Ways to give TensorFlow's networks a state, whose text `__setstate__` runs; and a text that bytes spell anew."""
    text = f"import os\nos.system('touch {marker}')\ndef f(x): return x\n"
    state = {"version": 5, "build_module_src": text, "build_func_name": "f"}
    network = Global("dnnlib.tflib.network", "Network")
    for name in ("OrderedDict", "Counter", "defaultdict"):
        given = (Global("builtins", "list"),) if name == "defaultdict" else ()
        held = Reduce(Global("collections", name), (*given, state))
        yield case(f"network-with-{name.lower()}", dumps(New(network, (), held)), "source.system")
    yield case("network-elsewhere", dumps(New(Global("dnnlib.tflib", "Network"), (), state)), "source.system")
    for name, arguments in {"__newobj_ex__": ((), {}), "__newobj__": ()}.items():
        made = Reduce(Global("copyreg", name), (network, *arguments), state)
        yield case(f"network-by-{name.strip('_')}", dumps(made), "source.system")
    called = Reduce(network, ("G", "os.system"))
    yield case("network-called", dumps(called), "call.dangerous", advisory="its constructor imports by name")
    hidden = b"# coding: utf-7\n#+AAo-import os\ndef f(x): return x\n"
    odd = New(network, (), state | {"build_module_src": hidden})
    yield case("network-cookie", dumps(odd), "pickle.malformed", advisory="exec(bytes) heeds a coding cookie")
    meta = {"type": "class", "version": 6, "module_src": hidden, "class_name": "f", "state": {}}
    reconstruct = Global("torch_utils.persistence", "_reconstruct_persistent_obj")
    yield case("source-cookie", dumps(Reduce(reconstruct, (meta,))), "pickle.malformed")


def _openings(marker: str) -> Iterator[Case]:
    """CPython takes any opcode first, and no PROTO."""
    payload = f"cos\nsystem\n(Vtouch {marker}\ntR.".encode()
    first = {"true": b"\x88", "set": b"\x8f", "long": b"\x8a\1\1", "text": b"\x8c\1a", "bytes": b"C\1a"}
    for name, opcode in first.items():
        yield case(f"begins-with-{name}", opcode + b"0" + payload, "call.dangerous")
    yield case("begins-with-frame", b"\x95" + struct.pack("<Q", len(payload)) + payload, "call.dangerous")
    long = b"X" + struct.pack("<I", 2 << 20) + b"a" * (2 << 20) + b"0" + payload
    yield case("behind-a-long-text", long, "call.dangerous", advisory="scanners look at the first megabyte")
    old = f"I{MAGIC}\n.I1001\n.}}.".encode()
    yield case("magic-as-text", old + payload + b"].", "call.dangerous", advisory="torch.load compares integers")
    broken = f"c__builtin__\neval\n(Vopen({marker!r}, 'w')\ntR".encode() + b"\xff\xff"
    yield case("broken-python-2", broken, "call.dangerous", advisory="nullifAI, in protocol 0")


def _arrays(evil: bytes) -> Iterator[Case]:
    """Headers that numpy takes for an array of objects, so that it unpickles what follows."""
    usual = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    heads = {
        "size": usual.replace("|O", "O8"),
        "name": usual.replace("|O", "object"),
        "escape": usual.replace("|O", "\\x4f"),
        "quotes": usual.replace("'", '"'),
        "order": "{'shape': (1,), 'fortran_order': False, 'descr': '|O'}\n",
        "record": usual.replace("'|O'", "[('a', '|O')]"),
        "length": usual + " " * 80_000,
    }
    for name, head in heads.items():
        yield case(f"npy-{name}", npy(head, evil), "call.dangerous", advisory="numpy.load(allow_pickle=True)")


def _tar(name: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return out.getvalue()


def _safetensors(body: bytes) -> bytes:
    """A valid file whose first byte is V: a loader of pickles takes all up to the header's line feed as one text."""
    header = f'{{"w":{{"dtype":"U8","shape":[{len(body)}],"data_offsets":[0,{len(body)}]}}}}'.encode()
    size = ord("V") + 256
    return struct.pack("<Q", size) + header.ljust(size - 1) + b"\n" + body
