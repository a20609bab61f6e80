"""Folders of pictures as people have them: one a class, in parts or not, with what lies between."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from drople.classes import clean_name, merged_sentence
from drople.errors import DataError
from drople.images import SUFFIXES, image_files, visible
from drople.training.image_sets import ImageSet, images_of_files

log = logging.getLogger(__name__)
PARTS = {  # what the folder of a part may be called, in any case
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
READ = f"read here: {', '.join(SUFFIXES)}"


def part_folders(root: Path) -> dict[str, Path]:
    """The folders of a data set's parts: train, and val or test or both; none where it has none.

    Raises:
        DataError: a part has two folders, or there is none to learn from.
    """
    inside = class_folders(root)
    fitting = {part: [one for one in inside if one.name.lower() in names]
               for part, names in PARTS.items()}  # fmt: skip
    found = {part: folders[0] for part, folders in fitting.items() if folders}
    if {"val", "test"} == found.keys():
        raise DataError(f"{root} has {_named(found.values())}, but no train/ to learn from.")
    if "train" not in found or len(found) < 2:
        return {}
    for folders in fitting.values():
        if len(folders) > 1:
            raise DataError(f"{root} has {_named(folders)}, which are one part. Keep one of them.")
    if others := [one for one in inside if one not in found.values()]:
        log.warning("%s: passed over beside its parts: %s.", root, _named(others))
    return found


def class_folders(root: Path) -> list[Path]:
    """The folders in a folder that a person put there, sorted; links to folders are folders."""
    return sorted(one for one in root.iterdir() if one.is_dir() and visible(one))


def name_of(folder: Path) -> str:
    """The class that a folder is named after."""
    return clean_name(folder.name.replace("_", " "))


def labelled(root: Path, labels: Mapping[str, int]) -> ImageSet:
    """The images of the class folders in a folder, class after class.

    Args:
        labels: folder -> its class. Another folder of the same class counts too; those of no
            known class, and images in no folder, are not read, and the log says so.
    """
    known = {name_of(Path(folder)).casefold(): label for folder, label in labels.items()}
    found = {folder: known.get(name_of(folder).casefold()) for folder in class_folders(root)}
    mine = {folder.name: label for folder, label in found.items() if label is not None}
    if others := [folder for folder, label in found.items() if label is None]:
        log.warning("%s: passed over, since they are no class: %s.", root, _named(others))
    if loose := sum(one.suffix.lower() in SUFFIXES for one in root.iterdir() if visible(one)):
        log.warning("%s: passed over %d images that are in no class folder.", root, loose)
    paths = image_files(*(root / folder for folder in mine))
    files = [(path, mine[path.relative_to(root).parts[0]]) for path in paths]
    return images_of_files(sorted(files, key=lambda file: file[1]))


def check_parts(root: Path, classes: Sequence[str], *, train: ImageSet, test: ImageSet) -> None:
    """Refuses a data set of which nothing can be learnt or tested, or not every class learnt.

    Raises:
        DataError: see above.
    """
    if not len(train):
        raise DataError(
            f"{root} has no images to learn from. Put them in one folder a class; {READ}."
        )
    missing, untested = (
        [name for label, name in enumerate(classes) if label not in images.labels]
        for images in (train, test)
    )
    if missing:
        raise DataError(
            f"{root} has no images to learn from in {', '.join(missing)}. Every folder there is a "
            f"class: put images in, or take the folder away; {READ}."
        )
    if len(untested) == len(classes):
        raise DataError(
            f"{root} has no images to test on. Put some into test/, with one folder a class as in "
            f"train/; without parts, two images a class are the least; {READ}."
        )
    if untested:
        log.warning("%s: no image is left to test %s.", root, ", ".join(untested))


def distinct_classes(names: Iterable[str], where: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Clean class names, each once, and the new label of each of the names, (K,) int.

    Names that differ in case and blanks alone are one class, as in `clean_class_names`; the log
    says so.

    Raises:
        DataError: a name has no letter that can be seen.
    """
    number: dict[str, int] = {}
    classes: list[str] = []
    repeated: list[str] = []
    labels: list[int] = []
    for name in map(clean_name, names):
        if not name:
            raise DataError(f"{where} has a class without a name. Give it one.")
        (repeated if name.casefold() in number else classes).append(name)
        labels.append(number.setdefault(name.casefold(), len(number)))
    if repeated:
        log.warning("%s: %s", where, merged_sentence(repeated))
    return tuple(classes), np.array(labels, dtype=int)


def _named(folders: Iterable[Path]) -> str:
    return ", ".join(f"{one.name}/" for one in folders)
