"""python -m drople import: other people's checkpoints as prompts of ours."""

from __future__ import annotations

import argparse
from pathlib import Path

from drople.errors import CheckpointError, printable
from drople.importers import READERS, import_prompts
from drople.models.backbone import load_backbone
from drople.storage.files import check_writable
from drople.storage.prompts import save_prompts


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    add = parser.add_argument
    add(
        "file",
        type=Path,
        help="what CoOp, KgCoOp, MaPLe, PromptSRC, IVLP, VPT, MPL or DroPLe saved",
    )
    add("--out", type=Path, required=True, help="the .safetensors file to write")
    add("--backbone", default="ViT-B-16/openai", help="the CLIP it was trained on")
    add("--method", choices=[*READERS], help="default: recognised; CoOp and KgCoOp look alike")
    add("--phrase", help="what stands after the prompts, with {} for the class name")
    add("--data", default="unknown", help="what it was trained on, for its card")
    add("--shots", type=int, default=0)
    add("--seed", type=int, default=0)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Carries the command out."""
    if args.out.exists() and args.file.exists() and args.out.samefile(args.file):
        raise CheckpointError(f"--out is {args.file.name} itself. Choose another name for it.")
    check_writable(args.out)
    model, card, report = import_prompts(
        args.file, load_backbone(args.backbone), method=args.method, phrase=args.phrase,
        data=args.data, shots=args.shots, seed=args.seed,
    )  # fmt: skip
    print("\n".join(map(printable, report.lines())))
    save_prompts(args.out, model, card)
    print(f"wrote {args.out}")
