"""ImageNet and the four data sets that test what was learnt on it, in CoOp's folders.

A class is a folder named by its WordNet id; ImageNet-A and -R have 200 of the 1000 classes, and are
classified against these. Names are those of CoOp's `classnames.txt`, else open_clip's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from open_clip import IMAGENET_CLASSNAMES
from timm.data import ImageNetInfo

from drople.errors import DataError
from drople.images import image_files
from drople.texts import read_text
from drople.training.folders import class_folders
from drople.training.image_sets import ImageSet, images_of_files

IDS: tuple[str, ...] = tuple(ImageNetInfo().label_names())  # WordNet's, in ImageNet's order
# CLIP's names call two classes a missile and two sunglasses; there WordNet's word tells them apart.
_APART = {744: "projectile", 836: "sunglass"}


@dataclass(frozen=True)
class Folders:
    """Where one of them lies under the root, as CoOp's DATASETS.md has it."""

    home: str
    test: str
    train: str | None = None  # None: there is nothing to learn from
    numbered: bool = False  # folders are called 0 to 999, in ImageNet's order

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders of classes, from the root: to learn from, where there is one, and to test."""
        return tuple(f"{self.home}/{part}" for part in (self.train, self.test) if part)


IMAGENETS = {
    "imagenet": Folders("imagenet", "images/val", "images/train"),
    "imagenetv2": Folders(
        "imagenetv2", "imagenetv2-matched-frequency-format-val", numbered=True
    ),
    "imagenet_sketch": Folders("imagenet-sketch", "images"),
    "imagenet_a": Folders("imagenet-adversarial", "imagenet-a"),
    "imagenet_r": Folders("imagenet-rendition", "imagenet-r"),
}  # fmt: skip


def read_imagenet(name: str, root: Path) -> tuple[tuple[str, ...], list[ImageSet]]:
    """The classes of one of them, and its images to learn from, where there are any, and to test.

    Raises:
        DataError: a folder is not there, or is no class of ImageNet, or has no images.
    """
    folders = IMAGENETS[name]
    titles = _titles(root, folders.home)
    labels: dict[str, int] = {}
    sets = []
    for part in folders.parts:
        found = _by_id(name, root / part, folders.numbered)
        labels = labels or {one: label for label, one in enumerate(sorted(found, key=IDS.index))}
        if strange := found.keys() - labels.keys():
            raise DataError(f"{root / part} has {min(strange)}, which {folders.train} has not.")
        files = [
            (path, label)
            for one, label in labels.items()
            if one in found
            for path in image_files(found[one])
        ]
        if not files:
            raise DataError(f"{root / part} has no images in its folders.")
        sets.append(images_of_files(files))
    return tuple(titles[one] for one in labels), sets


def _by_id(name: str, part: Path, numbered: bool) -> dict[str, Path]:
    """WordNet's id -> its folder."""
    if not part.is_dir():
        raise DataError(
            f"{name} is not there: CoOp's layout has it in {part}, which is no folder. Nothing is "
            "downloaded; unpack it there."
        )
    known = {str(i): one for i, one in enumerate(IDS)} if numbered else {one: one for one in IDS}
    inside = class_folders(part)
    strange = [folder.name for folder in inside if folder.name not in known]
    if strange or not inside:
        found = strange[0] if strange else "no folder"
        named = "0 to 999" if numbered else f"such as {IDS[0]}"
        raise DataError(f"{part} has {found}; expected one folder a class, {named}.")
    return {known[folder.name]: folder for folder in inside}


def _titles(root: Path, home: str) -> dict[str, str]:
    """WordNet's id -> class name."""
    files = [root / place / "classnames.txt" for place in (home, "imagenet")]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return dict(zip(IDS, CLIP_NAMES, strict=True))
    named = [line.split(maxsplit=1) for line in read_text(file).splitlines() if line.strip()]
    titles = {words[0]: words[1].strip() for words in named if len(words) == 2}
    if missing := [one for one in IDS if one not in titles]:
        raise DataError(
            f"{file} names {len(IDS) - len(missing)} of ImageNet's {len(IDS)} classes, not "
            f"{missing[0]}. Expected a line a class: its WordNet id, a blank, its name."
        )
    return dict(zip(IDS, told_apart([titles[one] for one in IDS]), strict=True))


def told_apart(names: list[str]) -> tuple[str, ...]:
    """All 1000 names in ImageNet's order, those that CLIP gives to two classes told apart."""
    count = Counter(names)
    return tuple(
        _APART[i] if i in _APART and count[one] > 1 else one for i, one in enumerate(names)
    )


CLIP_NAMES = told_apart(IMAGENET_CLASSNAMES)


def nothing(images: ImageSet) -> ImageSet:
    """A set without images, of the kind of another."""
    return images.select(np.array([], dtype=int))
