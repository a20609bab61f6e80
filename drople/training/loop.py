"""The training loop: `fit` yields a report a step and leaves the model trained."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.tokens.draws import StreamDraws
from drople.training import losses
from drople.training.augment import flip, patch_randaugment
from drople.training.config import TrainConfig
from drople.training.data import Task
from drople.training.features import crop_all
from drople.training.objective import Objective
from drople.training.processes import ALONE, Processes
from drople.training.states import read_state, write_state


@dataclass(frozen=True)
class StepReport:
    """One optimiser step."""

    epoch: int  # from 0
    step: int  # from 0, in this epoch
    steps: int  # in an epoch
    lr: float
    seconds: float
    terms: dict[str, float]  # every loss term before its weight, and `total`


def build_model(backbone: Backbone, config: TrainConfig) -> PromptedClip:
    """A freshly initialised model of a method; the seed fixes its first values."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = PromptedClip(
            backbone, config.plan, bridge_tokens=config.bridge_tokens,
            lora=config.lora.plan(backbone.image_layer_count),
        )  # fmt: skip
    model.logit_scale.requires_grad_(config.learn_logit_scale)
    return model


def lr_at(
    config: TrainConfig, *, epoch: int, step: int, steps: int, low_rank: bool = False
) -> float:
    """The learning rate of a step (METHOD.md 5.2): warm-up, then a cosine an epoch.

    Low-rank changes have their own `lr`, `lr_floor` and `lr_warm`.

    The first 10 % of the first epoch's steps run at `lr_warm`; epoch e runs at
    lr max(floor, (1 + cos(pi e / epochs)) / 2). Where all of the first epoch is warm-up, e counts
    from the second (dassl/optim/lr_scheduler.py of Dassl.pytorch, its constant warm-up).
    """
    own, whole = config.lora if low_rank else config, config.warm_up == "epoch"
    if epoch == 0 and (whole or step < steps // 10):
        return own.lr_warm
    span = config.cosine_epochs or config.epochs
    factor = 0.5 * (1 + math.cos(math.pi * (epoch - whole) / span))
    return own.lr * max(own.lr_floor, factor)


def fit(
    model: PromptedClip, task: Task, config: TrainConfig, *, state: Path | None = None,
    cache: Path | None = None, processes: Processes = ALONE,
) -> Iterator[StepReport]:  # fmt: skip
    """Trains a model's prompts on `task.train`, one report a step.

    Args:
        state: written after each epoch; where it exists already, training goes on from it.
        cache: folder that keeps the frozen branch's features.
        processes: those that train together; each calls this with the same arguments.
    """
    with processes.main_first():
        objective = Objective.of(model, task, config, cache=cache, processes=processes)
    pixels = crop_all(model.backbone, task.train)  # (I, S, S, 3) uint8
    optimiser = _optimiser(model, config)
    average: dict[str, Tensor] = {}
    first = 0
    saved = None if state is None else read_state(state, model.backbone.device)
    if saved:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        average, first = saved["average"], saved["epoch"] + 1
    for epoch in range(first, config.epochs):
        yield from _epoch(objective, pixels, optimiser, epoch=epoch)
        _add_gaussian(average, model, config, epoch=epoch)
        if state is not None and processes.main:
            saved = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
            write_state(state, saved | {"average": average, "epoch": epoch})
    if average:
        total = average.pop("weight")
        model.load_state_dict({name: value / total for name, value in average.items()})


def _epoch(
    objective: Objective, pixels: np.ndarray, optimiser: torch.optim.Optimizer, *, epoch: int
) -> Iterator[StepReport]:
    # Everything random in an epoch comes from (seed, epoch): a resumed run repeats it exactly.
    model, config = objective.model, objective.config
    rng = np.random.default_rng([config.seed, epoch])
    draws = StreamDraws(torch.Generator().manual_seed(int(rng.integers(2**62))))
    order = rng.permutation(len(pixels))
    steps = -(-len(order) // config.batch)
    lam = losses.lambda_at(epoch, config.epochs, config.residual_lambda)
    for step in range(steps):
        began = time.perf_counter()
        index = order[step * config.batch : (step + 1) * config.batch]
        lr = lr_at(config, epoch=epoch, step=step, steps=steps)
        for place, group in enumerate(optimiser.param_groups):  # see `_optimiser`
            group["lr"] = lr_at(config, epoch=epoch, step=step, steps=steps, low_rank=place == 1)
        seen = _augment(pixels[index], model, config, rng=rng)
        terms = objective.terms(index, seen, draws, lam=lam)
        optimiser.zero_grad()
        terms["total"].backward()
        objective.processes.average(model.parameters())
        optimiser.step()
        if config.learn_logit_scale:
            with torch.no_grad():
                model.logit_scale.clamp_(0, 4.605)
        values = {name: float(term.detach()) for name, term in terms.items()}
        if model.backbone.device.type == "cuda":
            torch.cuda.synchronize(model.backbone.device)  # else the GPU is still at it
        seconds = time.perf_counter() - began
        yield StepReport(epoch, step, steps, lr, seconds, values)


def _augment(
    pixels: np.ndarray, model: PromptedClip, config: TrainConfig, *, rng: np.random.Generator
) -> Tensor:
    if config.augment == "flip":
        pixels = flip(pixels, rng)
    elif config.augment == "patch":
        pixels = patch_randaugment(pixels, rng, model.backbone.patch_size)
    return model.backbone.normalise(pixels)


def _optimiser(model: PromptedClip, config: TrainConfig) -> torch.optim.Optimizer:
    """The first group holds prompts, bridge and logit scale, the second low-rank changes."""
    low_rank = list(model.lora.parameters()) if model.lora else []
    theirs = {id(p) for p in low_rank}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in theirs]
    learnt = [{"params": group} for group in (others, low_rank) if group]
    if config.optimiser == "sgd":
        return torch.optim.SGD(learnt, lr=config.lr, momentum=0.9, weight_decay=config.weight_decay)
    return torch.optim.AdamW(learnt, lr=config.lr, weight_decay=config.weight_decay)


def _add_gaussian(
    average: dict[str, Tensor], model: PromptedClip, config: TrainConfig, *, epoch: int
) -> None:
    """PromptSRC's aggregation: a mean over epochs, weighted by a Gaussian (METHOD.md 8)."""
    if config.gaussian_epochs is None:
        return
    peak, sd = config.gaussian_epochs
    weight = math.exp(-0.5 * ((epoch + 1 - peak * config.epochs) / sd) ** 2)
    average["weight"] = average.get("weight", torch.zeros(())) + weight
    for name, value in model.state_dict().items():
        average[name] = average.get(name, torch.zeros_like(value)) + weight * value
