"""One training run on disk: its log, its resumable state and, once finished, its prompts."""

from __future__ import annotations

import json
import logging
from collections import deque
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tqdm import tqdm

from drople.errors import DataError, printable
from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.ranges import flattened
from drople.storage.files import locked, write_text
from drople.storage.prompts import PromptCard, load_prompts, save_prompts
from drople.training.config import TrainConfig
from drople.training.data import Task
from drople.training.loop import build_model, fit
from drople.training.overrides import contradictions, named
from drople.training.processes import ALONE, Processes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """Prompts that were learnt, and what their card says; `metrics` holds what it cost."""

    model: PromptedClip
    card: PromptCard
    log: Path


def train_run(
    backbone: Backbone, task: Task, config: TrainConfig, *, runs: Path, processes: Processes = ALONE
) -> Trained:
    """Learns prompts on `task.train`, or reads them where the very same run has finished.

    A run that was cut off goes on after its last whole epoch. Its files lie in `runs`/trained:
    NAME.jsonl with every loss term of every step, NAME.state while it is unfinished, and
    NAME.safetensors. Of several processes the main one writes, and all need to see the folder.
    """
    stem = runs / "trained" / training_name(backbone, task, config)
    log, _, prompts = (stem.with_name(f"{stem.name}.{end}") for end in _ENDINGS)
    # Of several processes those beside the main one hold no lock: they would wait for it for ever.
    lock = locked(stem.with_name(f".{stem.name}.lock"), wait=processes.count == 1)
    with lock if processes.main else nullcontext():
        if prompts.is_file():
            model, card = load_prompts(prompts, backbone)
            _check_asked(card, backbone, config, file=prompts)
            return Trained(model, card, log)
        return _train(backbone, task, config, runs=runs, stem=stem, processes=processes)


def _train(
    backbone: Backbone, task: Task, config: TrainConfig, *,
    runs: Path, stem: Path, processes: Processes,
) -> Trained:  # fmt: skip
    """Learns prompts, from the start or after a run's last whole epoch."""
    log, state, prompts = (stem.with_name(f"{stem.name}.{end}") for end in _ENDINGS)
    model = build_model(backbone, config)
    measured = forget_peak_memory(backbone)
    steps = fit(model, task, config, state=state, cache=runs / "cache", processes=processes)
    if not processes.main:
        deque(steps, maxlen=0)
        return Trained(model, describe(model, task, config), log)
    first = [*islice(steps, 1)]  # none where the last epoch was through
    if log.is_file() and first:
        _forget_from(first[0].epoch, log)
    if first and first[0].epoch:
        print(f"going on after epoch {first[0].epoch} of {config.epochs}")
    # Line by line, so that a run that is killed leaves no half line.
    with log.open("a", buffering=1) as lines, tqdm(unit="step", desc=config.method) as bar:
        for report in chain(first, steps):
            lines.write(json.dumps(asdict(report)) + "\n")
            bar.total = config.epochs * report.steps
            bar.n = report.epoch * report.steps + report.step + 1
            bar.set_postfix(epoch=report.epoch + 1, loss=f"{report.terms['total']:.3f}")
    seconds = [step["seconds"] for step in read_log(log)] or [0.0]
    cost = {"train_seconds": round(sum(seconds), 1), "seconds_per_step": round(median(seconds), 4)}
    if measured:
        cost["peak_mib"] = round(peak_mib(backbone))
    card = replace(describe(model, task, config), metrics=cost)
    save_prompts(prompts, model, card)
    state.unlink(missing_ok=True)
    return Trained(model, card, log)


_ENDINGS = ("jsonl", "state", "safetensors")


def training_name(backbone: Backbone, task: Task, config: TrainConfig) -> str:
    """A file name for a run; two runs share it only where everything that decides them is equal."""
    key = digest(backbone.weights_hash, named(config), task.classes, task.train.digest())
    backbone_name = backbone.name.replace("/", "-")
    return f"{backbone_name}-{task.name}-{config.method}-seed{config.seed}-{key}"


def _check_asked(card: PromptCard, backbone: Backbone, config: TrainConfig, *, file: Path) -> None:
    """Refuses stored prompts that were learnt in another way than their name says."""
    parts = {name: asdict(getattr(card, name)) for name in ("plan", "dropout")}
    counts = {"shots": card.shots, "bridge_tokens": card.bridge_tokens}
    stored = flattened({**card.training, **parts}) | counts
    plan = config.plan.capped(backbone.image_layer_count, backbone.text_layer_count)
    wrong = contradictions(stored, replace(config, plan=plan))
    if wrong:
        raise DataError(
            f"{file} was learnt with {'; '.join(wrong)}. Delete it, and run the command again."
        )


def digest(*parts: Any) -> str:
    """12 hex digits over values that JSON can write."""
    return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=6).hexdigest()


def read_log(log: Path) -> list[dict[str, Any]]:
    """The steps of a log, in order; a damaged line is left out, and said."""
    steps = []
    for number, line in enumerate(log.read_bytes().splitlines(), start=1):
        try:
            steps.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            logger.warning("%s: line %d is damaged and left out", printable(str(log)), number)
    return steps


def _forget_from(epoch: int, log: Path) -> None:
    """Takes an epoch that was cut off, and is run again, out of a log."""
    kept = [step for step in read_log(log) if step["epoch"] < epoch]
    write_text(log, "".join(json.dumps(step) + "\n" for step in kept))


def describe(model: PromptedClip, task: Task, config: TrainConfig) -> PromptCard:
    """The card of a model that was trained on a task, without metrics."""
    own = ("method", "plan", "dropout", "bridge_tokens", "shots", "seed")
    return PromptCard(
        backbone=model.backbone.name, backbone_hash=model.backbone.weights_hash,
        plan=model.plan, bridge_tokens=config.bridge_tokens, dropout=config.dropout,
        method=config.method, classes=task.classes, data=task.name,
        shots=config.shots, seed=config.seed, lora=model.lora.plan if model.lora else None,
        training={key: value for key, value in asdict(config).items() if key not in own},
    )  # fmt: skip


def forget_peak_memory(backbone: Backbone) -> bool:
    """Starts measuring memory again; False where this system cannot."""
    if backbone.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(backbone.device)
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak resident size
    except OSError:
        return False
    return True


def peak_mib(backbone: Backbone) -> float:
    """Most memory since then: of the GPU where the backbone is on one, else of this process."""
    if backbone.device.type == "cuda":
        return torch.cuda.max_memory_allocated(backbone.device) / 2**20
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) / 2**10
