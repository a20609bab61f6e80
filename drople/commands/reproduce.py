"""python -m drople reproduce: the papers' tables in one command, once nothing is missing."""

from __future__ import annotations

import argparse
import shutil
from collections import defaultdict
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE

from drople.commands.options import add_device_option, precision_of, seeds_of
from drople.devices import PRECISIONS, device_of
from drople.errors import BackboneError, DataError
from drople.evaluation.beside import beside_published
from drople.evaluation.preflight import estimate, open_tasks, summary
from drople.evaluation.protocols import columns
from drople.evaluation.report import write_report
from drople.evaluation.reproduction import (
    METHODS_OF_THE_PAPERS,
    TABLES,
    carry_out,
    data_of,
    plan_runs,
)
from drople.evaluation.runs import Result
from drople.evaluation.tables import figure
from drople.models.backbone import load_backbone
from drople.storage.files import check_folder, write_text
from drople.training.processes import Processes


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    add = parser.add_argument
    add("--data-root", type=Path, required=True, help="holds the data sets as CoOp's DATASETS.md")
    add("--backbone", default="ViT-B-16/openai")
    add("--tables", default=",".join(TABLES), help=f"default {','.join(TABLES)}")
    add("--methods", default=",".join(METHODS_OF_THE_PAPERS), help="default %(default)s")
    add("--seeds", default="1,2,3", help="default %(default)s")
    add("--data", default="", help="only these data sets, separated by commas; default all")
    add("--runs", type=Path, default=Path("papers"), help="results and report; default %(default)s")
    add("--check-only", action="store_true", help="only say what is missing and what it takes")
    add("--epochs", type=int, help="in place of the released recipes', to try it out")
    about = "fp32 as the released code, or auto for the faster one here; default fp32"
    add("--precision", default="fp32", choices=["auto", *PRECISIONS], help=about)
    add_device_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Carries the command out; started by `accelerate launch`, on several GPUs at once."""
    tables, methods, data = (_names(text) for text in (args.tables, args.methods, args.data))
    planned = plan_runs(tables, methods, seeds_of(args.seeds), data=data, epochs=args.epochs)
    check_folder(args.runs, "--runs")
    processes = Processes.started(args.device)
    tasks, missing = open_tasks(data_of(planned), args.data_root)
    try:
        backbone = load_backbone(args.backbone, device_of(args.device))
    except BackboneError as error:
        missing.append(f"weights: {error} The cache is {HF_HUB_CACHE}.")
    if missing:
        for line in missing if processes.main else ():
            print(f"missing  {line}")
        raise DataError(f"{len(missing)} things are missing; nothing was started.")
    precision = precision_of(args, backbone, processes)
    planned = [one.with_precision(precision) for one in planned]
    found = estimate(planned, backbone, tasks, processes=processes)
    if processes.main:
        free = shutil.disk_usage(args.runs).free
        print("\n".join(summary(found, backbone, free_bytes=free)), flush=True)
    if args.check_only:
        return
    results: dict[str, list[Result]] = defaultdict(list)
    for one in planned:
        result = carry_out(one, backbone, tasks, runs=args.runs, processes=processes)
        results[one.table].append(result)
        if processes.main:
            _say(one.table, result)
    if processes.main:
        write_report(args.runs, args.runs / "RESULTS.md")
        page = args.runs / "PAPERS.md"
        write_text(page, "\n".join(beside_published(results)) + "\n")
        print(f"wrote {page}: these numbers beside the published ones")


def _say(table: str, result: Result) -> None:
    column = columns(result.protocol, list(result.accuracy))[-1]
    made, value = f"{result.method} seed {result.seed}", figure(result, column)
    print(f"{table}  {result.data}  {made}  {column.title} {value:.2f} percent", flush=True)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
