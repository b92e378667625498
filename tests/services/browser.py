"""A real browser without a window (Debian's package `chromium`), told what to do as a person would.

It is spoken to by its DevTools protocol (https://chromedevtools.github.io/devtools-protocol), and
clicks and types by input events, so that what lies over a button is in its way. A page inside a
page's only frame is meant wherever `framed=True`.

with Browser(folder) as browser:
    browser.open("http://127.0.0.1:8080")
    browser.press("button", "Sign in")
"""

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

MISSING = "Chromium is not installed: apt install chromium"
_START_SECONDS, _SECONDS = 90.0, 90.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # it does not run as root otherwise; it sees pages of this machine alone
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--password-store=basic",
    "--lang=en-US",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--remote-debugging-port=0",
)
# What is meant by (selector, words, framed): the first visible element whose text has the words.
_FIND = """
const frame = %(framed)s ? document.querySelector("iframe") : null;
const root = %(framed)s ? frame && frame.contentDocument : document;
const shown = (one) => one.getClientRects().length > 0;
const found = root ? [...root.querySelectorAll(%(selector)s)].find(
  (one) => shown(one) && one.textContent.includes(%(words)s)) : null;
"""
_WHERE = """
if (!found || found.disabled) return null;
found.scrollIntoView({block: "center", inline: "center", behavior: "instant"});
const box = found.getBoundingClientRect();
const over = frame ? frame.getBoundingClientRect() : {x: 0, y: 0};
if (!box.width || !box.height) return null;
const at = [box.x + box.width / 2, box.y + box.height / 2];
const top = root.elementFromPoint(at[0], at[1]);
if (!top || !(found.contains(top) || top.contains(found))) return null;
return [over.x + at[0], over.y + at[1]];
"""

_MOVED = (
    "Inspected target navigated or closed",
    "Cannot find context with specified id",
    "Execution context was destroyed.",
)


class _Moved(AssertionError):
    """The page went away while it was asked: what comes next may be asked again."""


