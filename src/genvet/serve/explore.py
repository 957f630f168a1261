"""The page of `genvet explore` on a local socket: who may ask, and how an answer is written.

Whoever asks has to know the random word in the address, name this machine in the Host header (a page elsewhere whose
name is rebound to this machine does not), and come from this very page. Nothing is loaded from anywhere else.
"""

from __future__ import annotations

import json
import math
import secrets
import socket
import time
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from ipaddress import ip_address
from socketserver import TCPServer
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import urlsplit

from genvet.core.errors import BadInput, GenVetError
from genvet.core.printable import printable
from genvet.files.pictures import png
from genvet.serve.explorer import Explorer, State

T = TypeVar("T")
MOST_BYTES = 1 << 16
"""Of a request's body; a state with every slider moved takes some 2 KB."""
MOST_PAGES = 64
"""Open pages whose newest request is remembered."""
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HTML, SCRIPT, STYLE, JSON = "text/html", "text/javascript", "text/css", "application/json"


class Refusal(Exception):
    """A request that is not answered, with the HTTP status and words for whoever asked."""

    def __init__(self, status: HTTPStatus, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.hint = status, message, hint


class Turns:
    """One picture at a time; of the requests of a page that wait, only the newest is worked on."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, object] = OrderedDict()
        self._noting, self._working = Lock(), Lock()

    def take(self, page: str, work: Callable[[], T]) -> T | None:
        """What `work` gives once it is its turn; None where the same page has asked again by then."""
        mine = object()
        with self._noting:
            self._newest[page] = mine
            self._newest.move_to_end(page)
            while len(self._newest) > MOST_PAGES:
                self._newest.popitem(last=False)
        with self._working:
            return work() if self._newest.get(page) is mine else None


@dataclass(frozen=True, eq=False)
class Site:
    """What a server gives out: the page's files, and pictures."""

    explorer: Explorer
    title: str
    token: str
    host: str
    turns: Turns

    def get(self, name: str) -> tuple[str, bytes]:
        """A file of the page, as its kind and bytes."""
        if name == "about":
            return JSON, _json({"title": self.title, **self.explorer.about()})
        known = {"": (HTML, "serve/static/explore.html"), "explore.js": (SCRIPT, "serve/static/explore.js")}
        known |= {"explore.css": (STYLE, "serve/static/explore.css"), "style.css": (STYLE, "page/style.css")}
        if name not in known:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is nothing here")
        kind, path = known[name]
        return kind, files("genvet").joinpath(path).read_bytes()

    def picture(self, body: bytes) -> bytes:
        """The answer to a state."""
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            raise BadInput("the request is no JSON") from None
        if not isinstance(asked, dict) or asked.keys() != {"page", "state"} or not isinstance(asked["page"], str):
            raise BadInput("the request does not fit", expected='{"page": "...", "state": {...}}')
        state = State.parse(asked["state"])
        answer = self.turns.take(asked["page"][:64], lambda: self._drawn(state))
        if answer is None:
            raise Refusal(HTTPStatus.CONFLICT, "a newer request of this page takes its place")
        return answer

    def _drawn(self, state: State) -> bytes:
        began = time.perf_counter()
        shown = self.explorer.show(state)
        difference = shown.difference
        largest = float(difference.max())
        pictures = {
            "picture": shown.x,
            "untouched": shown.untouched,
            "difference": difference / max(largest, 1e-12) * 2 - 1,
        }
        return _json(
            {name: b64encode(png(x)).decode() for name, x in pictures.items()}
            | {"change": shown.change, "largest": largest, "readings": shown.readings()}
            | {"milliseconds": round(1000 * (time.perf_counter() - began))}
        )


def _json(value: object) -> bytes:
    """As JSON that every browser reads: what is not finite is null."""

    def plain(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: plain(inner) for key, inner in part.items()}
        if isinstance(part, list | tuple):
            return [plain(inner) for inner in part]
        return None if isinstance(part, float) and not math.isfinite(part) else part

    return json.dumps(plain(value)).encode()


class Server(ThreadingHTTPServer):
    """Listens; each connection has a thread, and all share one generator."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, explorer: Explorer, title: str, host: str = "127.0.0.1", port: int = 0) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.site = Site(explorer, title, secrets.token_urlsafe(16), host, Turns())
        try:
            super().__init__((host, port), Handler)
        except OSError as error:
            reason = printable(error.strerror or error, 100)
            raise BadInput(f"cannot listen on {printable(host, 60)}, port {port}: {reason}") from None

    def server_bind(self) -> None:
        """As http.server does, without asking a name server who we are."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.site.host, self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that went away is no fault; others have been answered already."""

    @property
    def url(self) -> str:
        """The address to open, which holds the word that lets in."""
        host = f"[{self.site.host}]" if ":" in self.site.host else self.site.host
        return f"http://{host}:{self.server_port}/{self.site.token}/"


class Handler(BaseHTTPRequestHandler):
    """One connection: checks who asks, and answers."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "genvet", ""
    timeout = 60

    def do_GET(self) -> None:
        self._answer(lambda name: self.server.site.get(name))

    def do_POST(self) -> None:
        self._answer(self._post)

    def _post(self, name: str) -> tuple[str, bytes]:
        if name != "picture":
            raise Refusal(HTTPStatus.NOT_FOUND, "there is nothing here")
        if self.headers.get_content_type() != JSON:
            raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a request comes as application/json")
        return JSON, self.server.site.picture(self._body())

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            raise Refusal(HTTPStatus.LENGTH_REQUIRED, "a request says how long it is")
        if len(length) > 9 or int(length) > MOST_BYTES:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {MOST_BYTES} bytes")
        return self.rfile.read(int(length))

    def _answer(self, give: Callable[[str], tuple[str, bytes]]) -> None:
        """Every way ends here, in an answer."""
        status, kind = HTTPStatus.OK, JSON
        try:
            kind, body = give(self._admitted())
        except Refusal as refusal:
            status, body = refusal.status, _told(refusal.message, refusal.hint)
            self.close_connection = True  # its body may not have been read
        except GenVetError as error:
            status, body = HTTPStatus.BAD_REQUEST, _told(error.message, error.hint)
        except ConnectionError:
            raise
        except Exception as error:
            status, body = HTTPStatus.INTERNAL_SERVER_ERROR, _told(f"{type(error).__name__}: {error}")
        self._send(status, kind, body)

    def _admitted(self) -> str:
        """What is asked for, once it is clear that it may be."""
        if not local_name(self.headers.get("Host", ""), self.server.site.host):
            hint = "open the address as genvet explore printed it, or with the machine's number in the name's place"
            raise Refusal(HTTPStatus.FORBIDDEN, "this is not a name of this machine", hint)
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "none")
        if origin not in (None, f"http://{self.headers['Host']}") or site not in ("same-origin", "none"):
            raise Refusal(HTTPStatus.FORBIDDEN, "another site may not ask")
        _, token, *rest = [*urlsplit(self.path).path.split("/", 2), ""][:3]
        if not secrets.compare_digest(token.encode(), self.server.site.token.encode()):
            raise Refusal(HTTPStatus.FORBIDDEN, "the address lacks the word that genvet explore printed")
        return rest[0]

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses: requests that do not parse, and verbs that there are not."""
        self.close_connection = True
        self._send(HTTPStatus(code), JSON, _told(message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is written down: addresses hold the word that lets in."""


def _told(message: str, hint: str = "") -> bytes:
    return _json({"error": printable(message, 400), "hint": printable(hint, 400)})


def local_name(host: str, ours: str) -> bool:
    """Whether a Host header names this machine by a number, as localhost, or as it was told to listen.

    >>> local_name("127.0.0.1:8000", "127.0.0.1"), local_name("evil.example:8000", "127.0.0.1")
    (True, False)
    """
    try:
        parts = urlsplit(f"//{host}")
        name = parts.hostname or ""
        if parts.username is not None or parts.path or parts.query or parts.fragment:
            return False
    except ValueError:
        return False
    if name in ("localhost", ours.lower()):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_local(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
