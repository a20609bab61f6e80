"""python -m drople train: learns prompts and writes them with their card."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from drople.checkpoints import save_prompts
from drople.commands.options import add_config_options, add_data_options, config_of
from drople.errors import SettingsError
from drople.evaluation.accuracy import base_to_novel
from drople.models.backbone import load_backbone
from drople.training.config import METHODS, TrainConfig
from drople.training.datasets import open_task
from drople.training.processes import Processes, device_of
from drople.training.run import train_run


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    add = parser.add_argument
    add_data_options(parser)
    add("--method", default="drople", choices=[*METHODS], help="what is learnt and how")
    add("--classes", default="base", choices=["base", "all"], help="which classes to learn on")
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
    task = (whole.base() if given.classes == "base" else whole).few(config.shots, config.seed)
    processes = Processes.started(given.device)
    backbone = load_backbone(given.backbone, device_of(given.device))
    trained = train_run(backbone, task, config, given.runs, processes)
    if not processes.main:
        return
    metrics = dict(trained.card.metrics)
    seconds = metrics["train_seconds"]
    print(f"learnt on {len(task.train)} images of {len(task.classes)} classes in {seconds:.0f} s")
    if given.classes == "base":
        cache = given.runs / "cache"
        branches = base_to_novel(trained.model, whole, config, split="test", cache=cache)
        for branch, found in zip(("adapted", "frozen"), branches, strict=True):
            for measure in ("base", "novel", "harmonic_mean"):
                metrics[f"{branch}_{measure}"] = round(getattr(found, measure), 2)
            print(
                f"{branch:8s} base {found.base:5.2f}  novel {found.novel:5.2f}  "
                f"harmonic mean {found.harmonic_mean:5.2f}   (test, percent)"
            )
    name = f"{given.backbone.replace('/', '-')}-{whole.name}-{config.method}-seed{config.seed}"
    out = given.out or given.runs / f"{name}.safetensors"
    save_prompts(out, trained.model, replace(trained.card, metrics=metrics))
    print(f"wrote {out}")
