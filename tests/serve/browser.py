"""A headless Chromium over its debugging pipe: no port, no driver, nothing but the standard library."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless=new --hide-scrollbars --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync --disable-dev-shm-usage "
    "--remote-debugging-pipe"
).split()


class Browser:
    """One page of one browser."""

    def __init__(self, folder: Path, width: int = 1200, height: int = 900) -> None:
        to_browser, ours_out = os.pipe()
        ours_in, from_browser = os.pipe()
        words = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder}", f"--window-size={width},{height}", "about:blank"]
        # Chromium reads commands from file 3 and answers into file 4.
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *words],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.out, self.into, self.number, self.session = os.fdopen(ours_out, "wb"), os.fdopen(ours_in, "rb"), 0, ""
        pages = [t for t in self("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self.session = attached["sessionId"]
        self("Page.enable")

    def __call__(self, method: str, **given: Any) -> dict[str, Any]:
        """One command, and its answer; events in between are passed by."""
        self.number += 1
        asked = {"id": self.number, "method": method, "params": given}
        asked |= {"sessionId": self.session} if self.session else {}
        self.out.write(json.dumps(asked).encode() + b"\0")
        self.out.flush()
        while True:
            text = bytearray()
            while (byte := self.into.read(1)) != b"\0":
                if not byte:
                    raise ConnectionError("the browser went away")
                text += byte
            told = json.loads(text)
            if told.get("id") == self.number:
                if "error" in told:
                    raise RuntimeError(told["error"]["message"])
                return dict(told["result"])

    def open(self, url: str) -> None:
        self("Page.navigate", url=url)

    def tell(self, script: str) -> Any:
        """What an expression of the page comes to."""
        return self("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def wait(self, script: str, seconds: float = 60) -> Any:
        """What an expression comes to, once that is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.tell(script):
                return found
            time.sleep(0.1)
        raise TimeoutError(f"{script} stayed {self.tell(script)!r}")

    def press(self, key: str, code: int) -> None:
        """A key, down and up, where the focus is."""
        for kind in ("rawKeyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path, width: int, height: int) -> None:
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.out.close()
        self.into.close()
