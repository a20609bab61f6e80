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
from torch.nn import functional as F

from drople.draws import RowsOfDraws, StreamDraws
from drople.dropout import TokenDropout
from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.models.towers import LayerRecord, read_image, read_text
from drople.training import losses
from drople.training.augment import flip, patch_randaugment
from drople.training.config import TrainConfig
from drople.training.data import Task
from drople.training.features import (
    autocast,
    crop_all,
    frozen_image_features,
    frozen_text_features,
)
from drople.training.processes import ALONE, Processes


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
        model = PromptedClip(backbone, config.plan, bridge_tokens=config.bridge_tokens)
    model.logit_scale.requires_grad_(config.learn_logit_scale)
    return model


def lr_at(epoch: int, step: int, steps: int, config: TrainConfig) -> float:
    """The learning rate of a step (METHOD.md 5.2): warm-up, then a cosine an epoch.

    The first 10 % of the first epoch's steps run at `lr_warm`; epoch e runs at
    lr max(floor, (1 + cos(pi e / epochs)) / 2).
    """
    if epoch == 0 and step < steps // 10:
        return config.lr_warm
    factor = 0.5 * (1 + math.cos(math.pi * epoch / config.epochs))
    return config.lr * max(config.lr_floor, factor)


def fit(
    model: PromptedClip,
    task: Task,
    config: TrainConfig,
    *,
    state: Path | None = None,
    cache: Path | None = None,
    processes: Processes = ALONE,
) -> Iterator[StepReport]:
    """Trains a model's prompts on `task.train`, one report a step.

    Args:
        state: written after each epoch; where it exists already, training goes on from it.
        cache: folder that keeps the frozen branch's features.
        processes: those that train together; each calls this with the same arguments.
    """
    with processes.main_first():
        run = _Run.prepare(model, task, config, cache, processes)
    optimiser = _optimiser(model, config)
    average: dict[str, Tensor] = {}
    first = 0
    if state is not None and state.is_file():
        saved = torch.load(state, map_location=model.backbone.device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        average, first = saved["average"], saved["epoch"] + 1
    for epoch in range(first, config.epochs):
        yield from _epoch(run, optimiser, epoch)
        _add_gaussian(average, model, epoch, config)
        if state is not None and processes.main:
            state.parent.mkdir(parents=True, exist_ok=True)
            partial = state.with_suffix(".part")
            saved = {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "average": average,
                "epoch": epoch,
            }
            torch.save(saved, partial)
            partial.rename(state)
    if average:
        total = average.pop("weight")
        model.load_state_dict({name: value / total for name, value in average.items()})


@dataclass(frozen=True)
class _Run:
    """What stays the same over the steps of a run."""

    model: PromptedClip
    config: TrainConfig
    labels: Tensor  # (I,)
    pixels: np.ndarray  # (I, S, S, 3) uint8
    ids: Tensor  # (K, N)
    frozen_images: Tensor  # (I, E), unit
    frozen_text: Tensor  # (K, E), unit
    processes: Processes

    @classmethod
    def prepare(
        cls,
        model: PromptedClip,
        task: Task,
        config: TrainConfig,
        cache: Path | None,
        processes: Processes,
    ) -> _Run:
        backbone, device = model.backbone, model.backbone.device
        frozen = frozen_image_features(
            backbone, task.train, precision=config.precision, cache=cache
        )
        return cls(
            model,
            config,
            torch.from_numpy(task.train.labels).to(device),
            crop_all(backbone, task.train),
            backbone.tokenise(model.phrases(task.classes)),
            frozen.to(device),
            frozen_text_features(backbone, task.classes, config),
            processes,
        )


def _epoch(run: _Run, optimiser: torch.optim.Optimizer, epoch: int) -> Iterator[StepReport]:
    # Everything random in an epoch comes from (seed, epoch): a resumed run repeats it exactly.
    config = run.config
    rng = np.random.default_rng([config.seed, epoch])
    draws = StreamDraws(torch.Generator().manual_seed(int(rng.integers(2**62))))
    order = rng.permutation(len(run.labels))
    steps = -(-len(order) // config.batch)
    lam = losses.lambda_at(epoch, config.epochs, config.residual_lambda)
    for step in range(steps):
        began = time.perf_counter()
        index = order[step * config.batch : (step + 1) * config.batch]
        lr = lr_at(epoch, step, steps, config)
        for group in optimiser.param_groups:
            group["lr"] = lr
        terms = _terms(run, index, _augment(run, index, rng), draws, lam)
        optimiser.zero_grad()
        terms["total"].backward()
        run.processes.average(run.model.parameters())
        optimiser.step()
        if config.learn_logit_scale:
            with torch.no_grad():
                run.model.logit_scale.clamp_(0, 4.605)
        seconds = time.perf_counter() - began
        values = {name: float(term.detach()) for name, term in terms.items()}
        yield StepReport(epoch, step, steps, lr, seconds, values)


def _augment(run: _Run, index: np.ndarray, rng: np.random.Generator) -> Tensor:
    pixels = run.pixels[index]
    if run.config.augment == "flip":
        pixels = flip(pixels, rng)
    elif run.config.augment == "patch":
        patch = run.model.backbone.visual.conv1.kernel_size[0]
        pixels = patch_randaugment(pixels, rng, patch)
    return run.model.backbone.normalise(torch.from_numpy(np.ascontiguousarray(pixels)))


def _terms(
    run: _Run, index: np.ndarray, pixels: Tensor, draws: StreamDraws, lam: float
) -> dict[str, Tensor]:
    """Every term of the objective for one batch (METHOD.md 5.1), and their weighted `total`."""
    model, config, processes = run.model, run.config, run.processes
    batch, mine = len(index), processes.rows(len(index))
    weights, dropout = config.losses, config.dropout
    plan, visual, text = model.plan, model.backbone.visual, model.backbone.text
    scored = dropout.strategy not in ("none", "vanilla")
    reads = model.bridge is not None and weights.alignment > 0
    image_depth = min(dropout.image_depth, plan.image_depth)
    text_depth = min(dropout.text_depth, plan.text_depth)

    with autocast(model.backbone, config.precision):
        image_record, image_bridge = _walk(
            model.image_layers(
                pixels[mine],
                read_bridge=reads,
                score=scored,
                watched=image_depth,
                dropout=TokenDropout.of(
                    dropout, RowsOfDraws(draws, mine, batch), depth=image_depth
                ),
                readout_only=True,
            )
        )
        text_record, text_bridge = _walk(
            model.text_layers(
                run.ids,
                read_bridge=reads,
                score=scored,
                watched=text_depth,
                dropout=TokenDropout.of(dropout, draws, depth=text_depth),
                drop_sos=dropout.drop_sos,
                readout_only=True,
            )
        )
        z_v = processes.whole(read_image(visual, image_record), batch)
        z_v = F.normalize(z_v.float(), dim=-1)  # (B, E)
        z_t = F.normalize(read_text(text, text_record).float(), dim=-1)  # (K, E)
    rows = torch.from_numpy(index).to(run.labels.device)
    labels, frozen_image = run.labels[rows], run.frozen_images[rows]
    scale = model.logit_scale.exp()
    logits = scale * z_v @ z_t.T  # (B, K)
    terms = {"cross_entropy": F.cross_entropy(logits, labels)}
    total = terms["cross_entropy"]
    if weights.text_l1:
        terms["text_l1"] = losses.l1_consistency(z_t, run.frozen_text)
        total = total + weights.text_l1 * terms["text_l1"]
    if weights.image_l1:
        terms["image_l1"] = losses.l1_consistency(z_v, frozen_image)
        total = total + weights.image_l1 * terms["image_l1"]
    if weights.distillation:
        frozen_logits = scale * frozen_image @ run.frozen_text.T
        terms["distillation"] = losses.distillation(logits, frozen_logits)
        total = total + weights.distillation * terms["distillation"]
    if weights.residual_entropy:
        terms["entropy_image"], terms["entropy_text"] = losses.residual_entropy(
            z_v, z_t, frozen_image, run.frozen_text, scale=scale, lam=lam
        )
        entropy = terms["entropy_image"] + terms["entropy_text"]
        total = total - weights.residual_entropy * entropy
    if reads:
        image_bridge = [processes.whole(gathered, batch) for gathered in image_bridge]
        terms["alignment"] = losses.alignment(image_bridge, text_bridge, labels)
        total = total + weights.alignment * terms["alignment"]
    if weights.knowledge:
        terms["knowledge"] = losses.knowledge(z_t, run.frozen_text)
        total = total + weights.knowledge * terms["knowledge"]
    return {**terms, "total": total}


def _walk(records: Iterator[LayerRecord]) -> tuple[LayerRecord, list[Tensor]]:
    """The last record, and what the bridge gathered in each layer it read, (B, M, E)."""
    gathered = []
    for record in records:
        if record.bridge is not None:
            gathered.append(record.bridge.features)
    return record, gathered


def _optimiser(model: PromptedClip, config: TrainConfig) -> torch.optim.Optimizer:
    learnt = [p for p in model.parameters() if p.requires_grad]
    if config.optimiser == "sgd":
        return torch.optim.SGD(learnt, lr=config.lr, momentum=0.9, weight_decay=config.weight_decay)
    return torch.optim.AdamW(learnt, lr=config.lr, weight_decay=config.weight_decay)


def _add_gaussian(
    average: dict[str, Tensor], model: PromptedClip, epoch: int, config: TrainConfig
) -> None:
    """PromptSRC's aggregation: a mean over epochs, weighted by a Gaussian (METHOD.md 8)."""
    if config.gaussian_epochs is None:
        return
    mean, sd = (part * config.epochs for part in config.gaussian_epochs)
    weight = math.exp(-0.5 * ((epoch + 1 - mean) / sd) ** 2)
    average["weight"] = average.get("weight", torch.zeros(())) + weight
    for name, value in model.state_dict().items():
        average[name] = average.get(name, torch.zeros_like(value)) + weight * value
