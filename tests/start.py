"""Where the time goes before the first analysis, and in a step of training.

    python tests/start.py

Prints the seconds until the page of a fresh app answers and, in another process, those of its
parts (median of four); and seconds and page faults of a training step of `mini`, with the C
library as it is and told to keep what is freed.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from serving import served
from squares import coloured_squares

from drople import load_backbone
from drople.training.config import METHODS
from drople.training.loop import build_model, fit

ROOT = Path(__file__).parents[1]
TURNS = 4
# What is imported one after the other, as app.py does.
PARTS = {
    "torch": "import torch",
    "torchvision": "import torchvision",
    "open_clip": "import open_clip",
    "Gradio": "import gradio",
    "all other packages and our modules": "import app.demo",
    "building the page": "app.demo.build_demo(app.demo.Studio('cpu'))",
    "and, while the page is there, weights of mini": "import drople; drople.load_backbone('mini')",
}
SKIPPED, STEPS = 3, 9  # steps not counted, steps in all; each has all twelve pictures
KEPT = {"MALLOC_TRIM_THRESHOLD_": str(2**33), "MALLOC_MMAP_THRESHOLD_": str(2**33)}


def main() -> None:
    """Prints both tables; a call with a method's name measures its step, for the caller."""
    if len(sys.argv) > 1:
        print(json.dumps(step(sys.argv[1])))
        return
    turns = [(page_there(), by_part()) for _ in range(TURNS)]
    print(f"until the page answers: {median(page for page, _ in turns):.1f} s, of which")
    for name in PARTS:
        print(f"  {name}: {median(parts[name] for _, parts in turns):.1f} s")
    for method in ("drople", "drople-none"):
        for how, memory in (("freed", {}), ("kept", KEPT)):
            seconds, system, faults = json.loads(python(__file__, method, **memory))
            print(
                f"a step of {method}, memory {how}: {seconds:.2f} s, of which {system:.2f} s in "
                f"the system; {faults:,.0f} page faults"
            )


def python(*arguments: str, **environment: str) -> str:
    """What a Python of its own prints."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **environment},
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


def page_there() -> float:
    """Seconds until the page of a fresh app answers."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with served(Path(folder), environment={"PYTHONDONTWRITEBYTECODE": ""}):
            return time.perf_counter() - began


def by_part() -> dict[str, float]:
    """Seconds of each part, in one fresh process."""
    lines = ["import json, time", "ends = [time.perf_counter()]"]
    for code in PARTS.values():
        lines += [code, "ends.append(time.perf_counter())"]
    lines.append("print(json.dumps(ends))")
    ends = json.loads(python("-c", "\n".join(lines)).splitlines()[-1])
    return {name: ends[i + 1] - ends[i] for i, name in enumerate(PARTS)}


def step(method: str) -> tuple[float, float, float]:
    """Seconds, seconds in the system and page faults of a training step in fp32."""
    config = replace(METHODS[method], epochs=STEPS, batch=16, precision="fp32")
    model = build_model(load_backbone("mini"), config)
    for i, _ in enumerate(fit(model, coloured_squares(), config)):
        if i == SKIPPED:
            began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        if i == STEPS:
            break
    after = resource.getrusage(resource.RUSAGE_SELF)
    count = i - SKIPPED
    return (
        (time.perf_counter() - began) / count,
        (after.ru_stime - before.ru_stime) / count,
        (after.ru_minflt - before.ru_minflt) / count,
    )


if __name__ == "__main__":
    main()
