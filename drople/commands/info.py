"""python -m drople info: which backbones load, and what prompts files say of themselves."""

from __future__ import annotations

import argparse
from pathlib import Path

import open_clip
from huggingface_hub import try_to_load_from_cache

from drople.errors import printable
from drople.models.backbone import BUNDLED
from drople.models.coverage import covered_architectures
from drople.storage.prompts import read_card, shipped_prompts


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    parser.add_argument("checkpoints", nargs="*", type=Path, help="prompts files; default: shipped")
    parser.add_argument("--backbones", action="store_true", help="list the backbones that load")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Carries the command out."""
    if args.backbones:
        print("\n".join(backbone_lines()))
        return
    for path in args.checkpoints or shipped_prompts().values():
        card = read_card(path)
        figures = ", ".join(f"{k} {v}" for k, v in card.metrics.items())
        names = ", ".join(card.classes[:5]) + ", …" * (len(card.classes) > 5)
        for line in (
            f"{path}",
            f"  {card.method} on {card.data}, seed {card.seed}",
            f"  needs {card.backbone} with weights {card.backbone_hash}",
            f"  {len(card.classes)} classes ({names}), {card.shots} shots; {figures}",
        ):
            print(printable(line))


def backbone_lines() -> list[str]:
    """Every backbone that can be loaded by name, and whether its weights are here already."""
    covered = {*covered_architectures()}
    lines = [f"{name}  comes with the project" for name in BUNDLED]
    for architecture, tag in open_clip.list_pretrained():
        if architecture in covered:
            here = "in the local cache" if _cached(architecture, tag) else "to be downloaded"
            lines.append(f"{architecture}/{tag}  {here}")
    return lines


def is_here(backbone: str) -> bool:
    """Whether a name can be looked up without fetching anything or opening a folder that it names.

    True too for what is no backbone's name at all.
    """
    if backbone.startswith(("hf-hub:", "local-dir:")):
        return False
    architecture, _, tag = backbone.partition("/")
    known = (architecture, tag) in open_clip.list_pretrained(as_str=False)
    return backbone in BUNDLED or not known or _cached(architecture, tag)


def _cached(architecture: str, tag: str) -> bool:
    """Whether the Hub's cache, or open_clip's own, holds the weights."""
    config = open_clip.get_pretrained_cfg(architecture, tag)
    repository = str(config.get("hf_hub", "")).rstrip("/")
    names = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    if repository.count("/") == 1:
        return any(isinstance(try_to_load_from_cache(repository, name), str) for name in names)
    file = Path(str(config.get("url", ""))).name
    return bool(file) and (Path.home() / ".cache" / "clip" / file).is_file()
