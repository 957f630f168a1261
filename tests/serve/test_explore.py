"""The socket of `genvet explore`: who is answered, who is refused, and in which words."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from threading import Event, Thread

import pytest

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.files.convert import save
from genvet.files.pictures import png
from genvet.nets import stylegan2
from genvet.serve.explore import MOST_BYTES, Server, Turns, is_local, local_name
from genvet.serve.explorer import State

PLAIN = {"Content-Type": "application/json"}


def ask(server: Server, verb: str, name: str, body: object = None, headers: dict | None = None, token: str = ""):
    """Status, headers and body of one request."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(verb, f"/{token or server.site.token}/{name}", sent, headers or {})
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    return answer.status, answer.headers, told


def picture(server: Server, state: dict, headers: dict | None = None):
    return ask(server, "POST", "picture", {"page": "a", "state": state}, PLAIN | (headers or {}))


def test_the_page_and_its_parts(server):
    for name, kind in (("", "text/html"), ("explore.js", "text/javascript"), ("explore.css", "text/css"),
                       ("style.css", "text/css"), ("about", "application/json")):  # fmt: skip
        status, headers, body = ask(server, "GET", name)
        assert status == 200 and headers["Content-Type"].startswith(kind) and body
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
        assert b"http://" not in body and b"https://" not in body  # nothing from elsewhere
    page = ask(server, "GET", "")[2].decode()
    assert " style=" not in page and " onclick" not in page and "<script>" not in page
    about = json.loads(ask(server, "GET", "about")[2])
    assert (about["title"], about["layers"], len(about["directions"]["pca"])) == ("a <b>model</b>", 6, 10)


def test_pictures_are_the_explorers_own(server):
    state = {"seed": 3, "psi": 0.5, "moves": {"0": 2}}
    status, _, body = picture(server, state)
    told, expected = json.loads(body), server.site.explorer.show(State.parse(state))
    assert status == 200 and base64.b64decode(told["picture"]) == png(expected.x)
    assert base64.b64decode(told["untouched"]) == png(expected.untouched)
    assert told["change"] == pytest.approx(expected.change) and told["change"] > 0
    assert {"brightness", "saturation"} <= {reading["name"] for reading in told["readings"]}


@pytest.mark.parametrize(
    ("headers", "token", "words"),
    [
        ({"Host": "evil.example"}, "", "not a name of this machine"),
        ({"Host": "127.0.0.1.evil.example:80"}, "", "not a name of this machine"),
        ({"Host": "localhost@evil.example"}, "", "not a name of this machine"),
        ({"Origin": "http://evil.example"}, "", "another site"),
        ({"Origin": "null"}, "", "another site"),
        ({"Sec-Fetch-Site": "cross-site"}, "", "another site"),
        ({"Sec-Fetch-Site": "same-site"}, "", "another site"),
        ({}, "guess", "lacks the word"),
        ({}, "guess/../x", "lacks the word"),
        ({}, "%E4", "lacks the word"),
    ],
)
@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_strangers_are_refused(server, headers, token, words, verb):
    name = "about" if verb == "GET" else "picture"
    body = {"page": "a", "state": {}} if verb == "POST" else None
    status, _, told = ask(server, verb, name, body, PLAIN | headers, token)
    assert status == 403 and words in json.loads(told)["error"]


