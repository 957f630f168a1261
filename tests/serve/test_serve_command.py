"""`genvet serve` as it is typed: keys, two workers on one socket, an end in order, and words for what does not fit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")

import httpx

from genvet.cli import main
from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.files.convert import save
from genvet.nets import mlp
from genvet.remote import KEY, RemoteQueries

POLICY = '[latents]\nsource = "client"\n[clients]\nbudget = 70\n'


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert isinstance(stop.value.code, int)
    return stop.value.code, *capsys.readouterr()


def test_keys_are_shown_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = typed(capsys, "serve", "keys", "add", "ann")
    assert code == 2 and "which service" in err
    Path("policy.toml").write_text(POLICY)
    code, key, _ = typed(capsys, "serve", "keys", "add", "ann", "--policy", "policy.toml", "--out", "genvet-serve-m")
    assert code == 0 and key.startswith("genvet_") and len(key.strip()) == 50
    typed(capsys, "serve", "keys", "add", "boss", "--operator")
    code, out, _ = typed(capsys, "serve", "keys", "list")
    assert code == 0 and "ann: client, 0 of 70 queries" in out and "boss: operator" in out and key.strip() not in out
    assert typed(capsys, "serve", "keys", "add", "ann")[0] == 2
    assert typed(capsys, "serve", "keys", "revoke", "ann")[0] == 0
    assert "revoked" in typed(capsys, "serve", "keys", "list")[1]
    assert typed(capsys, "serve", "keys", "revoke", "ann")[0] == 2
    modes = {path.name: path.stat().st_mode & 0o777 for path in Path("genvet-serve-m").iterdir()}
    assert modes["service.sqlite"] == 0o600
    monkeypatch.setenv("GENVET_DATABASE", "postgresql://nobody@127.0.0.1:1/none")
    code, _, err = typed(capsys, "serve", "keys", "list")
    assert code == 2 and "cannot be reached" in err


def test_a_policy_that_does_not_fit_is_told_before_anything_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save(mlp.build(), Path("m.safetensors"), {})
    Path("policy.toml").write_text('[[guards]]\nname = "gausian_noise"\n')
    code, _, err = typed(capsys, "serve", "m.safetensors", "--policy", "policy.toml", "--port", "0")
    assert code == 2 and "gaussian_noise" in err and "Traceback" not in err
    words = ("--policy", "policy.toml", "--port", "0", "--certificate", "c.pem")
    assert typed(capsys, "serve", "m.safetensors", *words)[0] == 2


def test_two_workers_serve_and_end_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = mlp.build()
    save(model, Path("m.safetensors"), {})
    Path("policy.toml").write_text(POLICY)
    home = ("--policy", "policy.toml", "--out", "home")
    monkeypatch.setenv(KEY, typed(capsys, "serve", "keys", "add", "ann", *home)[1].strip())
    words = ["-m", "genvet", "serve", "m.safetensors", *home, "--port", "0", "--workers", "2"]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert server.stdout is not None and server.stderr is not None
        try:
            url = server.stdout.readline().decode().strip()
            z = model.latent.sample(0, 64, Rng(0))
            answer = RemoteQueries(url, timeout=60)(z)
            assert (answer - model.seen_as(Queries)(z)).abs().max() < 1e-5  # type: ignore[operator]
            assert httpx.get(f"{url}/health").status_code == 200
        finally:
            time.sleep(1)
            os.kill(server.pid, signal.SIGTERM)
        assert server.wait(60) == 0 and os.environ[KEY].encode() not in server.stderr.read()
    assert "ann: client, 64 of 70" in typed(capsys, "serve", "keys", "list", "--out", "home")[1]
