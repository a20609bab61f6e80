"""python -m drople explain: predictions, disagreement and selectivity of a folder of images."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from drople.analysis import AnalysisSettings
from drople.class_texts import describe_classes
from drople.classes import check_template, class_list_of
from drople.commands.options import add_device_option
from drople.devices import device_of
from drople.explain import explain, find_images, image_name
from drople.models.backbone import Backbone, load_backbone
from drople.models.prompted_clip import PromptedClip
from drople.ranges import Range, check_number
from drople.storage.files import check_folder, locked
from drople.storage.prompts import load_prompts, shipped_prompts
from drople.storage.tables import Table, about_table
from drople.tokens.dropout import STRATEGIES, DropoutSettings


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    add = parser.add_argument
    add("folder", type=Path, help="images, in folders of any depth")
    add("--classes", required=True, help="names separated by commas, or a file with one a line")
    add("--out", type=Path, required=True, help="folder of rows.csv; an unfinished one goes on")
    add("--prompts", default="", help="a shipped name or a .safetensors file; default: none")
    add("--backbone", default="mini")
    add("--template", default=AnalysisSettings().template, help="of the frozen text branch")
    add("--strategy", default="iwtd", choices=[*STRATEGIES], help="of the draws")
    add("--draws", type=int, default=8, help="of each image, for the flip rate; default 8")
    add("--seed", type=int, default=0, help="of the first draw")
    add("--batch", type=int, default=16)
    add_device_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Carries the command out.

    Started by `accelerate launch` or `torchrun`, each process takes every n-th image on its own
    GPU and writes a file of its own.
    """
    check_number("--draws", args.draws, Range(0, 1e6, whole=True))
    check_number("--batch", args.batch, Range(1, 1e6, whole=True))
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    names, template = class_list_of(args.classes), check_template(args.template)
    found = find_images(args.folder)[rank::world]
    check_folder(args.out)
    images = {image_name(path, args.folder): path for path in found}
    backbone = load_backbone(args.backbone, device_of(args.device))
    model, dropout = _model(backbone, args.prompts)
    settings = AnalysisSettings(dropout=dropout, seed=args.seed, template=template)
    classes = describe_classes(model, names, template)
    others = {name: getattr(args, name) for name in ("strategy", "draws")}
    part = f"-{rank + 1}of{world}" if world > 1 else ""
    about = about_table(model, classes, settings, **others)
    with locked(args.out / f".rows{part}.lock", wait=False):
        table = Table.open(args.out, about, part)
        left = table.left(images)
        with tqdm(total=len(images), initial=len(images) - len(left), unit="image") as bar:
            for rows in explain(
                model, args.folder, [*left.values()], classes=classes, settings=settings,
                batch=args.batch, **others,
            ):  # fmt: skip
                table.add(rows, left)
                bar.update(len(rows))
    print(f"{len(images)} images in {table.rows}")


def _model(backbone: Backbone, prompts: str) -> tuple[Backbone | PromptedClip, DropoutSettings]:
    """The model, and the dropout its prompts were trained with, as IWTD."""
    if not prompts:
        return backbone, DropoutSettings()
    model, card = load_prompts(shipped_prompts().get(prompts, Path(prompts)), backbone)
    return model, replace(card.dropout, strategy="iwtd")
