"""The papers' data sets by name, where the user has them. Nothing is downloaded.

These are eleven, and four that test what was learnt on ImageNet. With CoOp's `split_zhou_*.json`
under the root, splits and class names are CoOp's; ImageNet and FGVC-Aircraft, of which it has no
such file, are read from its folders where they are. Without it they are torchvision's; what
torchvision does not split is dealt out by a fixed draw: 50 % to learn from, 20 % for validation,
30 % to test, and a missing validation part is 20 % of the training part.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torchvision import datasets as vision

from drople.errors import DataError
from drople.texts import read_json, read_text
from drople.training.data import Task, draw_parts, join_tasks
from drople.training.data import load_task as load_path
from drople.training.folders import distinct_classes
from drople.training.image_sets import ImageSet, images_of_files
from drople.training.imagenets import CLIP_NAMES, IMAGENETS, nothing, read_imagenet

Files = Iterable[tuple[str | Path, int]]

log = logging.getLogger(__name__)


def _images_and_labels(dataset: Any) -> Files:
    return zip(dataset._image_files, dataset._labels, strict=True)


def _samples(dataset: Any) -> Files:
    return dataset.samples


def _caltech(dataset: Any) -> Files:
    # Faces_easy holds the pictures of Faces again, cropped; CoOp leaves it out too.
    folder = Path(dataset.root) / "101_ObjectCategories"
    for label, number in zip(dataset.y, dataset.index, strict=True):
        if dataset.categories[label] != "Faces_easy":
            yield folder / dataset.categories[label] / f"image_{number:04d}.jpg", label


@dataclass(frozen=True)
class NamedDataset:
    """Where a data set lies under the root, and how torchvision reads it."""

    folder: str  # torchvision's
    coop_split: str | None  # the NAME of CoOp's split_zhou_NAME.json; None: it has no such file
    images: tuple[str, ...]  # what paths in the split file start from: CoOp's folder, torchvision's
    kind: Callable[..., Any] | None  # None: torchvision has no still images of it
    files: Callable[[Any], Files] = _images_and_labels
    parts: tuple[str, ...] = ()  # torchvision's: train, val and test; train and test; or none

    @property
    def split_file(self) -> str:
        return f"split_zhou_{self.coop_split}.json"

    def find_split(self, root: Path) -> Path | None:
        """CoOp's file, under the root or in one of its folders."""
        places = (root / self.split_file, *sorted(root.glob(f"*/{self.split_file}")))
        return next((path for path in places if path.is_file()), None)


_ALL, _TWO = ("train", "val", "test"), ("train", "test")
DATASETS = {
    "caltech101": NamedDataset(
        "caltech101/101_ObjectCategories", "Caltech101",
        ("caltech-101/101_ObjectCategories", "caltech101/101_ObjectCategories"),
        vision.Caltech101, _caltech,
    ),
    "oxford_pets": NamedDataset(
        "oxford-iiit-pet", "OxfordPets", ("oxford_pets/images", "oxford-iiit-pet/images"),
        vision.OxfordIIITPet, lambda dataset: zip(dataset._images, dataset._labels, strict=True),
        ("trainval", "test"),
    ),
    "stanford_cars": NamedDataset(
        "stanford_cars", "StanfordCars", ("stanford_cars",),
        vision.StanfordCars, lambda dataset: dataset._samples, _TWO,
    ),
    "flowers102": NamedDataset(
        "flowers-102", "OxfordFlowers", ("oxford_flowers/jpg", "flowers-102/jpg"),
        vision.Flowers102, parts=_ALL,
    ),
    "food101": NamedDataset(
        "food-101", "Food101", ("food-101/images",), vision.Food101, parts=_TWO,
    ),
    "fgvc_aircraft": NamedDataset("fgvc-aircraft-2013b", None, (), vision.FGVCAircraft, parts=_ALL),
    "sun397": NamedDataset("SUN397", "SUN397", ("sun397/SUN397", "SUN397"), vision.SUN397),
    "dtd": NamedDataset(
        "dtd", "DescribableTextures", ("dtd/images", "dtd/dtd/images"), vision.DTD, parts=_ALL,
    ),
    "eurosat": NamedDataset("eurosat", "EuroSAT", ("eurosat/2750",), vision.EuroSAT, _samples),
    "ucf101": NamedDataset("", "UCF101", ("ucf101/UCF-101-midframes",), None),
    "imagenet": NamedDataset("train", None, (), vision.ImageNet, _samples, ("train", "val")),
}  # fmt: skip
AIRCRAFT = "fgvc_aircraft"
AIRCRAFT_FILES = ("variants.txt", *(f"images_variant_{part}.txt" for part in _ALL))


