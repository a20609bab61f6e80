"""What the overview weighs and how fast it moves: python -m tests.benchmarks.overview.

The page that Save writes is opened in Chromium with one analysis of mini, ten classes and 32 draws;
the layer is moved fifty times. The goals: at most 600 KB, a change in under 16 ms, idle.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from statistics import median

from playwright.sync_api import sync_playwright

from app.examples import EXAMPLES
from app.export.standalone import standalone_page
from app.form import Form, settings_of
from app.overview.payload import Overview
from app.overview.stream import draws_in_turns
from app.studio import Studio
from drople.images import read_image

CLASSES = ("cat", "bird", "dog", "rabbit", "horse", "fish", "bear", "sheep", "boat", "car")
CHANGES = 50
# Milliseconds of script and layout, and from one painted frame to the next, of each change.
MOVE = """async changes => {
    const frame = () => new Promise(requestAnimationFrame), taken = [], frames = []
    let before = await frame()
    for (let i = 0; i < changes; i++) {
        const begun = performance.now()
        lens.set({ layer: i % 12 })
        document.body.getBoundingClientRect()
        taken.push(performance.now() - begun)
        const now = await frame()
        frames.push(now - before)
        before = now
    }
    return [taken, frames]
}"""


def payload_of(studio: Studio) -> dict:
    """One analysis of the first example with all its draws."""
    loaded = studio.load(prompts=next(iter(studio.prompts_for("mini"))))
    settings = settings_of(Form(), trained=loaded.dropout)
    analysis = studio.analyse(loaded, read_image(EXAMPLES[0].photo), CLASSES, settings)
    return Overview(analysis).payload([*draws_in_turns(studio, loaded, analysis)])


def main() -> None:
    payload = payload_of(Studio("cpu"))
    told = f"{len(payload['shown'])} classes, {payload['layers']} layers"
    print(f"load {os.getloadavg()[0]:.1f}; {told}, {payload['draws']['count']} draws")
    size = len(json.dumps(payload, separators=(",", ":")).encode())
    print(f"  payload: {size / 1000:.0f} KB (goal 600)")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        path = Path(folder) / "page.html"
        path.write_text(standalone_page(payload, {}), encoding="utf-8")
        browser = running.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--headless", "--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(path.as_uri())
        page.locator(".drople-lens.filled").wait_for()
        page.evaluate(MOVE, 12)  # what is computed once for a layer
        taken, frames = page.evaluate(MOVE, CHANGES)
        browser.close()
    print(f"  a layer change: {median(taken):.1f} ms of script and layout (goal 16)")
    print(f"  from frame to frame: {median(frames):.1f} ms")


if __name__ == "__main__":
    main()
