"""A studio whose prompts are freshly initialised, so that no shipped file is needed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tiny import TEXT, VISION, tiny_clip

from app.studio import Studio
from drople.analysis import Analysis
from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.storage.prompts import PromptCard, read_card, save_prompts
from drople.training.config import METHODS, TrainConfig
from drople.training.loop import build_model

FORM: dict[str, Any] = {  # what the page's form says of dropout at first
    "mode": "zero",
    "placement": "next",
    "p_min": 0.1,
    "p_max": 0.5,
    "matched": True,
    "p": 0.3,
    "w_self": 1,
    "w_cls": 1,
    "w_cross": 1,
    "drop_text": False,
    "seed": 0,
}


def save_tiny_clip(folder: Path, layers: int = 4) -> str:
    """Writes the tiny CLIP as open_clip reads it from a folder; returns the backbone's name."""
    folder.mkdir()
    vision, text = VISION | {"layers": layers}, TEXT | {"layers": layers}
    config = {"model_cfg": {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}}
    (folder / "open_clip_config.json").write_text(json.dumps(config | {"preprocess_cfg": {}}))
    clip = tiny_clip(vision=vision, text=text)
    weights = {name: value.contiguous() for name, value in clip.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def save_fresh_prompts(path: Path, backbone: Backbone, *, seed: int = 1) -> Path:
    """Writes untrained DroPLe prompts for a backbone."""
    config = replace(METHODS["drople"], seed=seed)
    return save_model(path, build_model(backbone, config), config)


def save_model(path: Path, model: PromptedClip, config: TrainConfig) -> Path:
    """Writes a model's prompts with a card that says they were trained on two classes."""
    card = PromptCard(
        backbone=model.backbone.name,
        backbone_hash=model.backbone.weights_hash,
        plan=model.plan,
        bridge_tokens=config.bridge_tokens,
        method=config.method,
        classes=("cheetah", "lion"),
        data="none",
        shots=0,
        seed=config.seed,
        dropout=config.dropout,
    )
    save_prompts(path, model, card)
    return path


class FurnishedStudio(Studio):
    """A studio that offers given files as its prompts, and counts what it is asked."""

    def __init__(self, *files: Path, own_files: bool = True):
        super().__init__("cpu", own_files=own_files)
        self.files = files
        self.asked = 0  # analyses wanted so far, remembered ones too

    def prompts_for(self, backbone: str) -> dict[str, PromptCard]:
        cards = {str(path): read_card(path) for path in self.files}
        return {name: card for name, card in cards.items() if card.backbone == backbone}

    def analyse(self, *question: object) -> Analysis:
        self.asked += 1
        return super().analyse(*question)  # type: ignore[arg-type]
