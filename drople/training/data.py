"""Few-shot tasks from a folder of images (one folder a class) or from a pack."""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from drople.errors import DataError
from drople.images import image_files
from drople.texts import read_json
from drople.tokens.draws import generator_of
from drople.training.folders import (
    READ,
    check_parts,
    class_folders,
    distinct_classes,
    labelled,
    name_of,
    part_folders,
)  # fmt: skip
from drople.training.image_sets import ImageSet, PackedImage, images_of_files

log = logging.getLogger(__name__)
TRAIN, VAL, TEST = 0, 1, 2


@dataclass(frozen=True)
class Task:
    """A data set with its class names and its three splits."""

    name: str
    classes: tuple[str, ...]
    train: ImageSet
    val: ImageSet
    test: ImageSet
    domains: tuple[str, ...] = ()

    def subset(self, classes: Sequence[int]) -> Task:
        """The task on some classes only, relabelled from 0 in the order given."""
        new = {old: i for i, old in enumerate(classes)}

        def keep(images: ImageSet) -> ImageSet:
            kept = images.where(np.isin(images.labels, list(new)))
            return replace(kept, labels=np.array([new[int(c)] for c in kept.labels], dtype=int))

        train, val, test = (keep(part) for part in (self.train, self.val, self.test))
        names = tuple(self.classes[i] for i in classes)
        return replace(self, classes=names, train=train, val=val, test=test)

    def base(self) -> Task:
        """The first half of the classes, rounded up (CoOp's rule, METHOD.md 5.4).

        Raises:
            DataError: there is one class only.
        """
        return self.subset(range(self._half()))

    def novel(self) -> Task:
        """The second half of the classes; see `base`."""
        return self.subset(range(self._half(), len(self.classes)))

    def _half(self) -> int:
        if len(self.classes) < 2:
            raise DataError(
                f"{self.name} has one class, {self.classes[0]}: base and novel classes are two "
                "halves, so at least two are needed. Add a class, or learn on all."
            )
        return -(-len(self.classes) // 2)

    def learnt_in(self, domain: str) -> Task:
        """The task with training and validation images of one domain; it is tested on all.

        Raises:
            DataError: a domain the data do not have.
        """
        if domain not in self.domains:
            raise DataError(f"{self.name} has the domains {self.domains}, not {domain!r}.")
        index = self.domains.index(domain)
        train, val = (part.where(part.domains == index) for part in (self.train, self.val))
        return replace(self, train=train, val=val)

    def few(self, shots: int, seed: int) -> Task:
        """At most `shots` training images a class, drawn with the seed (METHOD.md 5.4).

        Raises:
            DataError: there is none to learn from.
        """
        self._check_learnable()
        return replace(self, train=sample_shots(self.train, self.classes, shots=shots, seed=seed))

    def long_tail(self, ratio: float, seed: int) -> Task:
        """An exponentially imbalanced training set (METHOD.md 5.4), drawn with the seed.

        Raises:
            DataError: there is none to learn from.
        """
        self._check_learnable()
        wanted = imbalanced_counts(self.train.labels, len(self.classes), ratio)
        return replace(self, train=_sample(self.train, self.classes, counts=wanted, seed=seed))

    def _check_learnable(self) -> None:
        if not len(self.train):
            raise DataError(f"{self.name} has no images to learn from; it is to be tested on.")


def sample_shots(images: ImageSet, classes: Sequence[str], *, shots: int, seed: int) -> ImageSet:
    """At most `shots` images a class, without replacement; all where a class has fewer.

    With the same seed, fewer shots are among more, and the shots of a class depend on its name and
    its own images alone.
    """
    return _sample(images, classes, counts=[shots] * len(classes), seed=seed)


def _sample(
    images: ImageSet, classes: Sequence[str], *, counts: Sequence[int] | np.ndarray, seed: int
) -> ImageSet:
    """The first `counts[c]` of each class's images, shuffled by the seed and the class's name."""
    chosen = [
        generator_of(seed, "shots", name).permutation(np.flatnonzero(images.labels == label))[:n]
        for label, (name, n) in enumerate(zip(classes, counts, strict=True))
    ]
    return images.select(np.sort(np.concatenate(chosen)))


def imbalanced_counts(labels: np.ndarray, classes: int, ratio: float) -> np.ndarray:
    """Images to keep of each class (K,): ceil(n_max ratio^(-rank/(K-1))), at most what there is.

    Classes are ranked by their count, the largest first; of equal ones that which comes first in
    the training set. So does `gen_imbalanced_data` in data/coop/oxford_pets.py of the released
    code, after datasets/oxford_pets.py of shijxcs/Candle: it ranks by `Counter.most_common`.

    Args:
        labels: (I,) of the training set, in its order.
        classes: K; those without an image have no rank.
    """
    ranked = Counter(labels.tolist()).most_common()
    kept = np.zeros(classes, dtype=int)
    for rank, (label, count) in enumerate(ranked):
        share = ratio ** (-rank / max(len(ranked) - 1, 1))
        kept[label] = min(count, math.ceil(max(ranked[0][1] * share, 1)))
    return kept


def join_tasks(tasks: Sequence[Task]) -> Task:
    """One task over several data sets; classes of the same name are one class.

    Its domains are not kept.
    """
    named: dict[str, str] = {}
    for name in (name for task in tasks for name in task.classes):
        named.setdefault(name.casefold(), name)
    classes, number = tuple(named.values()), {key: label for label, key in enumerate(named)}

    def joined(part: str) -> ImageSet:
        sets = [(task, getattr(task, part)) for task in tasks]
        sources = [source for _, images in sets for source in images.sources]
        labels = [
            number[task.classes[c].casefold()] for task, images in sets for c in images.labels
        ]
        whole = np.array(labels, dtype=int)
        keys = tuple(f"{task.name}/{key}" for task, images in sets for key in images.keys)
        return ImageSet(sources, whole, np.zeros_like(whole), keys)

    name = "+".join(task.name for task in tasks)
    return Task(name, classes, joined("train"), joined("val"), joined("test"))


def load_task(path: str | Path) -> Task:
    """Reads a task.

    Args:
        path: a folder with one folder of images a class, with train/ and val/ or test/ above them
            or without (then split 60/10/30 by a fixed draw); or a pack, NAME.npz beside NAME.json.
            Where val/ has no test/ beside it, it is what is tested on.

    Raises:
        DataError: there is nothing of the kind at that path.
    """
    path = Path(path)
    if os.path.isdir(path):
        return _load_folder(path)
    pack, manifest = path.with_suffix(".npz"), path.with_suffix(".json")
    if os.path.isfile(pack) and os.path.isfile(manifest):
        try:
            return _load_pack(pack)
        except (DataError, OSError, ValueError, KeyError, BadZipFile) as error:
            what = f"{pack.name} is not a pack that can be read ({error})."
            raise DataError(f"{what} Copy it and {manifest.name} again.") from error
    raise DataError(
        f"No data at {path}. Expected a folder with one folder of images a class, or a pack "
        f"({pack.name} beside {manifest.name})."
    )


def load_unlabelled(folder: str | Path) -> ImageSet:
    """Every image under a folder, labelled -1.

    Raises:
        DataError: there is none.
    """
    images = images_of_files([(path, -1) for path in image_files(Path(folder))])
    if not len(images):
        raise DataError(f"{folder} has no images; {READ}.")
    return images


def _load_pack(pack: Path) -> Task:
    manifest = read_json(pack.with_suffix(".json"))
    with pack.open("rb") as file, np.load(file) as arrays:
        blob, offsets = arrays["blob"], arrays["offsets"]
        labels, split = arrays["labels"].astype(int), arrays["split"]
        domains = arrays["domain"].astype(int) if "domain" in arrays else np.zeros_like(labels)
    names = manifest["classes"] if isinstance(manifest, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("its classes are not a list of names")
    if not np.isin(labels, np.arange(len(names))).all():
        raise ValueError(f"labels beyond its {len(names)} classes")
    classes, merged = distinct_classes(names, pack.name)
    labels = merged[labels]
    sources = [PackedImage(blob, int(a), int(b)) for a, b in pairwise(offsets)]
    keys = tuple(f"{pack.stem}[{i}]" for i in range(len(labels)))
    images = ImageSet(sources, labels, domains, keys)
    train, val, test = (images.where(split == part) for part in (TRAIN, VAL, TEST))
    return Task(pack.stem, classes, train, val, test, tuple(manifest.get("domains", ())))


def _load_folder(root: Path) -> Task:
    parts = part_folders(root)
    learnt = class_folders(parts.get("train", root))
    classes, merged = distinct_classes(map(name_of, learnt), str(root))
    labels = {one.name: int(label) for one, label in zip(learnt, merged, strict=True)}
    if parts:
        sets = {part: _part(folder, labels) for part, folder in parts.items()}
        if "test" not in sets:
            log.warning("%s has no test/: %s/ is what is tested on.", root, parts["val"].name)
            sets["test"] = sets.pop("val")
        train, test = sets["train"], sets["test"]
        val = sets.get("val", images_of_files([]))
    else:
        images = labelled(root, labels)
        dealt = draw_parts(images.labels, classes, (0.6, 0.7))
        train, val, test = (images.where(dealt == part) for part in (TRAIN, VAL, TEST))
    check_parts(root, classes, train=train, test=test)
    return Task(root.name, classes, train, val, test)


def _part(folder: Path, labels: Mapping[str, int]) -> ImageSet:
    """The images of a part; the parts may hold files of the same names."""
    images = labelled(folder, labels)
    return replace(images, keys=tuple(f"{folder.name}/{key}" for key in images.keys))


def draw_parts(labels: np.ndarray, classes: Sequence[str], ends: Sequence[float]) -> np.ndarray:
    """Deals the images of each class out to parts 0, 1, ... by a fixed draw, (I,) int.

    The draw of a class depends on its name and its own images alone.

    Args:
        labels: (I,) int, index into the classes.
        ends: where each part but the last ends, as a share of the class.
    """
    parts = np.empty(len(labels), dtype=int)
    for label, name in enumerate(classes):
        mine = generator_of("parts", name).permutation(np.flatnonzero(labels == label))
        cuts = np.round(np.array(ends) * len(mine)).astype(int)
        for part, rows in enumerate(np.split(mine, cuts)):
            parts[rows] = part
    return parts
