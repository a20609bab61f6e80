"""One training step, and a run that is taken up again, on both devices."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from drople import PromptedClip
from drople.tokens.draws import StreamDraws
from drople.training.config import METHODS
from drople.training.data import Task
from drople.training.image_sets import ImageSet
from drople.training.loop import build_model, fit
from drople.training.objective import Objective
from drople.training.processes import ALONE
from tests.benchmarks.analysis import CLASSES
from tests.cuda.pairs import (
    RELATIVE,
    Pair,
    Row,
    Values,
    compared,
    photographs,
    relative,
)
from tests.tiny import Shown

METHODS_CHECKED = ("drople", "drople-vanilla", "promptsrc", "mpl")


def task_of(images: int = 8) -> Task:
    """Crops of the photographs and noise as a task of four classes."""
    rng = np.random.default_rng(1)
    sources = []
    for i in range(images):
        picture = photographs()[i % 4]
        left, top = (int(v) for v in rng.integers(0, 60, 2))
        sources.append(Shown(picture.crop((left, top, left + 240, top + 240))))
    keys = tuple(f"crop {i}" for i in range(images))
    found = ImageSet(sources, np.arange(images) % 4, np.zeros(images, int), keys)
    return Task("crops", CLASSES[:4], found, found, found)


def training(pair: Pair) -> Iterator[Row]:
    """Loss terms and gradients of one step of four methods; training has fp32 and bf16."""
    task = task_of()
    pixels = np.stack([pair.cpu.backbone.pixels(task.train.read(i)) for i in range(8)])

    for method in METHODS_CHECKED:

        def compute(model: PromptedClip, precision: str, method: str = method) -> Values:
            config = replace(METHODS[method], precision=precision)
            fresh = build_model(model.backbone, config)
            objective = Objective.of(fresh, task, config, cache=None, processes=ALONE)
            stream = StreamDraws(torch.Generator().manual_seed(3))
            seen = model.backbone.normalise(pixels)
            terms = objective.terms(np.arange(8), seen, stream, lam=0.05)
            terms["total"].backward()
            gradients = {
                name: p.grad.flatten() for name, p in fresh.named_parameters() if p.grad is not None
            }
            worst = torch.cat([g / g.abs().max().clamp_min(1e-20) for g in gradients.values()])
            return {
                "loss terms": torch.stack([t.detach().float().cpu() for t in terms.values()]),
                f"gradients of {len(gradients)} tensors": worst,
            }

        yield from compared(
            f"{method}:", pair, compute, gap=relative, allowed=RELATIVE, precisions=["fp32", "bf16"]
        )


def fitting(pair: Pair) -> Iterator[Row]:
    """Two epochs of one step, the second one after a restart from the state on disk."""

    def run(model: PromptedClip) -> Tensor:
        config = replace(
            METHODS["promptsrc"], precision="fp32", epochs=2, batch=8, augment="patch", lr=1e-4
        )
        with tempfile.TemporaryDirectory() as name:
            where = {"state": Path(name) / "state", "cache": Path(name) / "cache"}
            first = next(fit(build_model(model.backbone, config), task_of(), config, **where))
            begun = fit(build_model(model.backbone, config), task_of(), config, **where)
            next(begun), next(begun)  # the state is written on the way to the second epoch
            begun.close()
            (second,) = fit(build_model(model.backbone, config), task_of(), config, **where)
        return torch.tensor([[*one.terms.values()] for one in (first, second)])

    far = relative(run(pair.cpu), run(pair.other))
    yield Row(
        f"fit, taken up again, {pair.name}", "fp32", f"{far:.1e}", f"{RELATIVE:.1e}",
        far <= RELATIVE,
    )  # fmt: skip
