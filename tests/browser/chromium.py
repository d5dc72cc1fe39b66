"""A page in a headless Chromium, driven through a pipe by its debugging protocol. Only Python's own library is used."""

import base64
import contextlib
import itertools
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import time

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
DEADLINE = 60  # seconds, for any one answer


def find():
    """The program, or None. $MARU_CHROMIUM names another one."""
    for name in [os.environ.get("MARU_CHROMIUM"), *NAMES]:
        if name and (path := shutil.which(name)):
            return path
    return None


class Chromium:
    """One tab. The protocol: https://chromedevtools.github.io/devtools-protocol/"""

    def __init__(self, program):
        self.program = program

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            profile = stack.enter_context(tempfile.TemporaryDirectory(prefix="maru_chromium_",
                                                                      ignore_cleanup_errors=True))
            to_browser, self.to = os.pipe()
            self.back, from_browser = os.pipe()
            stack.callback(os.close, self.to)
            stack.callback(os.close, self.back)

            def take_pipes():  # it reads at 3 and writes at 4
                reading, writing = os.dup(to_browser), os.dup(from_browser)
                high = [os.dup(reading), os.dup(writing)]
                os.dup2(high[0], 3)
                os.dup2(high[1], 4)
                os.setsid()

            self.process = subprocess.Popen(
                [self.program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={profile}",
                 "about:blank"],
                preexec_fn=take_pipes, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, env={**os.environ, "HOME": profile})
            stack.callback(self.end)
            os.close(to_browser)
            os.close(from_browser)
            self.pending, self.numbers, self.session = b"", itertools.count(1), None
            target = self.ask("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            self.requests, self.loaded = [], False
            for domain in ["Page", "Network", "Runtime"]:
                self.ask(domain + ".enable")
            stack_kept = stack.pop_all()
        self.stack = stack_kept
        return self

    def __exit__(self, *_):
        self.stack.close()

    def end(self):
        # All of its processes, which are a group of their own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def read(self):
        """The next message."""
        end = time.monotonic() + DEADLINE
        while b"\0" not in self.pending:
            if not select.select([self.back], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError(f"{self.program} said nothing for {DEADLINE} s")
            chunk = os.read(self.back, 1 << 16)
            if not chunk:
                raise ConnectionError(f"{self.program} ended by itself, with code {self.process.wait()}")
            self.pending += chunk
        message, self.pending = self.pending.split(b"\0", 1)
        message = json.loads(message)
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        if message.get("method") == "Page.loadEventFired":
            self.loaded = True
        return message

    def ask(self, method, **params):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data):]
        while True:
            answer = self.read()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def show(self, file, width, height=900, dark=False, phone=False, media="screen"):
        """Loads a file as such a screen shows it. self.requests then holds every address that it asked for."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=2 if phone else 1, mobile=phone)
        self.ask("Emulation.setEmulatedMedia", media=media,
                 features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.requests, self.loaded = [], False
        self.ask("Page.navigate", url=pathlib.Path(file).resolve().as_uri())
        while not self.loaded:
            self.read()

    def evaluate(self, script):
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def screenshot(self):
        """PNG of the whole page, not only of what fits the window."""
        return base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"])
