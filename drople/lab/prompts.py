"""What becomes of prompts from layer to layer, and how many numbers are learnt: both counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from safetensors import safe_open

from drople.models.backbone import BUNDLED, CHECKPOINTS
from drople.models.prompts import PromptPlan, build_prompts
from drople.storage.prompts import read_card, shipped_prompts
from drople.tokens.layout import PromptStep
from drople.training.config import METHODS


@dataclass(frozen=True)
class PromptCounts:
    """What becomes of a tower's prompts on entering one layer."""

    depth: int  # from 0
    removed: int
    added: int
    carried: int

    @property
    def total(self) -> int:
        return self.carried + self.added


def count_prompts(
    plan: PromptPlan, *, image_layers: int, text_layers: int
) -> dict[str, tuple[PromptCounts, ...]]:
    """Tower, "image" or "text" -> its layers, counted in the steps the forward carries out."""
    with torch.device("meta"):  # counts need no values, and no true widths
        prompts = build_prompts(plan.capped(image_layers, text_layers), 1, 1)
        image, text = prompts.image_steps(), prompts.text_steps()
    return {"image": _counted(image, image_layers), "text": _counted(text, text_layers)}


def _counted(steps: Sequence[PromptStep], layers: int) -> tuple[PromptCounts, ...]:
    counts: list[PromptCounts] = []
    before = 0  # what the first text prompts replace are placeholders, not prompts
    for depth in range(layers):
        step = steps[depth] if depth < len(steps) else None
        removed = min(step.removed, before) if step else 0
        added = len(step.inserted) if step else 0
        counts.append(PromptCounts(depth, removed, added, before - removed))
        before = counts[-1].total
    return tuple(counts)


def counterpart(plan: PromptPlan) -> PromptPlan:
    """MPL's plan beside prompts that are replaced, DroPLe's beside those that are carried."""
    return METHODS["drople" if plan.kind == "modular" else "mpl"].plan


@dataclass(frozen=True)
class Learnt:
    """How many numbers a prompts file holds, and the CLIP they are learnt for."""

    name: str
    method: str
    prompts: int
    bridge: int
    others: int  # the logit scale, and low-rank changes of imported files
    clip: int

    @property
    def total(self) -> int:
        return self.prompts + self.bridge + self.others

    @property
    def share(self) -> float:
        """Of the CLIP's parameters."""
        return self.total / self.clip


def learnt_numbers() -> list[Learnt]:
    """Of every prompts file that travels with the project, on the backbones that do, by name."""
    clips = {name: clip_parameters(name) for name in BUNDLED}
    found = []
    for name, path in shipped_prompts().items():
        card = read_card(path)
        if card.backbone in clips:
            sizes = _sizes(path)
            prompts, bridge = (
                sum(n for key, n in sizes.items() if key.startswith(f"{part}."))
                for part in ("prompts", "bridge")
            )
            others = sum(sizes.values()) - prompts - bridge
            found.append(Learnt(name, card.method, prompts, bridge, others, clips[card.backbone]))
    return found


def clip_parameters(name: str) -> int:
    """How many parameters a CLIP that travels with the project has, from its file alone."""
    sizes = _sizes(CHECKPOINTS / name / "open_clip_model.safetensors")
    kept = ("running_mean", "running_var", "num_batches_tracked")  # of batch norms: not learnt
    return sum(n for key, n in sizes.items() if not key.endswith(kept))


def _sizes(path: Path) -> dict[str, int]:
    """Tensor -> how many numbers it holds, without reading any."""
    with safe_open(path, framework="pt") as file:
        return {key: prod(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
