"""python -m drople train: learns prompts and writes them with their card."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

from drople.commands.options import add_config_options, add_data_options, config_of, precision_of
from drople.devices import device_of
from drople.errors import SettingsError
from drople.evaluation.accuracy import accuracies, harmonic_mean
from drople.models.backbone import load_backbone
from drople.models.prompted_clip import PromptedClip
from drople.storage.prompts import save_prompts
from drople.training.config import METHODS, TrainConfig
from drople.training.data import Task
from drople.training.datasets import open_task
from drople.training.processes import Processes
from drople.training.run import train_run


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    add = parser.add_argument
    add_data_options(parser)
    add("--method", default="drople", choices=[*METHODS], help="what is learnt and how")
    add(
        "--classes",
        default="all",
        choices=["base", "all"],
        help="to learn on: all, or base, the first half by name, to test on the other half too",
    )
    add("--seed", type=int, default=TrainConfig().seed)
    add("--out", type=Path, help="the .safetensors file to write")
    add_config_options(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Carries the command out; started by `accelerate launch`, on several GPUs at once."""
    config = config_of(given, given.method, given.seed)  # before anything is loaded
    if not config.learns():
        raise SettingsError("zero-shot learns nothing; choose another --method.")
    whole = open_task(given.data, given.root)
    halves = given.classes == "base"
    task = (whole.base() if halves else whole).few(config.shots, config.seed)
    name = f"{given.backbone.replace('/', '-')}-{whole.name}-{config.method}-seed{config.seed}"
    out = given.out or given.runs / f"{name}.safetensors"
    _check_writable(out)
    processes = Processes.started(given.device)
    backbone = load_backbone(given.backbone, device_of(given.device))
    precision = precision_of(given, backbone, processes)
    config = config_of(given, given.method, given.seed, precision=precision)
    trained = train_run(backbone, task, config, given.runs, processes)
    if not processes.main:
        return
    save_prompts(out, trained.model, trained.card)  # a damaged test image costs no prompts
    seconds = trained.card.metrics["train_seconds"]
    print(f"learnt on {len(task.train)} images of {len(task.classes)} classes in {seconds:.0f} s")
    print(f"every step, its loss terms before their weights: {trained.log}")
    exams = {"base": whole.base(), "novel": whole.novel()} if halves else {"accuracy": whole}
    metrics = {
        **trained.card.metrics,
        **_tested(trained.model, exams, config, given.runs / "cache"),
    }
    save_prompts(out, trained.model, replace(trained.card, metrics=metrics))
    print(f"wrote {out}")


def _tested(
    model: PromptedClip, exams: Mapping[str, Task], config: TrainConfig, cache: Path
) -> dict[str, float]:
    """Prints and returns what both branches get right in each task, against its own names."""
    found = [accuracies(model, task.classes, task.test, config, cache) for task in exams.values()]
    metrics: dict[str, float] = {}
    for branch, percents in zip(("adapted", "frozen"), zip(*found, strict=True), strict=True):
        figures = dict(zip(exams, percents, strict=True))
        if len(percents) == 2:
            figures["harmonic_mean"] = harmonic_mean(*percents)
        print(f"{branch:8s}", *(f"{name} {value:.2f}" for name, value in figures.items()))
        metrics |= {f"{branch}_{name}": round(value, 2) for name, value in figures.items()}
    sizes = " and ".join(str(len(task.test)) for task in exams.values())
    print(f"percent of {sizes} test images")
    return metrics


def _check_writable(out: Path) -> None:
    """Before anything is learnt.

    Raises:
        SettingsError: the file could not be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise SettingsError(
            f"{out} cannot be written: {error.strerror}. Choose another --out."
        ) from None
