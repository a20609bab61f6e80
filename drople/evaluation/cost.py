"""What a training step costs: the methods' steps take turns, so whatever slows one slows all.

A run's own log tells its seconds too, but beside whatever else the machine did just then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch

from drople.errors import DataError
from drople.evaluation.protocols import Setting, base_to_novel
from drople.evaluation.records import read_as, read_record, write_json
from drople.evaluation.runs import Made, made
from drople.training.config import TrainConfig
from drople.training.loop import build_model, fit
from drople.training.overrides import named
from drople.training.run import digest

TURNS = 16  # measured steps of each method; one before them pays for warm-up


@dataclass(frozen=True, kw_only=True)
class StepCost(Made):
    """The steps of one method; turn i is measured right beside turn i of the others."""

    seconds: Sequence[float]  # of each turn
    machine: str


def evaluate_costs(
    setting: Setting, configs: Sequence[TrainConfig], runs: Path, *, data_option: str
) -> list[StepCost]:
    """Measures methods on their base-to-novel task; kept in `runs` in place of earlier seconds.

    Raises:
        DataError: an epoch and the next hold less than two steps.
    """
    trainings = [base_to_novel(setting, config)[0] for config in configs]
    cache, processes = runs / "cache", setting.processes
    steps = [
        fit(build_model(setting.backbone, c), training.task, c, cache=cache, processes=processes)
        for training, c in zip(trainings, configs, strict=True)
    ]
    turns = list(islice(zip(*steps, strict=False), 1, TURNS + 1))
    if not turns:
        raise DataError("Too few images to time a step: a method needs two steps at least.")
    device = setting.backbone.device
    where = f"{torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
    measured = [
        StepCost(
            **made(setting, config, data_option),
            seconds=tuple(round(report.seconds, 4) for report in reports),
            machine=f"{device.type}, {where}, torch {torch.__version__}",
        )
        for config, *reports in zip(configs, *turns, strict=True)
    ]
    if processes.main:
        key = digest([named(c) for c in configs], setting.backbone.weights_hash, device.type)
        file = runs / "costs" / f"{setting.task.name}-{key}.json"
        write_json(file, [asdict(one) for one in measured])
    return measured


def read_costs(runs: Path) -> list[list[StepCost]]:
    """All that were measured under a folder: those that took turns together, together."""
    return [_read(file) for file in sorted((runs / "costs").glob("*.json"))]


def _read(file: Path) -> list[StepCost]:
    return [read_as(StepCost, one, file) for one in read_record(file, list)]
