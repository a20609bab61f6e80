"""The command line: python -m drople train | info."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch
from tqdm import tqdm

from drople.checkpoints import PromptCard, read_card, save_prompts
from drople.errors import DropleError
from drople.evaluation.accuracy import base_to_novel
from drople.models.backbone import CHECKPOINTS, load_backbone
from drople.training.config import METHODS, TrainConfig
from drople.training.data import load_task
from drople.training.loop import build_model, fit


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; a `DropleError` becomes one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m drople", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_train(commands.add_parser("train", help="learn prompts from a folder of images or a pack"))
    _add_info(commands.add_parser("info", help="what backbones and prompts are here"))
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except DropleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _add_train(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", required=True, help="folder with one folder of images a class, or a pack")
    add("--backbone", default="mini")
    add("--method", default="drople", choices=[*METHODS], help="what is learnt and how")
    add("--classes", default="base", choices=["base", "all"], help="which classes to learn on")
    add("--out", type=Path, help="the .safetensors file to write")
    add("--runs", type=Path, default=Path("runs"), help="folder of logs, resumable states, caches")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name in ("shots", "seed", "epochs", "batch"):
        add(f"--{name}", type=int, help=f"default {getattr(TrainConfig(), name)}")
    add("--lr", type=float, help=f"default {TrainConfig().lr}")
    add("--template", help="of the frozen text branch")
    add("--augment", choices=["none", "flip", "patch"])
    add("--precision", choices=["auto", "fp32", "bf16"])
    parser.set_defaults(run=_train)


def _train(given: argparse.Namespace) -> None:
    names = {f.name for f in fields(TrainConfig)} - {"method"}
    changes = {k: v for k, v in vars(given).items() if k in names and v is not None}
    config = replace(METHODS[given.method], **changes)
    if not config.learns():
        raise DropleError("zero-shot learns nothing; choose another --method.")
    whole = load_task(given.data)
    task = (whole.base() if given.classes == "base" else whole).few(config.shots, config.seed)
    backbone = load_backbone(given.backbone, given.device)
    name = f"{given.backbone.replace('/', '-')}-{whole.name}-{config.method}-seed{config.seed}"
    out = given.out or given.runs / f"{name}.safetensors"
    model = build_model(backbone, config)
    cache = given.runs / "cache"
    began = time.perf_counter()
    given.runs.mkdir(parents=True, exist_ok=True)
    with (given.runs / f"{name}.jsonl").open("a") as log, tqdm(unit="step") as bar:
        for report in fit(model, task, config, state=given.runs / f"{name}.state", cache=cache):
            log.write(json.dumps(asdict(report)) + "\n")
            bar.total = config.epochs * report.steps
            bar.n = report.epoch * report.steps + report.step + 1
            bar.set_postfix(epoch=report.epoch + 1, loss=f"{report.terms['total']:.3f}")
    seconds = time.perf_counter() - began
    metrics = {"train_seconds": round(seconds, 1)}
    print(f"learnt on {len(task.train)} images of {len(task.classes)} classes in {seconds:.0f} s")
    if given.classes == "base":
        adapted, frozen = base_to_novel(model, whole, config, split="test", cache=cache)
        for branch, found in (("adapted", adapted), ("frozen", frozen)):
            for measure in ("base", "novel", "harmonic_mean"):
                metrics[f"{branch}_{measure}"] = round(getattr(found, measure), 2)
            print(
                f"{branch:8s} base {found.base:5.2f}  novel {found.novel:5.2f}  "
                f"harmonic mean {found.harmonic_mean:5.2f}   (test, percent)"
            )
    training = {
        key: value
        for key, value in asdict(config).items()
        if key not in ("method", "plan", "dropout", "bridge_tokens", "shots", "seed")
    }
    card = PromptCard(
        backbone=given.backbone,
        backbone_hash=backbone.weights_hash,
        plan=model.plan,
        bridge_tokens=config.bridge_tokens,
        method=config.method,
        classes=task.classes,
        data=whole.name,
        shots=config.shots,
        seed=config.seed,
        dropout=config.dropout,
        training=training,
        metrics=metrics,
    )
    save_prompts(out, model, card)
    (given.runs / f"{name}.state").unlink(missing_ok=True)
    print(f"wrote {out}")


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoints", nargs="*", type=Path, help="prompts files; default: shipped")
    parser.set_defaults(run=_info)


def _info(given: argparse.Namespace) -> None:
    for path in given.checkpoints or shipped_prompts():
        card = read_card(path)
        figures = ", ".join(f"{k} {v}" for k, v in card.metrics.items())
        print(f"{path}\n  {card.method} on {card.data}, for {card.backbone}, seed {card.seed}")
        print(f"  {len(card.classes)} classes, {card.shots} shots; {figures}")


def shipped_prompts() -> list[Path]:
    """The trained prompts that travel with the project."""
    return sorted(CHECKPOINTS.glob("prompts/*.safetensors"))


if __name__ == "__main__":
    sys.exit(main())