def open_task(data: str, root: Path | None = None) -> Task:
    """A task from a path, or with `root` from the name of a data set that lies under it.

    Several, separated by commas, are joined into one.

    Raises:
        DataError: an unknown name, or files that are not there.
    """
    if "," in data and not os.path.exists(data):
        names = [one.strip() for one in data.split(",") if one.strip()]
        if not names:
            raise DataError(f"No data is named in {data!r}. Name a folder, or several.")
        return join_tasks([open_task(name, root) for name in names])
    if root is None:
        if (data in DATASETS or data in IMAGENETS) and not os.path.exists(data):
            raise DataError(f"{data} is a data set's name; say with --root where its folder lies.")
        return load_path(data)
    known = dict.fromkeys([*DATASETS, *IMAGENETS])
    if data not in known:
        raise DataError(f"No data set is called {data!r}; known: {', '.join(known)}.")
    if data not in DATASETS or (data in IMAGENETS and (root / IMAGENETS[data].home).is_dir()):
        return _read_imagenet(data, root)
    if data == AIRCRAFT and (root / AIRCRAFT).is_dir():
        return _read_aircraft(root / AIRCRAFT)
    dataset = DATASETS[data]
    if split := dataset.find_split(root):
        return _read_coop(data, root, dataset, split=split)
    return _read_torchvision(data, root, dataset)


def _read_coop(name: str, root: Path, dataset: NamedDataset, *, split: Path) -> Task:
    """Reads CoOp's split, published or made by hand; its labels may start anywhere."""
    rows = _rows_of(split)
    first = rows["train"][0][0]
    base = next((root / part for part in dataset.images if (root / part / first).is_file()), None)
    if base is None:
        raise DataError(
            f"{split.name} lists {first}, which is in none of {', '.join(dataset.images)} under "
            f"{root}. Unpack the images of {name} there."
        )
    paths = [path for part in rows.values() for path, _, _ in part]
    if missing := [path for path in paths if not (base / path).is_file()]:
        raise DataError(f"{split.name} lists {len(missing)} files not in {base}: {missing[0]} ...")
    if twice := len(paths) - len(set(paths)):
        log.warning("%s lists %d pictures more than once.", split.name, twice)
    titles = _titles_of(rows, split.name)
    classes, merged = distinct_classes(_readable(name, [*titles.values()]), split.name)
    number = {label: int(new) for label, new in zip(titles, merged, strict=True)}
    sets = [
        images_of_files([(base / path, number[label]) for path, label, _ in part])
        for part in rows.values()
        if part
    ]
    return _task_of(name, classes, sets)


Rows = dict[str, list[tuple[str, int, str]]]


def _rows_of(split: Path) -> Rows:
    """The rows of train, val and test, each [path, label, class name]; val may be empty."""
    parts, rows = read_json(split), {}
    for part in _ALL:
        given = parts.get(part, []) if isinstance(parts, dict) else []
        if not isinstance(given, list) or (part != "val" and not given):
            raise DataError(
                f"{split.name} has no rows in “{part}”; expected an object of lists: train, test "
                "and, where there is one, val."
            )
        for i, row in enumerate(given):
            kinds = [type(value) for value in row] if isinstance(row, list) else []
            if kinds != [str, int, str] or not row[0].strip() or not row[2].strip():
                raise DataError(
                    f"{split.name}: row {i} of “{part}” is {str(row)[:80]}; expected a path, a "
                    'label and a class name, e.g. ["cat/1.jpg", 0, "cat"].'
                )
        rows[part] = [(path.replace("\\", "/"), label, title) for path, label, title in given]
    return rows