def program() -> str | None:
    """The browser's path; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


class Browser:
    """One window; `complaints` is what pages wrote to the console as a warning or an error.

    Each of its methods waits for what it needs, and raises AssertionError where it does not come.
    """

    def __init__(self, folder: Path, width: int = 1280, height: int = 900) -> None:
        self.complaints: list[str] = []
        self._folder, self._size = folder, (width, height)
        self._address = folder / "profile" / "DevToolsActivePort"
        self._number = 0

    def __enter__(self) -> "Browser":
        self._folder.mkdir(parents=True, exist_ok=True)
        self._address.unlink(missing_ok=True)
        with (self._folder / "browser.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(program()),
                    *_FLAGS,
                    f"--user-data-dir={self._folder / 'profile'}",
                    f"--window-size={self._size[0]},{self._size[1]}",
                    "about:blank",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._socket = self._connect()
            targets = self._call("Target.getTargets")["targetInfos"]
            page = next(one["targetId"] for one in targets if one["type"] == "page")
            self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)
            for domain in ("Page", "Runtime", "Log", "Network"):
                self._do(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_socket"):
            self._socket.close()
        self._process.kill()
        self._process.wait()

    def open(self, address: str) -> None:
        """Go to an address, as if it were typed."""
        answer = self._do("Page.navigate", url=address)
        assert "errorText" not in answer, (address, answer)
        self.until("document.readyState === 'complete'")

    def forget(self) -> None:
        """Remove cookies and what pages stored: the next page is a stranger's."""
        origin = self.run("return location.origin")
        self._do("Network.clearBrowserCookies")
        self._do("Storage.clearDataForOrigin", origin=origin, storageTypes="all")

    def press(self, selector: str, words: str = "", *, framed: bool = False) -> None:
        """Press the first visible element that has the words, in its middle, with the mouse."""
        x, y = self._place(selector, words, framed)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            held = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self._do("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)

    def write(self, selector: str, text: str, *, framed: bool = False) -> None:
        """Type into a field, over what stood there."""
        self.press(selector, framed=framed)
        find = _finding(selector, "", framed)
        self.run(f"{find} found.select();")
        self._do("Input.insertText", text=text)

    def text(self, selector: str = "body", *, framed: bool = False) -> str:
        """The visible text of the first such element; empty where there is none."""
        find = _finding(selector, "", framed)
        return str(self._look(f"{find} return found ? found.innerText : '';") or "")

    def wait(self, words: str, selector: str = "body", *, framed: bool = False) -> str:
        """Wait until an element shows some words; its visible text."""
        deadline = time.monotonic() + _SECONDS
        while words not in (shown := self.text(selector, framed=framed)):
            assert time.monotonic() < deadline, f"{words!r} is not in {shown!r}"
            time.sleep(0.1)
        return shown

    def until(self, condition: str) -> Any:
        """What an expression gives, once it is true."""
        deadline = time.monotonic() + _SECONDS
        while not (found := self._look(f"return {condition}")):
            assert time.monotonic() < deadline, f"never true: {condition}"
            time.sleep(0.1)
        return found

    def run(self, script: str) -> Any:
        """What the body of a function gives in the page; AssertionError where it throws."""
        answer = self._do(
            "Runtime.evaluate",
            expression=f"(async () => {{ {script} }})()",
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in answer, (script, answer)
        return answer["result"].get("value")

    def prefer(self, scheme: str) -> None:
        """What the person's system asks for: "light" or "dark"."""
        wish = {"name": "prefers-color-scheme", "value": scheme}
        self._do("Emulation.setEmulatedMedia", features=[wish])

    def picture(self, file: Path) -> None:
        """Keep what the window shows as a PNG."""
        shot = self._do("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))

    def _place(self, selector: str, words: str, framed: bool) -> tuple[float, float]:
        """The middle of an element that is not moving and has nothing over it."""
        script = _finding(selector, words, framed) + _WHERE
        deadline, before = time.monotonic() + _SECONDS, None
        while (place := self._look(script)) is None or place != before:
            assert time.monotonic() < deadline, f"cannot press {selector!r} with {words!r}"
            before = place
            time.sleep(0.05)
        return place[0], place[1]

    def _look(self, script: str) -> Any:
        """What a script gives that changes nothing; None while the page goes away."""
        try:
            return self.run(script)
        except _Moved:
            return None

    def _connect(self) -> ClientConnection:
        deadline = time.monotonic() + _START_SECONDS
        while not self._address.is_file() or len(lines := self._address.read_text().split()) < 2:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "browser.log").read_text()[-2000:])
            time.sleep(0.05)
        port, path = lines
        # Nobody reads while a test waits for something else: events pile up, and no ping is missed.
        return connect(
            f"ws://127.0.0.1:{port}{path}",
            max_size=None,
            max_queue=None,
            ping_interval=None,
            proxy=None,
        )

    def _do(self, method: str, **params: Any) -> dict[str, Any]:
        return self._call(method, self._session["sessionId"], **params)

    def _call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        self._number += 1
        whom = {"sessionId": session} if session else {}
        asked = {"id": self._number, "method": method, "params": params, **whom}
        self._socket.send(json.dumps(asked))
        while True:
            told = json.loads(self._socket.recv(timeout=_START_SECONDS))
            if told.get("id") == self._number:
                fault = told.get("error", {}).get("message", "")
                if fault in _MOVED:
                    raise _Moved(fault)
                assert not fault, (method, told)
                return dict(told["result"])
            self._hear(told.get("method"), told.get("params") or {})

    def _hear(self, event: str | None, told: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["exceptionDetails"])[:1000])
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("warning", "error"):
            entry = told["entry"]
            self.complaints.append(f"{entry['text']} {entry.get('url', '')}")
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("warning", "error", "assert"):
            self.complaints.append(json.dumps(told["args"])[:1000])


def _finding(selector: str, words: str, framed: bool) -> str:
    return _FIND % {
        "selector": json.dumps(selector),
        "words": json.dumps(words),
        "framed": json.dumps(framed),
    }
