"""A wire to a PostgreSQL server that can be cut, and mended."""

from __future__ import annotations

import contextlib
import socket
from threading import Thread

import sqlalchemy as sa


class Wire:
    """Listens on a local port and carries bytes to the server of a database, until it is cut."""

    def __init__(self, address: str) -> None:
        url = sa.make_url(address)
        host = str(url.query.get("host", url.host))
        port = url.port or 5432
        self._far = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
        self._ends: list[socket.socket] = []
        self._port = 0
        self.left: int | None = None
        """Bytes of the server's that are still carried, before the wire is cut by itself; None: any number."""
        self.mend()
        self.address = url.set(host="127.0.0.1", port=self._port, query={}).render_as_string(hide_password=False)

    def mend(self) -> None:
        """It carries again, on the same port."""
        self.left = None
        self._door = socket.create_server(("127.0.0.1", self._port))
        self._port = self._door.getsockname()[1]
        Thread(target=self._listen, args=(self._door,), daemon=True).start()

    def cut(self) -> None:
        """Every connection ends at once, and none is made."""
        for end in (self._door, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()

    def _listen(self, door: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = door.accept()
                far = socket.socket(socket.AF_UNIX if isinstance(self._far, str) else socket.AF_INET)
                far.connect(self._far)
                self._ends += [near, far]
                Thread(target=self._carry, args=(near, far, False), daemon=True).start()
                Thread(target=self._carry, args=(far, near, True), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while some := one.recv(65_536):
                if counted and self.left is not None:
                    self.left -= len(some)
                    if self.left < 0:
                        self.cut()
                        return
                other.sendall(some)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
