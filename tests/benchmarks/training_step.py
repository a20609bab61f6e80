"""What a training step costs beside one without dropout: python -m tests.benchmarks.training_step.

Steps of all methods take turns in one run, on the CPU, with `mini`, noise for images, batch 16 and
50 classes, so that whatever else the machine does slows them alike. The target for DroPLe is 1.3.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from statistics import median

import numpy as np
import torch
from PIL import Image

from drople.models.backbone import Backbone, load_backbone
from drople.training.config import METHODS, TrainConfig
from drople.training.data import ImageSet, Task
from drople.training.loop import StepReport, build_model, fit

COMPARED = ("drople-none", "drople", "drople-vanilla", "mpl", "coop", "maple", "promptsrc")
BATCH, CLASSES = 16, 50


def steps(backbone: Backbone, config: TrainConfig, task: Task) -> Iterator[StepReport]:
    """A run of one method, a step at a time."""
    return fit(build_model(backbone, config), task, config)


def noise_task(backbone: Backbone, count: int) -> Task:
    """Pictures of noise in fifty classes; what they show changes no time."""
    rng = np.random.default_rng(0)
    size = backbone.image_size
    pictures = [
        Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)) for _ in range(count)
    ]
    readers = [partial(Image.Image.copy, picture) for picture in pictures]
    labels = np.arange(count) % CLASSES
    keys = tuple(f"noise {i}" for i in range(count))
    images = ImageSet(readers, labels, np.zeros(count, dtype=int), keys)
    names = tuple(f"thing number {i}" for i in range(CLASSES))
    return Task("noise", names, images, images, images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=6)
    given = parser.parse_args()
    backbone = load_backbone("mini")
    task = noise_task(backbone, BATCH * (given.repeats + 2))
    configs = {name: replace(METHODS[name], batch=BATCH, epochs=1) for name in COMPARED}
    runs = {name: steps(backbone, config, task) for name, config in configs.items()}
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(given.repeats + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            next(run)
            if turn:  # the first pays for frozen features and warm-up
                taken[name].append(time.perf_counter() - began)
    print(f"torch {torch.__version__}, CPU, {torch.get_num_threads()} threads, ", end="")
    print(f"load {os.getloadavg()[0]:.1f}; batch {BATCH}, {CLASSES} classes, bf16")
    for name, seconds in taken.items():
        ratio = median(a / b for a, b in zip(seconds, taken["drople-none"], strict=True))
        print(f"  {name:16s} {median(seconds):.2f} s a step, {ratio:.2f} of drople-none")


if __name__ == "__main__":
    main()
