"""The papers' data sets in CoOp's folders, each of a few small pictures of noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from drople.training.datasets import AIRCRAFT, DATASETS
from drople.training.imagenets import IDS, IMAGENETS

COUNTS = {"train": 3, "val": 1, "test": 2}  # pictures of a class
CLASSES = 3


def lay_out(root: Path) -> Path:
    """Writes all fifteen under a root."""
    for dataset in DATASETS.values():
        if dataset.coop_split:
            _with_split(root, dataset.images[0], dataset.coop_split)
    _aircraft(root / AIRCRAFT)
    for name, folders in IMAGENETS.items():
        classes = IDS[:2] if name in ("imagenet_a", "imagenet_r") else IDS[:4]
        for part in folders.parts:
            for number, one in enumerate(classes):
                folder = root / part / (str(number) if folders.numbered else one)
                for i in range(COUNTS["train" if part.endswith("train") else "test"]):
                    picture(folder / f"{i}.jpg")
    return root


def picture(path: Path) -> None:
    """Noise that depends on the path, 32 pixels a side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list("/".join(path.parts[-4:]).encode()))
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)


def _with_split(root: Path, images: str, split: str) -> None:
    rows = {
        part: [
            [f"c{label}/{part}{i}.jpg", label, f"class {label}"]
            for label in range(CLASSES)
            for i in range(count)
        ]
        for part, count in COUNTS.items()
    }
    for row in (row for part in rows.values() for row in part):
        picture(root / images / row[0])
    home = root / images.partition("/")[0]
    (home / f"split_zhou_{split}.json").write_text(json.dumps(rows))


def _aircraft(home: Path) -> None:
    names = [f"A{label}0 model" for label in range(CLASSES)]
    for part, count in COUNTS.items():
        rows = [(f"{part}{name[1]}{i}", name) for name in names for i in range(count)]
        for file, _ in rows:
            picture(home / "images" / f"{file}.jpg")
        lines = [f"{file} {name}" for file, name in rows]
        (home / f"images_variant_{part}.txt").write_text("\n".join(lines) + "\n")
    (home / "variants.txt").write_text("\n".join(names) + "\n")
