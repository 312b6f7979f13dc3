"""Chromium without a window, driven over the DevTools protocol through a pipe, without a port. Law: it ends with us.

https://chromedevtools.github.io/devtools-protocol/: JSON messages, each ended by a zero byte, on file descriptors 3
(to the browser) and 4 (from it).
"""

import base64
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
INSTALL_SECONDS = 280
ANSWER_SECONDS = 60.0
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--disable-extensions",
    "--disable-gpu",
    "--hide-scrollbars",
    "--mute-audio",
    "--password-store=basic",
    "--force-color-profile=srgb",
    "--disable-dev-shm-usage",
)


class BrowserError(Exception):
    """The browser is not there, does not answer, or says that a call is wrong."""


def path_of_chromium(say: Callable[[str], None] = print) -> str:
    """Where it is; on Debian and Ubuntu as root it is installed where it is not. Raises BrowserError saying how."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is not None:
        return found
    if shutil.which("apt-get") and os.geteuid() == 0:
        say("browser: installing chromium by apt-get")
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=INSTALL_SECONDS)
        return path_of_chromium(say)
    raise BrowserError("no Chromium here: install one, on Debian `apt-get install chromium`, and run the tests again")


class Chromium:
    """One process; pages are opened in contexts of their own, which share nothing."""

    def __init__(self, path: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="armstream-chromium-", ignore_cleanup_errors=True)
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        high_in, high_out = (fcntl.fcntl(pipe, fcntl.F_DUPFD_CLOEXEC, 20) for pipe in (theirs_in, theirs_out))

        def take_pipes() -> None:
            os.dup2(high_in, 3)
            os.dup2(high_out, 4)
            if LIBC is not None:
                LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

        flags = [*FLAGS, f"--user-data-dir={self._folder.name}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        self._process = subprocess.Popen(
            [path, *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=take_pipes,  # noqa: PLW1509 - no other way to give descriptors 3 and 4
            pass_fds=(3, 4),
            start_new_session=True,
        )
        for pipe in (theirs_in, theirs_out, high_in, high_out):
            os.close(pipe)
        self._rest = b""
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self.listeners: dict[str, Callable[[str, dict[str, Any]], None]] = {}
        self.call("Browser.getVersion")

    def call(self, method: str, session: str | None = None, /, **parameters: Any) -> dict[str, Any]:
        """What the browser answers. Raises BrowserError when it refuses or does not answer in time."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + ANSWER_SECONDS
        while number not in self._answers:
            if not self.listen(until - time.monotonic()):
                raise BrowserError(f"the browser did not answer {method} within {ANSWER_SECONDS:g} s")
        answer = self._answers.pop(number)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def listen(self, seconds: float) -> bool:
        """Takes what the browser says within the time; False when it said nothing."""
        if not select.select([self._in], [], [], max(0.0, seconds))[0]:
            return False
        read = os.read(self._in, 1 << 20)
        if not read:
            raise BrowserError(f"the browser ended with {self._process.poll()}")
        *messages, self._rest = (self._rest + read).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            elif listener := self.listeners.get(message.get("sessionId", "")):
                listener(message["method"], message["params"])
        return True

    def close(self) -> None:
        os.close(self._out)
        os.close(self._in)
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._folder.cleanup()


class Page:
    """One tab, and what it asked for and complained of."""

    def __init__(
        self,
        browser: Chromium,
        *,
        width: int = 1280,
        height: int = 800,
        scheme: str = "light",
        zone: str = "UTC",
        ratio: float = 1.0,
    ) -> None:
        self._browser = browser
        self._context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", url="about:blank", browserContextId=self._context)["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.requests: list[str] = []
        self.complaints: list[str] = []
        browser.listeners[self._session] = self._hear
        for domain in ("Page", "Runtime", "Network", "Log", "Performance"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)  # else a tab behind another one is hidden
        self.call("Emulation.setTimezoneOverride", timezoneId=zone)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.resize(width, height, ratio)

    def call(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def resize(self, width: int, height: int, ratio: float = 1.0) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=ratio, mobile=False
        )

    def open(self, address: str) -> None:
        """Returns when its scripts have run."""
        self.call("Page.navigate", url=address)
        self.until("location.href !== 'about:blank' && document.readyState === 'complete'")

    def evaluate(self, script: str) -> Any:
        """The value of an expression, as JSON gives it. Raises BrowserError with what it threw."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script}: {answer['exceptionDetails']['exception'].get('description')}")
        return answer["result"].get("value")

    def until(self, script: str, seconds: float = 30.0) -> None:
        """Waits until an expression is true; raises BrowserError with the page's text when it does not become so."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.evaluate(f"Boolean({script})"):
                return
            self._browser.listen(0.03)
        text = self.evaluate("document.body?.innerText")
        raise BrowserError(f"not within {seconds:g} s: {script}\n{self.complaints}\n{text}")

    def press(self, key: str, text: str = "") -> None:
        keys = {"Enter": ("\r", 13), "Escape": ("", 27), "Tab": ("", 9), "ArrowDown": ("", 40), "/": ("/", 191)}
        typed, code = keys.get(key, (text or key, ord(key[0].upper())))
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": typed} if typed else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def click(self, script: str) -> None:
        """Clicks in the middle of the element that an expression gives, as a mouse does."""
        box = self.evaluate(
            f"(element => {{ element.scrollIntoView({{block: 'center'}}); const box = element.getBoundingClientRect();"
            f" return [box.x + box.width / 2, box.y + box.height / 2]; }})({script})"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def screenshot(self, *, whole: bool = False) -> bytes:
        """A PNG of what is in sight, or of the whole page."""
        self.call("Page.bringToFront")  # a tab behind another draws nothing
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    def busy_seconds(self) -> float:
        """How long its main thread has worked so far: scripts, layout, painting."""
        return self._metric("TaskDuration")

    def script_seconds(self) -> float:
        return self._metric("ScriptDuration")

    def _metric(self, name: str) -> float:
        metrics = {metric["name"]: metric["value"] for metric in self.call("Performance.getMetrics")["metrics"]}
        return float(metrics[name])

    def close(self) -> None:
        del self._browser.listeners[self._session]
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)

    def _hear(self, method: str, said: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(said["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        elif method == "Runtime.consoleAPICalled" and said["type"] in {"error", "warning", "assert"}:
            self.complaints.append(str([part.get("value") for part in said["args"]]))
        elif method == "Log.entryAdded" and said["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")


@contextmanager
def chromium(say: Callable[[str], None] = print) -> Iterator[Chromium]:
    browser = Chromium(path_of_chromium(say))
    try:
        yield browser
    finally:
        browser.close()


def save(picture: bytes, path: Path) -> None:
    path.write_bytes(picture)
