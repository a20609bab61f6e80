"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

from drople.devices import DEVICES, PRECISIONS, Precision, faster_precision
from drople.errors import SettingsError
from drople.models.backbone import Backbone
from drople.training.config import METHODS, TrainConfig
from drople.training.overrides import override
from drople.training.processes import Processes

_OWN = ("epochs", "shots", "batch", "lr", "template", "augment")


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Where the images, the backbone and the runs are."""
    add = parser.add_argument
    add(
        "--data",
        required=True,
        help="a folder with one folder of images a class, or a pack; with --root a data set's "
        "name; several, separated by commas, are learnt together",
    )
    add("--root", type=Path, help="the folder that holds named data sets, such as caltech101")
    add("--backbone", default="mini")
    add("--runs", type=Path, default=Path("runs"), help="folder of logs, states, prompts, results")
    add_device_option(parser)


def add_device_option(parser: argparse.ArgumentParser, default: str = "auto") -> None:
    """Where to compute."""
    about = f"auto takes CUDA where there is one; default {default}"
    parser.add_argument("--device", default=default, choices=DEVICES, help=about)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """What of a method can be changed."""
    add, default = parser.add_argument, TrainConfig()
    for name in ("epochs", "shots", "batch"):
        add(f"--{name}", type=int, help=f"default {getattr(default, name)}")
    add("--lr", type=float, help=f"default {default.lr}")
    add("--template", help=f"of the frozen text branch; default “{default.template}”")
    add("--augment", choices=["none", "flip", "patch"])
    about = "auto measures which is faster here and says which it took; default auto"
    add("--precision", default="auto", choices=["auto", *PRECISIONS], help=about)
    add(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="any other setting, e.g. dropout.p_max=0.7 losses.alignment=10 plan.image_depth=3",
    )


def precision_of(args: argparse.Namespace, backbone: Backbone, processes: Processes) -> Precision:
    """The precision the options ask for, or the one that is faster here; says which that is."""
    if args.precision != "auto":
        chosen: Precision = args.precision
        return chosen
    width = max(backbone.image_width, backbone.text_width)
    chosen = processes.agreed(faster_precision(str(backbone.device), width))
    if processes.main:
        print(f"--precision {chosen}: the faster one on {backbone.device.type}, by measurement")
    return chosen


def config_of(
    args: argparse.Namespace, method: str, seed: int, *, precision: Precision = "fp32"
) -> TrainConfig:
    """The configuration of a method with what the options change.

    Args:
        precision: see `precision_of`.

    Raises:
        SettingsError: an option names no setting, or a value does not fit.
    """
    if any(one.startswith("precision=") for one in args.set):
        raise SettingsError("--set does not take the precision; write --precision fp32 or bf16.")
    options = {name: getattr(args, name) for name in _OWN}
    named = [f"{name}={value}" for name, value in options.items() if value is not None]
    return override(METHODS[method], [f"seed={seed}", f"precision={precision}", *named, *args.set])


def seeds_of(text: str) -> list[int]:
    """The seeds of an option, separated by commas.

    Raises:
        SettingsError: one is no whole number.
    """
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise SettingsError(f"--seeds is {text!r}; write numbers, e.g. 1,2,3.") from None
