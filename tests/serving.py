"""The app as a process of its own, started the way a Space starts it; also a script's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
# Python's own account of every file opened for writing, outside the temporary folder refused as a
# read-only disk would; so that it holds for root too.
READ_ONLY = """
import os, runpy, sys
free = tuple(os.path.realpath(one) + os.sep for one in (os.environ["TMPDIR"], "/dev", "/proc"))
def refuse(event, given):
    if event == "open":
        path, _, flags = given
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    else:
        path, writes = given[0] if given else None, event in ("os.mkdir", "os.rename", "os.remove")
    if writes and isinstance(path, (str, bytes)):
        place = os.path.realpath(os.fsdecode(path)) + os.sep
        if not place.startswith(free):
            print("REFUSED", event, place, file=sys.stderr, flush=True)
            raise PermissionError(13, "Permission denied", path)
sys.addaudithook(refuse)
sys.argv = ["app.py"]
sys.path.insert(0, os.getcwd())
runpy.run_path("app.py", run_name="__main__")
"""


@dataclass
class Served:
    """A running app."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def resident(self) -> int:
        """Its memory in RAM, bytes."""
        return self._memory("VmRSS:")

    def peak(self) -> int:
        """The most memory it ever had in RAM, bytes."""
        return self._memory("VmHWM:")

    def _memory(self, what: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(one for one in status.splitlines() if one.startswith(what))
        return int(line.split()[1]) * 1024


def free_port() -> int:
    """A port that nobody listens on at present."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def served(
    folder: Path, *, environment: Mapping[str, str] | None = None, patience: float = 240
) -> Iterator[Served]:
    """Starts the app as a public Space without network and without a disk, until the end.

    Args:
        folder: all it may write to.
        patience: seconds it may take until it answers.
    """
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    known = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    given = {
        **known,
        "HOME": str(folder / "home"),  # a Space's home cannot be relied on
        "TMPDIR": str(folder),
        "GRADIO_TEMP_DIR": str(folder / "gradio"),
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "SPACE_ID": "somebody/drople-lens",
        "HF_HUB_OFFLINE": "1",
        "NO_PROXY": "127.0.0.1,localhost,0.0.0.0",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
        "PYTHONDONTWRITEBYTECODE": "1",
        **(environment or {}),
    }
    log = folder / "app.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-c", READ_ONLY], cwd=ROOT, env=given, stdout=written, stderr=written
        )
    try:
        url = f"http://127.0.0.1:{port}/"
        _wait(url, process, log, patience)
        yield Served(url, process, log)
    finally:
        process.kill()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path, patience: float) -> None:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            if httpx.get(url, timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"the app did not start:\n{log.read_text()[-3000:]}")


def visitor(url: str, patience: float = 240) -> httpx.Client:
    """A program that visits; it opens a connection for each request, as a kept one may be gone."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(base_url=url, timeout=patience, trust_env=False, limits=limits)


def upload(http: httpx.Client, name: str, data: bytes) -> dict[str, Any]:
    """A file as an input of the app."""
    found = http.post("gradio_api/upload", files={"files": (name, data)})
    found.raise_for_status()
    path = found.json()[0]
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def call(http: httpx.Client, endpoint: str, given: list[Any]) -> httpx.Response | Any:
    """What an endpoint answers; the response itself where it did not take the call.

    Raises:
        RuntimeError: the call was taken and failed.
    """
    taken = http.post(f"gradio_api/call/{endpoint}", json={"data": given})
    if taken.status_code != 200:
        return taken
    where = f"gradio_api/call/{endpoint}/{taken.json()['event_id']}"
    with http.stream("GET", where) as events:
        kind = ""
        for line in events.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: ") and kind == "complete":
                return json.loads(line.removeprefix("data: "))[0]
            elif line.startswith("data: ") and kind == "error":
                raise RuntimeError(line)
    raise RuntimeError("the answer ended too soon")
