"""python -m drople info: what prompts files say of themselves."""

from __future__ import annotations

import argparse
from pathlib import Path

from drople.checkpoints import read_card, shipped_prompts


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    parser.add_argument("checkpoints", nargs="*", type=Path, help="prompts files; default: shipped")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Carries the command out."""
    for path in given.checkpoints or shipped_prompts().values():
        card = read_card(path)
        figures = ", ".join(f"{k} {v}" for k, v in card.metrics.items())
        print(f"{path}\n  {card.method} on {card.data}, for {card.backbone}, seed {card.seed}")
        print(f"  {len(card.classes)} classes, {card.shots} shots; {figures}")
