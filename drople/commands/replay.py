"""python -m drople replay: recomputes a stored analysis and says how far off it is."""

from __future__ import annotations

import argparse
from pathlib import Path

from drople.commands.options import add_device_option
from drople.devices import device_of
from drople.errors import EvidenceError
from drople.models.backbone import Backbone, hash_weights, load_backbone
from drople.models.prompted_clip import PromptedClip
from drople.storage.analyses import TOLERANCE, load_analysis, replay
from drople.storage.prompts import load_prompts, read_card, shipped_prompts


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    parser.add_argument("file", type=Path, help="an analysis (.npz) from the app or from Python")
    parser.add_argument("--prompts", type=Path, help="the prompts file; default: the shipped ones")
    parser.add_argument("--backbone", help="default: the one the file names")
    add_device_option(parser, "cpu")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Carries the command out; exit code 2 where the analysis differs."""
    stored = load_analysis(args.file)
    provenance = stored.provenance
    backbone = load_backbone(args.backbone or provenance["backbone"], device_of(args.device))
    report = replay(stored, _model(provenance.get("prompts_hash"), backbone, args.prompts))
    for quantity, gap in report.differences.items():
        print(f"{quantity:18s} largest difference {gap:.2e}")
    if report.drawn:
        print(f"drops taken from the file; {report.redrawn} of {report.drawn} would differ here")
    if not report.equal:
        raise EvidenceError(f"Not equal: a difference is above {TOLERANCE:g}.")
    print(f"equal, within {TOLERANCE:g}")


def _model(wanted: str | None, backbone: Backbone, path: Path | None) -> Backbone | PromptedClip:
    """The prompts with the hash that made the analysis, or the bare backbone."""
    if wanted is None:
        return backbone
    if path is not None:
        return load_prompts(path, backbone)[0]
    for shipped in shipped_prompts().values():
        if read_card(shipped).backbone_hash != backbone.weights_hash:
            continue
        model, _ = load_prompts(shipped, backbone)
        if hash_weights(model.state_dict()) == wanted:
            return model
    raise EvidenceError(
        f"The analysis was made with prompts of weights {wanted}, which do not come with this "
        "program. Name their file with --prompts."
    )
