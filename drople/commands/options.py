"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

from drople.devices import DEVICES
from drople.training.config import METHODS, TrainConfig
from drople.training.overrides import override

_OWN = ("epochs", "shots", "batch", "lr", "template", "augment", "precision")


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Where the images, the backbone and the runs are."""
    add = parser.add_argument
    add(
        "--data",
        required=True,
        help="a folder with one folder of images a class, or a pack; with --root a data set's name; "
        "several, separated by commas, are learnt together",
    )
    add("--root", type=Path, help="the folder that holds named data sets, such as caltech101")
    add("--backbone", default="mini")
    add("--runs", type=Path, default=Path("runs"), help="folder of logs, states, prompts, results")
    add_device_option(parser)


def add_device_option(parser: argparse.ArgumentParser, default: str = "auto") -> None:
    """Where to compute."""
    says = f"auto takes CUDA where there is one; default {default}"
    parser.add_argument("--device", default=default, choices=DEVICES, help=says)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """What of a method can be changed."""
    add, default = parser.add_argument, TrainConfig()
    for name in ("epochs", "shots", "batch"):
        add(f"--{name}", type=int, help=f"default {getattr(default, name)}")
    add("--lr", type=float, help=f"default {default.lr}")
    add("--template", help=f"of the frozen text branch; default “{default.template}”")
    add("--augment", choices=["none", "flip", "patch"])
    add("--precision", choices=["auto", "fp32", "bf16"])
    add(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="any other setting, e.g. dropout.p_max=0.7 losses.alignment=10 plan.image_depth=3",
    )


def config_of(given: argparse.Namespace, method: str, seed: int) -> TrainConfig:
    """The configuration of a method with what the options change.

    Raises:
        SettingsError: an option names no setting, or a value does not fit.
    """
    options = {name: getattr(given, name) for name in _OWN}
    named = [f"{name}={value}" for name, value in options.items() if value is not None]
    return override(METHODS[method], [f"seed={seed}", *named, *given.set])
