"""python -m drople replay: recomputes a stored analysis and says how far off it is."""

from __future__ import annotations

import argparse
from pathlib import Path

from drople.commands.info import is_here
from drople.commands.options import add_device_option
from drople.devices import device_of
from drople.errors import EvidenceError, printable
from drople.models.backbone import Backbone, hash_weights, load_backbone
from drople.models.prompted_clip import PromptedClip
from drople.storage.analyses import load_analysis, load_draws
from drople.storage.evidence import LOOSER, TOLERANCE, replay
from drople.storage.hub import is_hub_id
from drople.storage.prompts import load_prompts, read_card, shipped_prompts


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    parser.add_argument("file", type=Path, help="an analysis (.npz) from the app or from Python")
    parser.add_argument("--prompts", type=Path, help="the prompts file; default: the shipped ones")
    parser.add_argument(
        "--backbone", help="default: the one the file names, if it need not be downloaded"
    )
    add_device_option(parser, "cpu")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Carries the command out; exit code 2 where the analysis differs."""
    stored, draws = load_analysis(args.file), load_draws(args.file)
    known = {key: stored.provenance.get(key) for key in ("backbone", "prompts", "prompts_hash")}
    backbone = load_backbone(
        args.backbone or _named(str(known["backbone"])), device_of(args.device)
    )
    model, path = _model(known["prompts_hash"], backbone, args.prompts)
    # What is on the Hub was loaded from a file of another name.
    name = None if path is None or is_hub_id(str(known["prompts"])) else path.stem
    report = replay(stored, model, draws=draws, prompts_name=name)
    for quantity, gap in report.differences.items():
        print(printable(f"{quantity:18s} largest difference {gap:.2e}"))
    if report.drawn:
        print(f"drops taken from the file; {report.redrawn} of {report.drawn} would differ here")
    if report.differing:
        wrong = [
            f"{name} by more than {LOOSER.get(name, TOLERANCE):g}" for name in report.differing
        ]
        wrong += report.provenance
        raise EvidenceError(f"Not equal: {args.file.name} differs in {', '.join(wrong)}.")
    if report.provenance:
        raise EvidenceError(
            f"All numbers are within {TOLERANCE:g}, but {args.file.name} differs in provenance: "
            f"{', '.join(report.provenance)}."
        )
    print(f"equal, within {TOLERANCE:g}")


def _named(backbone: str) -> str:
    """The backbone that a file names, where nothing is fetched or opened for that.

    Raises:
        EvidenceError: something would be: a file may name whatever its maker likes.
    """
    if not is_here(backbone):
        raise EvidenceError(
            f"The analysis names the backbone {backbone[:80]!r}, which does not come with this "
            "program and is not in the local cache. Add --backbone with its name to load it."
        )
    return backbone


def _model(
    wanted: str | None, backbone: Backbone, path: Path | None
) -> tuple[Backbone | PromptedClip, Path | None]:
    """The prompts with the hash that made the analysis, or the bare backbone; and their file."""
    if wanted is None:
        return backbone, None
    if path is not None:
        return load_prompts(path, backbone)[0], path
    for shipped in shipped_prompts().values():
        if read_card(shipped).backbone_hash != backbone.weights_hash:
            continue
        model, _ = load_prompts(shipped, backbone)
        if hash_weights(model.state_dict()) == wanted:
            return model, shipped
    raise EvidenceError(
        f"The analysis was made with prompts of weights {wanted}, which do not come with this "
        "program. Name their file with --prompts."
    )
