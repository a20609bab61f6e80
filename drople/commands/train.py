"""python -m drople train: learns prompts and writes them with their card."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from shlex import quote

from drople.commands.options import add_config_options, add_data_options, config_of, precision_of
from drople.devices import device_of
from drople.errors import SettingsError
from drople.evaluation.accuracy import accuracies, harmonic_mean
from drople.models.backbone import load_backbone
from drople.storage.files import check_folder, check_writable
from drople.storage.prompts import save_prompts
from drople.training.config import METHODS, TrainConfig
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


def run(args: argparse.Namespace) -> None:
    """Carries the command out; started by `accelerate launch`, on several GPUs at once."""
    config = config_of(args, args.method, args.seed)  # before anything is loaded
    if not config.learns():
        raise SettingsError("zero-shot learns nothing; choose another --method.")
    whole = open_task(args.data, args.root)
    halves = args.classes == "base"
    task = (whole.base() if halves else whole).few(config.shots, config.seed)
    name = f"{args.backbone.replace('/', '-')}-{whole.name}-{config.method}-seed{config.seed}"
    out = args.out or args.runs / f"{name}.safetensors"
    check_writable(out)
    check_folder(args.runs, "--runs")
    processes = Processes.started(args.device)
    backbone = load_backbone(args.backbone, device_of(args.device))
    precision = precision_of(args, backbone, processes)
    config = config_of(args, args.method, args.seed, precision=precision)
    trained = train_run(backbone, task, config, runs=args.runs, processes=processes)
    if not processes.main:
        return
    save_prompts(out, trained.model, trained.card)  # a damaged test image costs no prompts
    seconds = trained.card.metrics["train_seconds"]
    print(f"learnt on {len(task.train)} images of {len(task.classes)} classes in {seconds:.0f} s")
    print(f"every step, its loss terms before their weights: {trained.log}")
    tested = {"base": whole.base(), "novel": whole.novel()} if halves else {"accuracy": whole}
    cache = args.runs / "cache"
    percent = {n: accuracies(trained.model, t, config, cache=cache) for n, t in tested.items()}
    metrics = {**trained.card.metrics, **_summed_up(percent)}
    sizes = " and ".join(str(len(one.test)) for one in tested.values())
    print(f"percent of {sizes} test images")
    save_prompts(out, trained.model, replace(trained.card, metrics=metrics))
    print(f"wrote {out}")
    print(f"open the app with it: python app.py --prompts {quote(str(out))}")


def _summed_up(accuracies: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Prints and returns the accuracies of both branches on each task, against its own names."""
    metrics: dict[str, float] = {}
    for i, branch in enumerate(("adapted", "frozen")):
        figures = {name: both[i] for name, both in accuracies.items()}
        if len(figures) == 2:
            figures["harmonic_mean"] = harmonic_mean(*figures.values())
        print(f"{branch:8s}", *(f"{name} {value:.2f}" for name, value in figures.items()))
        metrics |= {f"{branch}_{name}": round(value, 2) for name, value in figures.items()}
    return metrics
