"""Many visitors at once, and many analyses one after the other: `python tests/load.py`.

Talks to an app of its own on this machine only. Prints a table.
"""

from __future__ import annotations

import argparse
import io
import platform
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from serving import Served, served, upload
from tiny import noise_picture
from visiting import page_of

PATIENCE = 3600  # seconds a visitor waits at most
WARM_UP = 14  # analyses; each kind of picture twice
# Width, height, format and how it is written: what a phone, a camera and the web give.
PICTURES = (
    (224, 224, "PNG", {}),
    (4000, 3000, "JPEG", {}),  # 12 megapixels
    (1280, 960, "JPEG", {}),
    (8000, 6000, "JPEG", {}),  # 48
    (1600, 1200, "WEBP", {}),
    (5000, 4000, "JPEG", {"progressive": True}),
    (5600, 4200, "PNG", {}),  # the largest that is no JPEG
)


@dataclass
class Crowd:
    """What happened to the visitors."""

    visitors: int
    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)  # seconds from arrival to the answer
    places: list[int] = field(default_factory=list)  # of each visitor: the first they were told
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
        data = io.BytesIO()
        noise_picture(224, 224, seed=number).save(data, "PNG")
        began = time.monotonic()
        try:
            with page_of(space.url, PATIENCE) as page:
                page.values[page.part("image")] = upload(
                    page.http, f"{number}.png", data.getvalue()
                )
                page.fill("classes", "cheetah, lion, tower, flower")
                next(page.press("run"))  # and leaves with the answer
        except (httpx.HTTPError, RuntimeError, KeyError) as error:
            with lock:
                found.other.append(f"visitor {number}: {error!r}")
            return
        ranks = [one["rank"] for one in page.told if one["msg"] == "estimation"]
        with lock:
            found.again += page.again
            found.waits.append(time.monotonic() - began)
            found.places += ranks[:1]

    began = time.monotonic()
    with ThreadPoolExecutor(visitors) as pool:
        list(pool.map(visit, range(visitors)))
    found.seconds, found.resident = time.monotonic() - began, space.resident()
    return found


def repeat(space: Served, analyses: int) -> list[int]:
    """Bytes of the app in RAM after each of so many analyses of all kinds of pictures, with draws.

    Every one is a new visitor with a new picture, every tenth has a new list of classes.
    """
    files = [_photo(*one, seed=i) for i, one in enumerate(PICTURES)]
    sizes = []
    for i, (name, data) in enumerate(islice(cycle(files), analyses)):
        with page_of(space.url, PATIENCE) as page:
            # What follows a picture in its file is not read, but makes it another file.
            given = upload(page.http, name, data + i.to_bytes(4, "big"))
            page.fill("image", given)
            page.fill("classes", ", ".join(f"thing {i // 10} {k}" for k in range(3 + i % 8 * 7)))
            page.fill("seed", i)
            try:
                assert len([*page.press("run")]) > 1
            except RuntimeError as error:  # draws on a machine with other work
                if "more than 120 seconds" not in str(error):
                    raise
        sizes.append(space.resident())
        if i % 10 == 9:
            print(f"after {i + 1}: {_mib(sizes[-1])}, peak {_mib(space.peak())}", flush=True)
    return sizes


def _photo(
    width: int, height: int, kind: str, how: dict[str, bool], *, seed: int
) -> tuple[str, bytes]:
    """Name and content of a picture of smooth colours."""
    few = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC).save(data, kind, **how)
    return f"{width}x{height}.{kind.lower()}", data.getvalue()


def grown(sizes: list[int]) -> float:
    """By how much the app is larger at the end than after the warm-up, as a share.

    Both are medians of seven analyses, one of each kind of picture.
    """
    kinds = len(PICTURES)
    return (
        statistics.median(sizes[-kinds:]) / statistics.median(sizes[WARM_UP - kinds : WARM_UP]) - 1
    )


def main() -> None:
    """Runs both and prints them as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, default=150)
    parser.add_argument("--analyses", type=int, default=300)
    given = parser.parse_args()
    rows = {"machine": f"{platform.machine()}, {platform.libc_ver()}"}
    with tempfile.TemporaryDirectory() as name:
        if given.analyses:
            with served(Path(name) / "one") as space:
                idle, began = space.resident(), time.monotonic()
                sizes = repeat(space, given.analyses)
                seconds, peak = time.monotonic() - began, space.peak()
            rows |= {
                "analyses one after the other, with their draws": f"{given.analyses}",
                "seconds for each": f"{seconds / given.analyses:.1f} s",
                "memory at the start": _mib(idle),
                f"memory after {WARM_UP}": _mib(sizes[WARM_UP - 1]),
                "memory at the end": f"{_mib(sizes[-1])} ({grown(sizes) * 100:+.1f} %)",
                "least and most after the warm-up": (
                    f"{_mib(min(sizes[WARM_UP:]))}, {_mib(max(sizes[WARM_UP:]))}"
                ),
                "peak": _mib(peak),
            }
        if given.visitors:
            with served(Path(name) / "crowd") as space:
                found = crowd(space, given.visitors)
                peak = space.peak()
            for problem in found.other:
                print(problem)
            waits = sorted(found.waits)
            rows |= {
                "visitors at once": f"{found.visitors}",
                "served": f"{found.served}",
                "told their place in the queue": f"{len(found.places)}",
                "until all were served": f"{found.seconds:.1f} s",
                "wait, median": f"{statistics.median(waits):.1f} s",
                "wait, longest": f"{waits[-1]:.1f} s",
                "asked again, since the queue was full": f"{found.again}",
                "other failures": f"{len(found.other)}",
                "memory of the app at the end, peak": f"{_mib(found.resident)}, {_mib(peak)}",
            }
    print("| what | measured |\n|---|---|")
    for what, measured in rows.items():
        print(f"| {what} | {measured} |")


def _mib(size: float) -> str:
    return f"{size / 2**20:.0f} MiB"


if __name__ == "__main__":
    main()
