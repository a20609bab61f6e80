"""python -m drople train: learns prompts and writes them with their card."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

from drople.checkpoints import save_prompts
from drople.commands.options import add_config_options, add_data_options, config_of
from drople.devices import device_of
from drople.errors import SettingsError
from drople.evaluation.accuracy import adapted_hits, base_to_novel, frozen_hits, percent
from drople.models.backbone import load_backbone
from drople.models.prompted_clip import PromptedClip
from drople.training.config import METHODS, TrainConfig
from drople.training.data import Task
from drople.training.datasets import open_task
from drople.training.processes import Processes
from drople.training.run import train_run, training_name


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
    config = config_of(given, given.method, given.seed)
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
    trained = train_run(backbone, task, config, given.runs, processes)
    if not processes.main:
        return
    save_prompts(out, trained.model, trained.card)  # a damaged test image costs no prompts
    seconds = trained.card.metrics["train_seconds"]
    print(f"learnt on {len(task.train)} images of {len(task.classes)} classes in {seconds:.0f} s")
    log = training_name(backbone, task, config) + ".jsonl"
    print(f"every step, its loss terms before their weights: {given.runs / 'trained' / log}")
    test = _base_to_novel if halves else _all_classes
    metrics = {**trained.card.metrics, **test(trained.model, whole, config, given.runs / "cache")}
    save_prompts(out, trained.model, replace(trained.card, metrics=metrics))
    print(f"wrote {out}")


def _base_to_novel(
    model: PromptedClip, whole: Task, config: TrainConfig, cache: Path
) -> dict[str, float]:
    """Prints and returns accuracies on each half of the classes, against its own names."""
    metrics = {}
    branches = base_to_novel(model, whole, config, split="test", cache=cache)
    for branch, found in zip(("adapted", "frozen"), branches, strict=True):
        for measure in ("base", "novel", "harmonic_mean"):
            metrics[f"{branch}_{measure}"] = round(getattr(found, measure), 2)
        print(
            f"{branch:8s} base {found.base:5.2f}  novel {found.novel:5.2f}  "
            f"harmonic mean {found.harmonic_mean:5.2f}"
        )
    print(f"percent of {len(whole.base().test)} and {len(whole.novel().test)} test images")
    return metrics


def _all_classes(
    model: PromptedClip, whole: Task, config: TrainConfig, cache: Path
) -> dict[str, float]:
    """Prints and returns accuracies over all classes."""
    names, images = whole.classes, whole.test
    adapted = percent(adapted_hits(model, names, images, config.precision))
    frozen = percent(frozen_hits(model, names, images, config, cache))
    print(f"adapted {adapted:5.2f}  frozen {frozen:5.2f}   percent of {len(images)} test images")
    return {"adapted_accuracy": round(adapted, 2), "frozen_accuracy": round(frozen, 2)}


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
