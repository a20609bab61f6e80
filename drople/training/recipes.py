"""The recipes of released codes, on top of what a method declares in `METHODS`.

Every number here was read in the code that its comment names. What no code tells is marked "not
known" and follows the nearest recipe that is; docs/REPRODUCE.md says what else differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from drople.errors import SettingsError
from drople.training.config import METHODS, LoraSettings, TrainConfig

ACROSS = ("cross-dataset", "domain")  # tables of one training on ImageNet
SHOTS = 16  # of all but the tables few-shot, which has its own, and long-tail, which takes all

TEMPLATES = {  # of the frozen branch; a data set that is not here has "a photo of a {}."
    "oxford_pets": "a type of pet, a photo of a {}.",
    "flowers102": "a type of flower, a photo of a {}.",
    "fgvc_aircraft": "a type of aircraft, a photo of a {}.",
    "food101": "a type of food, a photo of {}.",
    "dtd": "a texture of {}.",
    "eurosat": "a centered satellite photo of {}.",
    "ucf101": "a photo of a person doing {}.",
}
"""CUSTOM_TEMPLATES of DroPLe's released code."""

_DASSL: dict[str, Any] = {  # Dassl's defaults, with which PromptSRC and MPL train
    "optimiser": "sgd", "weight_decay": 5e-4, "lr_warm": 1e-5, "warm_up": "epoch",
    "lr_floor": 0.0, "batch": 4,
}  # fmt: skip


def _drople(table: str, data: str) -> dict[str, Any]:
    """flags.py, scripts/launch/launch.sh and the YAML files of DroPLe's released code.

    Not known: few-shot, whose path in that code cannot run; long-tail has the launch script's.
    """
    epochs = 20
    if data == "imagenet":
        epochs = 3 if table in ACROSS else 5  # the YAML files override the command line
    return {
        "optimiser": "adamw", "lr": 2e-4, "weight_decay": 5e-5, "lr_floor": 0.05, "lr_warm": 1e-5,
        "batch": 4, "epochs": epochs, "cosine_epochs": 20, "augment": "patch",
    }  # fmt: skip


def _drople_code(table: str, data: str) -> dict[str, Any]:
    """The same with that code's low-rank changes, which its frozen image branch runs through."""
    return {**_drople(table, data), "lora": LoraSettings(rank=8, lr=2e-5, frozen="code")}


def _drople_lora(table: str, data: str) -> dict[str, Any]:
    return {**_drople(table, data), "lora": LoraSettings(rank=8, lr=2e-5)}


_LATE = ("stanford_cars", "flowers102", "fgvc_aircraft", "dtd", "eurosat")


def _promptsrc(table: str, data: str) -> dict[str, Any]:
    """configs/trainers/PromptSRC of muzairkhattak/PromptSRC, one file a table.

    Not known: long-tail, which has the recipe of base-to-novel.
    """
    whole = {**_DASSL, "lr": 2.5e-3, "epochs": 20, "gaussian_epochs": (15 / 20, 1.0)}
    if table in ACROSS:
        plan = replace(METHODS["promptsrc"].plan, image_depth=3, text_depth=3)
        return {**whole, "plan": plan, "gaussian_epochs": (6 / 20, 10.0)}
    if table == "few-shot":
        gaussian = (45 / 50, 5.0) if data in _LATE else (30 / 50, 30.0)
        return {**whole, "epochs": 50, "gaussian_epochs": gaussian}
    return whole


def _mpl(table: str, data: str) -> dict[str, Any]:
    """configs/trainers/MPL of Zhenhan-Huang/Modular-Prompt-Learning.

    Not known: few-shot and long-tail, which have the recipe of base-to-novel.
    """
    if table in ACROSS:
        plan = replace(METHODS["mpl"].plan, image_depth=3, text_depth=3)
        return {**_DASSL, "lr": 2.6e-3, "epochs": 2, "plan": plan}
    return {**_DASSL, "lr": 3.5e-3, "epochs": 5}


Recipe = Callable[[str, str], dict[str, Any]]
RECIPES: dict[str, Recipe] = {
    "zero-shot": lambda table, data: {},
    "promptsrc": _promptsrc,
    "mpl": _mpl,
    **{name: _drople for name in METHODS if name.partition("-")[0] == "drople"},
    "drople-code": _drople_code,
    "drople-lora": _drople_lora,
}
"""Method -> (table, data set) -> the settings that its released code changes."""


def recipe_of(method: str, table: str, data: str) -> TrainConfig:
    """What a method learns a data set of a table with, in its released code.

    Raises:
        SettingsError: no recipe is known.
    """
    if method not in RECIPES:
        raise SettingsError(
            f"No released recipe of {method!r} is known here; known: {', '.join(RECIPES)}."
        )
    template = TEMPLATES.get(data, TrainConfig().template)
    changes = {"shots": SHOTS, "template": template, **RECIPES[method](table, data)}
    return replace(METHODS[method], **changes)
