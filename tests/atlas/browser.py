"""A headless Chromium over its own pipe (the DevTools protocol), nothing in between."""

import base64
import json
import os
import select
import shutil
import subprocess
import time

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --remote-debugging-pipe"
).split()
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium():
    """The path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One tab.  `errors` and `requests` hold what the page complained of and asked for since it was opened."""

    def __init__(self, folder):
        read, theirs = os.pipe()
        mine, write = os.pipe()
        command = [chromium(), *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        wrapped = ["bash", "-c", f'exec "$@" 3<&{mine} 4>&{theirs}', "bash", *command]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(wrapped, pass_fds=(mine, theirs), stdin=quiet, stdout=quiet, stderr=quiet)
        os.close(mine)
        os.close(theirs)
        self.read, self.write, self.rest, self.serial = read, write, b"", 0
        self.errors, self.requests, self.session, self.loaded = [], [], None, False
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method, seconds=60, **parameters):
        """One command and its answer."""
        self.serial += 1
        message = {"id": self.serial, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + seconds
        while True:
            answer = self.next(deadline - time.monotonic())
            if answer.get("id") == self.serial:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def next(self, seconds):
        """The next message; events are noted."""
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.read], [], [], max(seconds, 0))
            data = os.read(self.read, 1 << 20) if ready else b""
            assert data, "Chromium does not answer"
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(line)
        self.note(message.get("method"), message.get("params", {}))
        return message

    def note(self, event, of):
        if event == "Runtime.exceptionThrown":
            self.errors.append(of["exceptionDetails"].get("exception", {}).get("description", of["exceptionDetails"]["text"]))
        elif event == "Runtime.consoleAPICalled" and of["type"] in ("error", "warning", "assert"):
            self.errors.append(str([a.get("value") for a in of["args"]]))
        elif event == "Log.entryAdded" and of["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{of['entry']['text']} {of['entry'].get('url', '')}")
        elif event == "Network.requestWillBeSent":
            self.requests.append(of["request"]["url"])
        elif event == "Page.loadEventFired":
            self.loaded = True

    def open(self, path, wide=1280, high=900, dark=False):
        """Load a page from the disk, at this size of window."""
        self("Emulation.setDeviceMetricsOverride", width=wide, height=high, deviceScaleFactor=1, mobile=wide < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self.errors, self.requests, self.loaded = [], [], False
        self("Page.navigate", url=path.resolve().as_uri())
        deadline = time.monotonic() + 60
        while not self.loaded:
            self.next(deadline - time.monotonic())

    def run(self, script):
        """The value of an expression in the page."""
        answer = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key, text=""):
        code = {"Enter": 13, "ArrowRight": 39, "Tab": 9}.get(key, 0)
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text)

    def screenshot(self, path, whole=True):
        """The page as a PNG, all of its height."""
        shot = self("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        os.close(self.read)
        os.close(self.write)