def test_our_own_names_are_let_in(server):
    port = server.server_port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost:9000", "[::1]:80", "192.168.3.4"):
        headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert picture(server, {}, headers)[0] == 200
    assert local_name("lab-machine:80", "lab-machine") and not local_name("lab-machine", "127.0.0.1")
    assert not local_name("", "127.0.0.1") and not local_name("[::1", "127.0.0.1")
    assert is_local("127.0.0.1") and is_local("::1") and not is_local("0.0.0.0") and not is_local("example.org")


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"{", PLAIN, 400, "no JSON"),
        (b"[" * 50_000, PLAIN, 400, "no JSON"),
        ({"page": "a"}, PLAIN, 400, "does not fit"),
        ({"page": 1, "state": {}}, PLAIN, 400, "does not fit"),
        ({"page": "a", "state": {"psi": 9}}, PLAIN, 400, "psi"),
        ({"page": "a", "state": {"dims": {"16": 1}}}, PLAIN, 400, "no dimension 16"),
        ({"page": "a", "state": {"\u202e": 1}}, PLAIN, 400, "\\u202e"),
        ({"page": "a", "state": {}}, {"Content-Type": "text/plain"}, 415, "application/json"),
        (b" " * (MOST_BYTES + 1), PLAIN, 413, "at most"),
        (None, PLAIN | {"Content-Length": "9" * 30}, 413, "at most"),
        (None, PLAIN | {"Content-Length": "-1"}, 411, "how long"),
        (None, PLAIN | {"Transfer-Encoding": "chunked"}, 411, "how long"),
    ],
)
def test_odd_requests_are_answered_in_words(server, body, headers, status, words):
    got, told_by, told = ask(server, "POST", "picture", body, headers)
    assert (
        got == status and words in json.loads(told)["error"] and told_by["Content-Type"].startswith("application/json")
    )
    assert picture(server, {})[0] == 200


def test_a_fault_of_ours_is_told_as_one(server, monkeypatch):
    monkeypatch.setattr(server.site.explorer, "_drawn", lambda state: 1 / 0)
    status, _, told = picture(server, {"seed": 77})
    assert status == 500 and "ZeroDivisionError" in json.loads(told)["error"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n", 431),
        (b"GET //evil HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        (b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
    ],
)
def test_what_is_hardly_http_is_answered_too(server, sent, status):
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(sent)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
            if b"}" in piece:
                break
    assert f" {status} ".encode() in answer.split(b"\r\n")[0] or status == 400
    assert b'{"error": ' in answer


def test_nothing_else_is_given_out(server):
    for name in ("../explorer.py", "explore.html", "static/explore.js", "%2e%2e/", "picture"):
        assert ask(server, "GET", name)[0] == 404
    assert ask(server, "POST", "about", {}, PLAIN)[0] == 404


def test_of_those_that_wait_only_the_newest_is_worked_on():
    turns, first_runs, may_end, answers = Turns(), Event(), Event(), {}

    def slow():
        first_runs.set()
        assert may_end.wait(10)
        return "first"

    def run(name, page, work):
        answers[name] = turns.take(page, work)

    threads = [Thread(target=run, args=("first", "a", slow))]
    threads[0].start()
    assert first_runs.wait(10)
    for name, page in (("second", "a"), ("third", "a"), ("other", "b")):
        before = turns._newest.get(page)
        threads.append(Thread(target=run, args=(name, page, lambda name=name: name)))
        threads[-1].start()
        while turns._newest.get(page) is before:
            time.sleep(0.01)
    may_end.set()
    for thread in threads:
        thread.join(10)
    assert answers == {"first": "first", "second": None, "third": "third", "other": "other"}


def test_a_port_that_is_taken_says_so(server):
    with pytest.raises(BadInput, match=f"port {server.server_port}"):
        Server(server.site.explorer, "x", port=server.server_port)


def test_the_command_prints_its_address_and_ends_with_ctrl_c(tmp_path):
    path = tmp_path / "g.safetensors"
    save(stylegan2.build(size=8, z_dim=8, w_dim=8, channel_base=64, channel_max=8, rng=Rng(1)), path)
    words = [sys.executable, "-m", "genvet", "explore", str(path), "--host", "0.0.0.0"]
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        # Tests that run in the background have Ctrl-C switched off, which a child would inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    url = process.stdout.readline().strip()
    _, _, address, token, _ = url.split("/")
    connection = HTTPConnection("127.0.0.1", int(address.rpartition(":")[2]), timeout=30)
    connection.request("GET", f"/{token}/about")
    assert json.loads(connection.getresponse().read())["title"] == "g.safetensors"
    connection.close()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0 and out == "" and "Traceback" not in err
    assert "warning: whoever reaches this machine" in err and err.rstrip().endswith("ended")
