"""What is learnt on and what is tested: every protocol as training splits, each with its test sets.

To add a protocol: one function and one line of `PROTOCOLS`; `columns` says how a report sums it up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from drople.errors import DataError
from drople.evaluation.corrupted_sets import corrupted
from drople.models.backbone import Backbone
from drople.perturb.attack import EPSILONS
from drople.perturb.corruptions import CORRUPTIONS, FAMILIES
from drople.training.config import TrainConfig
from drople.training.data import Task
from drople.training.features import crop_all
from drople.training.image_sets import ImageSet
from drople.training.processes import ALONE, Processes

SHOTS = (1, 2, 4, 8, 16)
IMBALANCE = 10.0
SOURCE_DOMAIN = "photo"
ROBUST_IMAGES = 100  # test images of the corruptions and of PGD
TESTED_SEVERITIES = (1, 3, 5)


@dataclass(frozen=True)
class EvaluationSet:
    """Test (or validation) images to classify against a class list."""

    name: str
    classes: tuple[str, ...]
    images: ImageSet
    sample: str  # sets over the same pictures share it: intervals resample them together
    epsilon: float = 0.0  # of a PGD attack; 0 for none


@dataclass(frozen=True)
class TrainingSplit:
    """A training set, and what its model is evaluated on."""

    task: Task
    config: TrainConfig
    test_sets: tuple[EvaluationSet, ...]


@dataclass(frozen=True)
class Setting:
    """Where a protocol is carried out."""

    backbone: Backbone
    task: Task
    split: Literal["val", "test"] = "test"
    targets: tuple[Task, ...] = ()  # of the cross-dataset protocol
    processes: Processes = ALONE  # that learn together; each evaluates on every test set

    def images(self, task: Task) -> ImageSet:
        return task.val if self.split == "val" else task.test

    def test_set(self, name: str, task: Task) -> EvaluationSet:
        return EvaluationSet(name, task.classes, self.images(task), name)


Protocol = Callable[[Setting, TrainConfig], list[TrainingSplit]]


def base_to_novel(setting: Setting, config: TrainConfig) -> list[TrainingSplit]:
    """Learns on the base half, tests each half against its own names (METHOD.md 5.4)."""
    base = setting.task.base()
    return [TrainingSplit(base.few(config.shots, config.seed), config, _halves(setting, base))]


def long_tail(setting: Setting, config: TrainConfig) -> list[TrainingSplit]:
    """Base-to-novel on all images of the base half, thinned out to an imbalance of 10."""
    base = setting.task.base()
    return [TrainingSplit(base.long_tail(IMBALANCE, config.seed), config, _halves(setting, base))]


def few_shot(setting: Setting, config: TrainConfig) -> list[TrainingSplit]:
    """Learns on all classes with 1, 2, 4, 8 and 16 images each."""
    whole = setting.task
    return [
        TrainingSplit(
            whole.few(shots, config.seed),
            replace(config, shots=shots),
            (replace(setting.test_set(f"{shots} shots", whole), sample="all"),),
        )
        for shots in SHOTS
    ]


def cross_dataset(setting: Setting, config: TrainConfig) -> list[TrainingSplit]:
    """Learns on all classes of one data set, tests on all of that and of others."""
    if not setting.targets:
        raise DataError("cross-dataset needs --targets, the data sets to test on.")
    test_sets = [setting.test_set("source", setting.task)]
    test_sets += [setting.test_set(target.name, target) for target in setting.targets]
    return [TrainingSplit(setting.task.few(config.shots, config.seed), config, tuple(test_sets))]


def domain_shift(setting: Setting, config: TrainConfig) -> list[TrainingSplit]:
    """Learns on photographs, tests on every domain there is (PACS)."""
    whole = setting.task
    if not whole.domains:
        raise DataError(f"{whole.name} has no domains; domain-shift needs data like PACS.")
    learnt = whole.learnt_in(SOURCE_DOMAIN).few(config.shots, config.seed)
    images = setting.images(whole)
    test_sets = tuple(
        EvaluationSet(domain, whole.classes, images.where(images.domains == i), domain)
        for i, domain in enumerate(whole.domains)
    )
    return [TrainingSplit(learnt, config, test_sets)]


def corruptions(setting: Setting, config: TrainConfig) -> list[TrainingSplit]:
    """Learns as base-to-novel, tests 100 base images under ImageNet-C's corruptions."""
    training = _robust(setting, config)
    (clean,) = training.test_sets
    cropped = crop_all(setting.backbone, clean.images)
    test_sets = [clean]
    for name, severity in product(CORRUPTIONS, TESTED_SEVERITIES):
        images = corrupted(clean.images, cropped, name=name, severity=severity)
        test_sets.append(replace(clean, name=f"{name} {severity}", images=images))
    return [replace(training, test_sets=tuple(test_sets))]


def pgd(setting: Setting, config: TrainConfig) -> list[TrainingSplit]:
    """Learns as base-to-novel, tests 100 base images attacked within each epsilon."""
    training = _robust(setting, config)
    (clean,) = training.test_sets
    attacked = [replace(clean, name=name, epsilon=epsilon) for name, epsilon in EPSILONS.items()]
    return [replace(training, test_sets=(clean, *attacked))]


PROTOCOLS: dict[str, Protocol] = {
    "base-to-novel": base_to_novel,
    "few-shot": few_shot,
    "cross-dataset": cross_dataset,
    "long-tail": long_tail,
    "domain-shift": domain_shift,
    "corruptions": corruptions,
    "pgd": pgd,
}


def _halves(setting: Setting, base: Task) -> tuple[EvaluationSet, ...]:
    return setting.test_set("base", base), setting.test_set("novel", setting.task.novel())


def _robust(setting: Setting, config: TrainConfig) -> TrainingSplit:
    (training,) = base_to_novel(setting, config)
    base = training.test_sets[0]
    clean = replace(base, name="clean", images=base.images.some(ROBUST_IMAGES))
    return replace(training, test_sets=(clean,))


@dataclass(frozen=True)
class Column:
    """One figure of a run: the mean over some test sets' accuracies, or their harmonic mean."""

    title: str
    test_sets: tuple[str, ...]
    harmonic: bool = False
    less: tuple[str, ...] = ()  # test sets whose mean is subtracted

    @property
    def every(self) -> tuple[str, ...]:
        return (*self.test_sets, *self.less)


def columns(protocol: str, test_sets: Sequence[str]) -> list[Column]:
    """How a protocol's runs are summed up; the last column is the one that decides."""
    single = [Column(name, (name,)) for name in test_sets]
    if protocol in ("base-to-novel", "long-tail"):
        return [*single, Column("harmonic mean", tuple(test_sets), harmonic=True)]
    if protocol == "cross-dataset":
        return [*single, Column("mean of targets", tuple(test_sets[1:]))]
    if protocol == "domain-shift":
        others = tuple(name for name in test_sets if name != SOURCE_DOMAIN)
        return [*single, Column("mean of the others", others)]
    if protocol == "corruptions":
        summed = [single[0]]
        for title, family in FAMILIES.items():
            mine = tuple(name for name in test_sets if name.rpartition(" ")[0] in family)
            summed.append(Column(title, mine))
        corrupt, clean = tuple(test_sets[1:]), (test_sets[0],)
        summed.append(Column("mean minus clean", corrupt, less=clean))
        return [*summed, Column("mean of all", corrupt)]
    if protocol == "few-shot":
        return [*single, Column("mean", tuple(test_sets))]
    if protocol == "pgd":
        return [*single, Column("mean of the attacks", tuple(test_sets[1:]))]
    return single
