"""The reading child: what it may not do, and that its end, however it comes, is evidence and never a crash."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from genvet.core.errors import BadInput, Unsupported
from genvet.core.modelfile import ModelFile
from genvet.files import answer, sandbox

HOSTILE = b"\x80\x02cos\nsystem\nU\x04trueq\x00\x85R."


def rules(file: ModelFile) -> set[str]:
    return {e.rule for e in file.evidence}


def test_child_and_process_find_the_same(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(30, 50), "b": torch.arange(7)}
    torch.save(tensors, tmp_path / "m.pt")
    for data in (save(tensors), (tmp_path / "m.pt").read_bytes(), HOSTILE):
        child, own = sandbox.read_in_child(data, "m"), sandbox.read_in_process(data, "m")
        assert (child.format, child.evidence, child.calls, child.parts) == (
            own.format,
            own.evidence,
            own.calls,
            own.parts,
        )
        assert [bytes(s) for s in child.storages] == [bytes(s) for s in own.storages]
        assert child.sha256 == own.sha256 and child.size == len(data)


def test_storages_are_slices_of_what_the_parent_holds() -> None:
    data = save({"a": torch.randn(1000)})
    (storage,) = sandbox.read_in_child(data, "m").storages
    assert storage.obj is data


def test_unpacked_storages_come_back(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "m.npz"
    np.savez_compressed(path, a=np.arange(100_000), b=np.ones(3, ">f4"))
    file = sandbox.read_in_child(path.read_bytes(), "m")
    (part,) = file.parts
    assert np.array_equal(np.frombuffer(file.storages[part.tensors["a"].storage], np.int64), np.arange(100_000))
    assert np.array_equal(np.frombuffer(file.storages[part.tensors["b"].storage], np.float32), np.ones(3))


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"hello world\n", "plain text"), (b"<!DOCTYPE html><html>", "an HTML page"), (b'{"a": 1}', "a JSON text"),
     (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "a PNG image"), (b"\x7fELF" + b"\0" * 60, "an ELF program")],
)  # fmt: skip
def test_no_model_at_all(content: bytes, found: str) -> None:
    with pytest.raises(BadInput, match=found):
        sandbox.read_in_child(content, "m")


def test_a_missing_extra_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps({"missing": "install genvet[keras]"}).encode()
    monkeypatch.setattr(sandbox, "_ask", lambda *args: (text, [], ""))
    with pytest.raises(Unsupported) as caught:
        sandbox.read_in_child(b"x", "m")
    assert caught.value.hint == "install genvet[keras]"


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    for path, what in ((tmp_path, "folder"), (tmp_path / "no", "No such file"), (tmp_path / "empty", "empty"),
                       (tmp_path / "fifo", "no regular file"), (Path("/dev/zero"), "no regular file")):  # fmt: skip
        with pytest.raises(BadInput, match=what):
            sandbox.file_bytes(path)
    (tmp_path / "big").write_bytes(b"x" * 100)
    with pytest.raises(BadInput, match="too large"):
        sandbox.file_bytes(tmp_path / "big", largest=99)


FORBIDDEN = [
    "import socket; socket.socket()",
    "socket.socket()",
    "os.system('true')",
    "subprocess.run(['true'])",
    "os.fork()",
    "os.execv('/bin/true', ['true'])",
    "open('/tmp/genvet-canary', 'w')",
    "open('/etc/passwd')",
    "os.remove('/tmp/genvet-canary')",
    "import ftplib",
    "exec('1')",
    "eval('1')",
    "ctypes.CDLL(None)",
    "os.mkdir('/tmp/genvet-canary')",
    "os.kill(os.getppid(), 0)",
]


@pytest.mark.parametrize("act", FORBIDDEN)
def test_a_sealed_process_can_do_nothing(act: str) -> None:
    """Each of these works before the seal (that it is reached proves so for the others) and not behind it."""
    program = f"""
        import ctypes, os, socket, subprocess, sys
        from genvet.files import limits
        def act():
            {act}
        limits.confine()
        limits.seal()
        try:
            act()
        except PermissionError as error:
            sys.stdout.write(str(error))
    """
    done = subprocess.run([sys.executable, "-I", "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert "may not do this" in done.stdout, done.stderr


def test_the_limit_on_memory_follows_the_file() -> None:
    program = """
        import sys
        from genvet.files import limits
        reading = limits.Metered(1_000_000)
        limits.confine()
        try:
            bytearray(200 << 20)
        except MemoryError:
            reading.unpack(60 << 20)
            bytearray(200 << 20)
            sys.exit(7)
        sys.exit(8)
    """
    command = [sys.executable, "-I", "-c", textwrap.dedent(program)]
    assert subprocess.run(command).returncode == 7, "the limit follows what the file declares"


def test_what_was_found_before_the_time_was_up_is_told() -> None:
    program = """
        import os
        from genvet.files import child, formats, limits
        def spin(data, reading):
            reading.note("call.dangerous", "found before")
            while True:
                pass
        formats.read_bytes = spin
        reading = limits.Metered(100)
        limits.confine()
        limits.seal()
        head, _ = child._answer(bytearray(100), reading, lambda buffer: 0)
        os.write(1, head[8:])
    """
    done = subprocess.run([sys.executable, "-I", "-c", textwrap.dedent(program)], capture_output=True, timeout=120)
    found = [e["rule"] for e in json.loads(done.stdout)["evidence"]]
    assert found == ["call.dangerous", "pickle.limit"]


def test_limits_rise_behind_the_seal() -> None:
    """48 MB from 50 kB are honest; the child may take the memory that they need, and no bomb may."""
    import numpy as np

    out = io.BytesIO()
    np.savez_compressed(out, a=np.zeros(6_000_000))
    file = sandbox.read_in_child(out.getvalue(), "m")
    assert file.evidence == () and len(file.storages[0]) == 48_000_000
    assert rules(sandbox.read_in_child(gzip.compress(bytes(70 << 20)), "m")) == {"archive.bomb"}


def test_trees_of_equal_archives_are_read_once() -> None:
    """A million leaves in 20 kB, and a payload beside them."""
    tree = b"\x80\x02N."
    for _ in range(5):
        tree = zipped({str(i): tree for i in range(16)})
    file = sandbox.read_in_process(zipped({"a": HOSTILE, "b": tree}), "m")
    assert rules(file) == {"call.dangerous"} and file.format == "zip > pickle"


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    "child",
    ["sys.exit(3)", "os.kill(os.getpid(), 9)", "while True: time.sleep(1)", "os.write(1, b'x' * 100)",
     "os.write(1, struct.pack('<QQ', 1 << 60, 1 << 50))", "os.write(1, struct.pack('<QQ', 10, 0) + b'{')"],
)  # fmt: skip
def test_however_the_child_ends_it_is_evidence(child: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    body = f"import os, struct, sys, time\nos.write(1, b'R')\n{child}\n"
    script.write_text(f"#!{sys.executable}\n{body}")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    file = sandbox.read_in_child(b"x" * 1_000_000, "m", seconds=2)
    assert rules(file) == {"pickle.limit"}
    assert file.parts == ()


def test_an_answer_is_checked_like_a_strangers() -> None:
    data = save({"a": torch.randn(8)})
    own = sandbox.read_in_process(data, "m")
    spec = own.parts[0].tensors["a"]
    fields = {
        "format": "safetensors", "metadata": {}, "dropped": {}, "evidence": [], "calls": [], "sources": [],
        "storages": [[0, len(data) - 32, 32]],
        "parts": [{**vars(own.parts[0]), "tensors": {"a": list(vars(spec).values())}}],
    }  # fmt: skip
    assert answer.decode(json.dumps(fields).encode(), (memoryview(data),), "m", "0").parts[0].tensors["a"] == spec

    def broken(**changes: object) -> bytes:
        return json.dumps(fields | changes).encode()

    part = fields["parts"][0]

    def tensor(*values: object) -> list[object]:
        return [part | {"tensors": {"a": list(values)}}]

    for text in (
        b"{", b"[]", b"[" * 100_000,
        broken(storages=[[0, len(data) - 31, 32]]), broken(storages=[[0, -1, 4]]), broken(storages=[[1, 0, 0]]),
        broken(parts=tensor("float32", [9], [1], 0, 0)), broken(parts=tensor("float32", [8], [1], 1, 0)),
        broken(parts=tensor("float32", [8], [2], 0, 0)), broken(parts=tensor("float32", [-8], [1], 0, 0)),
        broken(parts=tensor("float32", [8, 1], [1], 0, 0)), broken(parts=tensor("float32", [8], [1], 0, 1)),
        broken(parts=tensor("object", [8], [1], 0, 0)), broken(parts=tensor("float32", [True], [1], 0, 0)),
        broken(evidence=[{"rule": "no.such"}]), broken(calls=[{"standing": "expected"}]), broken(format=3),
    ):  # fmt: skip
        with pytest.raises(answer.Untrusted):
            answer.decode(text, (memoryview(data),), "m", "0")


def test_a_child_knows_nothing_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "start.py"))
    assert not {"HOME", "PATH", "PYTHONSTARTUP", "PYTHONPATH"} & sandbox._environment().keys()


def test_a_large_file_is_quick() -> None:
    """60 MB here; `make bench` reads 300 MB. The limit is generous: the machine may be busy."""
    import time

    data = save({str(i): torch.zeros(1_500_000) for i in range(10)})
    start = time.monotonic()
    file = sandbox.read_in_child(data, "m")
    assert len(file.storages) == 10 and not file.evidence
    assert time.monotonic() - start < 10
