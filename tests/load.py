"""Many visitors at once, and many analyses one after the other: `python tests/load.py`.

Talks to an app of its own on this machine only. Prints a table.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import random
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from furnished import save_fresh_prompts, save_tiny_clip
from serving import Served, call, served, upload, visitor
from tiny import noise_picture

from app.studio import Studio
from drople.analysis import AnalysisSettings
from drople.models.backbone import load_backbone

PROMPTS = "caltech101-drople"
PATIENCE = 900  # seconds a visitor waits at most
BUSY = 503  # the queue is full: ask again


@dataclass
class Crowd:
    """What happened to the visitors."""

    visitors: int
    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)  # seconds from arrival to answer
    again: int = 0  # asked again because the queue was full
    other: list[str] = field(default_factory=list)  # anything else that went wrong
    resident: int = 0  # bytes of the app at the end

    @property
    def served(self) -> int:
        return len(self.waits)


def crowd(space: Served, visitors: int) -> Crowd:
    """So many visitors arrive at once, each with a picture of their own, and wait for an answer."""
    found, lock = Crowd(visitors), threading.Lock()

    def visit(number: int) -> None:
        began = time.monotonic()
        try:
            again = _visit(space, number, began + PATIENCE)
        except (httpx.HTTPError, RuntimeError, KeyError) as error:
            with lock:
                found.other.append(f"visitor {number}: {error!r}")
            return
        with lock:
            found.again += again
            found.waits.append(time.monotonic() - began)

    began = time.monotonic()
    with ThreadPoolExecutor(visitors) as pool:
        list(pool.map(visit, range(visitors)))
    found.seconds, found.resident = time.monotonic() - began, space.resident()
    return found


def _visit(space: Served, number: int, end: float) -> int:
    """One visit: the page, an upload, an analysis. Gives how often the queue was full."""
    data = io.BytesIO()
    noise_picture(224, 224, seed=number).save(data, "PNG")
    patience = random.Random(number)
    with visitor(space.url, PATIENCE) as http:
        http.get("").raise_for_status()
        picture = upload(http, f"{number}.png", data.getvalue())
        given = [picture, "cheetah, lion, tower, flower", "mini", PROMPTS, number]
        for again in range(10_000):
            answer = call(http, "analyse", given)
            if not isinstance(answer, httpx.Response):
                assert answer["provenance"]["seed"] == number
                return again
            if answer.status_code != BUSY or time.monotonic() > end:
                answer.raise_for_status()
            time.sleep(patience.uniform(0.2, 1.0))
    raise RuntimeError("never served")


def resident() -> int:
    """Bytes of this process in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def repeat(analyses: int, warm_up: int, folder: Path) -> tuple[int, int]:
    """Bytes in RAM after the warm-up and after so many more analyses of a tiny CLIP.

    Every analysis is a new question, so that nothing is remembered, and every tenth a new list.
    """
    name = save_tiny_clip(folder / "tiny")
    prompts = str(save_fresh_prompts(folder / "fresh.safetensors", load_backbone(name)))
    studio = Studio("cpu")
    loaded = studio.load(name, prompts)

    def run(first: int, count: int) -> int:
        for i in range(first, first + count):
            names = tuple(f"thing {i // 10} {k}" for k in range(8))
            studio.analyse(loaded, noise_picture(seed=i), names, AnalysisSettings(seed=i))
        gc.collect()
        return resident()

    return run(0, warm_up), run(warm_up, analyses)


def main() -> None:
    """Runs both and prints them as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--analyses", type=int, default=300)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        before, after = repeat(given.analyses, 50, Path(name))
        with served(Path(name) / "space") as space:
            idle = space.resident()
            found = crowd(space, given.visitors)
    for problem in found.other:
        print(problem)
    waits = sorted(found.waits)
    rows = {
        "visitors at once": f"{found.visitors}",
        "served": f"{found.served}",
        "until all were served": f"{found.seconds:.1f} s",
        "wait, median": f"{statistics.median(waits):.1f} s",
        "wait, longest": f"{waits[-1]:.1f} s",
        "asked again, since the queue was full": f"{found.again}",
        "other failures": f"{len(found.other)}",
        "memory of the app before, after": f"{idle / 2**20:.0f}, {found.resident / 2**20:.0f} MiB",
        f"memory after 50, after {given.analyses} more tiny analyses": (
            f"{before / 2**20:.1f}, {after / 2**20:.1f} MiB ({(after / before - 1) * 100:+.1f} %)"
        ),
    }
    print("| what | measured |\n|---|---|")
    for what, measured in rows.items():
        print(f"| {what} | {measured} |")


if __name__ == "__main__":
    main()