def _titles_of(rows: Rows, where: str) -> dict[int, str]:
    """Label -> class name, in the order of the labels."""
    titles: dict[int, str] = {}
    for _, label, title in (row for part in rows.values() for row in part):
        if titles.setdefault(label, title) != title:
            raise DataError(
                f"{where}: label {label} is “{titles[label]}” and “{title}”. Give each class one."
            )
    return dict(sorted(titles.items()))


def _read_imagenet(name: str, root: Path) -> Task:
    classes, sets = read_imagenet(name, root)
    if len(sets) == 1:
        return Task(name, classes, nothing(sets[0]), nothing(sets[0]), sets[0])
    return _task_of(name, classes, sets)


def _read_aircraft(home: Path) -> Task:
    """Reads CoOp's folder of it: `data` of its archive."""
    variants, *parts = (read_text(home / file).splitlines() for file in AIRCRAFT_FILES)
    classes = tuple(name.strip() for name in variants if name.strip())
    number = {name: label for label, name in enumerate(classes)}
    sets = []
    for file, lines in zip(AIRCRAFT_FILES[1:], parts, strict=True):
        rows = [line.strip().partition(" ") for line in lines if line.strip()]
        if strange := [title for _, _, title in rows if title not in number]:
            raise DataError(f"{file} has the variant “{strange[0]}”, which variants.txt has not.")
        files = [(home / "images" / f"{one}.jpg", number[title]) for one, _, title in rows]
        if missing := [path for path, _ in files if not path.is_file()]:
            raise DataError(f"{file} lists {len(missing)} files not in {home}/images: "
                            f"{missing[0].name} ...")  # fmt: skip
        sets.append(images_of_files(files))
    return _task_of(AIRCRAFT, classes, sets)


def _read_torchvision(name: str, root: Path, dataset: NamedDataset) -> Task:
    if dataset.kind is None:
        raise DataError(
            f"torchvision has {name} as films only. Put CoOp's {dataset.images[0]} and "
            f"{dataset.split_file} under {root}, or give --data a folder of frames with one folder "
            "a class."
        )
    expected = root / dataset.folder
    if not expected.is_dir():
        raise DataError(
            f"{name} is not there: torchvision reads it from {expected}, which is no folder. "
            "Nothing is downloaded; unpack it there."
        )
    splits = [{"split": part} for part in dataset.parts] or [{}]
    try:
        loaded = [dataset.kind(str(root), **split) for split in splits]
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(f"{name} is not complete under {expected}: {error}") from error
    sets = [
        images_of_files([(Path(path), int(label)) for path, label in sorted(dataset.files(part))])
        for part in loaded
    ]
    titles = loaded[0].categories if name == "caltech101" else loaded[0].classes
    task = _task_of(name, _readable(name, titles), sets)
    kept = np.unique(np.concatenate([part.labels for part in (task.train, task.val, task.test)]))
    return task if len(kept) == len(titles) else task.subset([int(label) for label in kept])


def _task_of(name: str, classes: tuple[str, ...], sets: Sequence[ImageSet]) -> Task:
    """A task of three sets; where there are one or two, the first is dealt out."""
    if len(sets) < 3:
        ends = (0.5, 0.7) if len(sets) == 1 else (0.8,)
        dealt = draw_parts(sets[0].labels, classes, ends)
        sets = [*(sets[0].where(dealt == part) for part in range(len(ends) + 1)), *sets[1:]]
    train, val, test = sets
    return Task(name, classes, train, val, test)


def _readable(name: str, titles: Sequence[str | Sequence[str]]) -> tuple[str, ...]:
    """Class names as words; of synonyms the first, of SUN397's paths the last part first.

    Of all of ImageNet CLIP's own, as CoOp takes them: by the first of their synonyms, two classes
    are a crane.
    """
    if name == "imagenet" and len(titles) == len(CLIP_NAMES):
        return CLIP_NAMES
    words = []
    for title in titles:
        text = title if isinstance(title, str) else title[0]
        text = " ".join(reversed(text.split("/"))) if name == "sun397" else text
        text = re.sub("(?<=[a-z])(?=[A-Z])", " ", text) if name == "eurosat" else text
        words.append(text.replace("_", " "))
    return tuple(words)
