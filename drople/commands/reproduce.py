"""python -m drople reproduce: the papers' tables in one command, once nothing is missing."""

from __future__ import annotations

import argparse
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from drople.commands.options import add_device_option, precision_of
from drople.devices import PRECISIONS, device_of
from drople.errors import BackboneError, DataError, SettingsError
from drople.evaluation.beside import beside_published
from drople.evaluation.preflight import estimate, open_tasks, summary
from drople.evaluation.report import write_report
from drople.evaluation.reproduction import (
    METHODS_OF_THE_PAPERS,
    TABLES,
    carry_out,
    data_of,
    plan_runs,
)
from drople.evaluation.runs import Result
from drople.models.backbone import load_backbone
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
    options = {"data": data, "epochs": args.epochs}
    planned = plan_runs(tables, methods, _seeds(args.seeds), **options)
    processes = Processes.started(args.device)
    tasks, missing = open_tasks(data_of(planned), args.data_root)
    try:
        backbone = load_backbone(args.backbone, device_of(args.device))
    except BackboneError as error:
        missing.append(f"weights: {error}")
    if missing:
        for line in missing if processes.main else ():
            print(f"missing  {line}")
        raise DataError(f"{len(missing)} things are missing; nothing was started.")
    precision = precision_of(args, backbone, processes)
    planned = plan_runs(tables, methods, _seeds(args.seeds), precision=precision, **options)
    found = estimate(planned, backbone, tasks, processes)
    if processes.main:
        print("\n".join(summary(found, backbone, free_bytes=_free(args.runs))), flush=True)
    if args.check_only:
        return
    results: dict[str, list[Result]] = defaultdict(list)
    for one in planned:
        results[one.table].append(
            carry_out(one, backbone, tasks, runs=args.runs, processes=processes)
        )
    if processes.main:
        write_report(args.runs, args.runs / "RESULTS.md")
        page = args.runs / "PAPERS.md"
        page.write_text("\n".join(beside_published(results)) + "\n")
        print(f"wrote {page}: these numbers beside the published ones")
