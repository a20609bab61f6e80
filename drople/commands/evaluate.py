"""python -m drople evaluate: compares methods by protocol, choice or cost; report writes it up."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

from drople.commands.options import (
    add_config_options,
    add_data_options,
    config_of,
    precision_of,
    seeds_of,
)
from drople.devices import device_of
from drople.errors import SettingsError
from drople.evaluation.choice import evaluate_choice
from drople.evaluation.cost import evaluate_costs
from drople.evaluation.protocols import PROTOCOLS, Setting, columns
from drople.evaluation.report import write_report
from drople.evaluation.runs import evaluate, frozen_config
from drople.evaluation.tables import figure
from drople.models.backbone import load_backbone
from drople.storage.files import check_folder
from drople.training.config import METHODS, TrainConfig
from drople.training.data import Task
from drople.training.datasets import open_task
from drople.training.processes import Processes


def add_options(parser: argparse.ArgumentParser) -> None:
    """The subcommands: one a protocol, and the report."""
    kinds = parser.add_subparsers(required=True, metavar="protocol")
    for protocol, carry_out in PROTOCOLS.items():
        about = (carry_out.__doc__ or "").partition("\n")[0]
        one = _comparing(kinds.add_parser(protocol, help=about, description=about))
        if protocol == "cross-dataset":
            one.add_argument("--targets", default="", help="data to test on, separated by commas")
        one.set_defaults(run=partial(_run, protocol), targets="")
    about = "how far a method's IWTD chooses between tokens; the report shows it"
    choice = _comparing(kinds.add_parser("choice", help=about, description=about))
    choice.set_defaults(run=_run_choice, targets="")
    about = "what a training step of each method takes, in turns; the report shows it"
    cost = _comparing(kinds.add_parser("cost", help=about, description=about))
    cost.set_defaults(run=_run_cost, targets="", methods="drople-none,drople-vanilla,drople")
    about = "write RESULTS.md and docs/results from the finished runs"
    report = kinds.add_parser("report", help=about)
    add = report.add_argument
    add("--runs", type=Path, default=Path("runs"), help="a folder, or its ZIP")
    add("--out", type=Path, default=Path("RESULTS.md"))
    add("--notes", type=Path, help="Markdown about the runs, for docs/results/accuracies.md")
    add("--zip", type=Path, help="also pack here what the report is made from")
    report.set_defaults(run=lambda g: write_report(g.runs, g.out, notes=g.notes, packed=g.zip))


def _comparing(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """With the options of whatever compares methods."""
    add_data_options(parser)
    parser.add_argument("--methods", default="drople", help="separated by commas; see METHODS")
    parser.add_argument("--seeds", default="1", help="separated by commas; the report wants 1,2,3")
    parser.add_argument("--split", default="test", choices=["val", "test"])
    add_config_options(parser)
    return parser


def _run(protocol: str, args: argparse.Namespace) -> None:
    setting, planned = _prepare(args)
    configs = dict.fromkeys([frozen_config(planned[0]), *(c for c in planned if c.learns())])
    for config in configs:
        result = evaluate(
            protocol, setting, config, runs=args.runs,
            data_option=_option([setting.task], args.root),
            targets_option=_option(setting.targets, args.root),
        )  # fmt: skip
        if not setting.processes.main:
            continue
        wanted = columns(protocol, list(result.accuracy))
        shown = "  ".join(f"{one.title} {figure(result, one):5.2f}" for one in wanted)
        print(f"{config.method:20s} seed {config.seed}  {shown}   ({args.split}, percent)")


def _prepare(args: argparse.Namespace) -> tuple[Setting, list[TrainConfig]]:
    """What the options say: where it is carried out, and a configuration a method and seed."""
    methods, seeds = _methods(args.methods), seeds_of(args.seeds)
    check_folder(args.runs, "--runs")
    task = open_task(args.data, args.root)
    targets = tuple(open_task(name, args.root) for name in args.targets.split(",") if name)
    processes = Processes.started(args.device)
    backbone = load_backbone(args.backbone, device_of(args.device))
    precision = precision_of(args, backbone, processes)
    configs = [config_of(args, method, seed, precision=precision)
               for method, seed in product(methods, seeds)]  # fmt: skip
    return Setting(backbone, task, args.split, targets, processes), configs


def _run_choice(args: argparse.Namespace) -> None:
    setting, configs = _prepare(args)
    option = _option([setting.task], args.root)
    for config in configs:
        measured = evaluate_choice(setting, config, args.runs, data_option=option)
        for one in measured.choices if setting.processes.main else ():
            print(f"{config.method:20s} seed {config.seed}  {one}")


def _run_cost(args: argparse.Namespace) -> None:
    setting, configs = _prepare(args)
    learnt = [one for one in configs if one.learns() and one.seed == configs[0].seed]
    option = _option([setting.task], args.root)
    for one in evaluate_costs(setting, learnt, args.runs, data_option=option):
        if setting.processes.main:
            print(f"{one.method:20s} {median(one.seconds):.3f} s a step   ({one.machine})")


def _methods(text: str) -> list[str]:
    methods = [name.strip() for name in text.split(",")]
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise SettingsError(f"No method is called {unknown[0]!r}; known: {', '.join(METHODS)}.")
    return methods


def _option(tasks: Sequence[Task], root: Path | None) -> str:
    """The data as a reader of the report would name them, whose folders are elsewhere."""
    return ",".join(task.name if root else f"DATA/{task.name}" for task in tasks)
