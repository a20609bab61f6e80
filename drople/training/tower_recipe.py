"""What a training of an image tower depends on: the options of `drople.training.image_tower`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from open_clip import IMAGENET_CLASSNAMES

from drople.devices import DEVICES
from drople.errors import DataError, SettingsError
from drople.texts import read_json, read_text


def option(text: str, default: Any = MISSING, choices: Sequence[str] | None = None) -> Any:
    """A field of `Recipe`, which is an option of the command too."""
    return field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True)
class Recipe:
    """The options, with their defaults near those of `mini`.

    Raises:
        SettingsError: a number is out of its range, or options do not go together.
    """

    labelled: str = option("pictures with names, one folder a name; `load_task` splits them")
    text: str = option("whose text tower to use: 'mini', or a folder as open_clip reads it")
    out: str = option("folder to write")
    kinds: str | None = option("JSON file: {name: kind}", None)
    unlabelled: str | None = option("folder of pictures that only the teacher names", None)
    stem: str = option("a network of timm", "tf_efficientnet_lite2")
    stem_weights: str | None = option("its state dict, .pth or .safetensors", None)
    teacher_names: str | None = option(
        "the classes of its classifier, in order: 'imagenet', or a file with one name a line; "
        "without this it does not teach", None,
    )  # fmt: skip
    size: int = option("pixels a side, a multiple of 16", 224)
    width: int = option("of the transformer, a multiple of 64 (the width of a head)", 256)
    layers: int = option("of the transformer", 12)
    steps: int = option("of the whole training", 2700)  # 345,600 views; `mini` had 348,600
    batch: int = option("pictures in a step", 128)
    unlabelled_share: float = option("of a batch", 0.35)
    keep_low: float = option("least share of patch tokens kept in a step", 0.25)
    keep_high: float = option("largest share of patch tokens kept in a step", 0.7)
    lr: float = option("highest learning rate, reached in 200 steps", 1e-3)
    every: int = option("steps from one saved state and validation to the next", 100)
    precision: str = option("of the transformer", "fp32", ("fp32", "bf16"))
    device: str = option("where to compute", "auto", DEVICES)
    workers: int = option("processes that read pictures; 0: this one does", 2)
    seed: int = option("of all that is drawn", 0)

    def __post_init__(self) -> None:
        for name in ("size", "width", "layers", "steps", "batch", "every"):
            value, unit = getattr(self, name), {"size": 16, "width": 64}.get(name, 1)
            if value < 1 or value % unit:
                raise SettingsError(f"{name} is {value}; expected a positive multiple of {unit}.")
        if not 0 < self.keep_low <= self.keep_high <= 1 or not 0 <= self.unlabelled_share < 1:
            got = f"{self.keep_low}, {self.keep_high} and {self.unlabelled_share}"
            expected = "0 < keep_low <= keep_high <= 1 and 0 <= unlabelled_share < 1"
            raise SettingsError(f"Expected {expected}; got {got}.")
        if self.teacher_names and not self.stem_weights:
            raise SettingsError("A classifier without weights teaches noise; give stem_weights.")
        if self.unlabelled and not self.teacher_names:
            raise SettingsError("Unlabelled pictures need a teacher; give teacher_names.")

    def read_taught(self) -> list[str]:
        """The names of the classifier's outputs; none where it does not teach.

        Raises:
            DataError: the file cannot be read.
        """
        if self.teacher_names == "imagenet":
            return list(IMAGENET_CLASSNAMES)
        return read_text(self.teacher_names).strip().splitlines() if self.teacher_names else []

    def read_kinds(self, names: Sequence[str]) -> dict[str, str]:
        """The kind of each name; empty where there are no kinds.

        Raises:
            DataError: the file cannot be read, or a name has no kind.
        """
        if not self.kinds:
            return {}
        kind_of = read_json(self.kinds)
        missing = [name for name in names if name not in kind_of]
        if missing:
            raise DataError(f"{self.kinds} has no kind for {', '.join(missing)}.")
        return {name: str(kind_of[name]) for name in names}

    def lasting(self) -> dict[str, Any]:
        """What must stay the same when a training goes on after a cut."""
        free = ("out", "device", "workers")
        return {name: value for name, value in asdict(self).items() if name not in free}


def recipe_of(arguments: Sequence[str] | None) -> Recipe:
    """Reads the options of the command, each a field of `Recipe`."""
    parser = argparse.ArgumentParser(prog="python -m drople.training.image_tower")
    for setting in fields(Recipe):
        needed = setting.default is MISSING
        parser.add_argument(
            "--" + setting.name.replace("_", "-"),
            type={"int": int, "float": float}.get(str(setting.type), str),
            required=needed,
            default=None if needed else setting.default,
            choices=setting.metadata["choices"],
            help=setting.metadata["help"] + ("" if needed else "; default %(default)s"),
        )
    return Recipe(**vars(parser.parse_args(arguments)))
