"""What a plan lacks, and what it will take: measured by a few steps, before anything is run.

The time of a training is its steps times the seconds of one. These grow with the number of classes:
they are measured with the fewest and the most that a method meets, and lie on a line between.
Nothing is taken off for what has been run already.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from statistics import median

from drople.errors import DataError
from drople.evaluation.protocols import PROTOCOLS, TrainingSplit
from drople.evaluation.reproduction import Planned
from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.training.config import TrainConfig
from drople.training.data import Task
from drople.training.datasets import open_task
from drople.training.features import BATCH, encode_all
from drople.training.image_sets import ImageSet
from drople.training.layouts import missing_parts
from drople.training.loop import StepReport, build_model, fit
from drople.training.processes import Processes
from drople.training.run import forget_peak_memory, peak_mib

STEPS = 10  # that are measured; the first, which pays for what is set up once, does not count
PATIENCE = 60.0  # seconds of measuring, after which fewer steps have to do
TEST_BATCHES = 3


def open_tasks(names: Sequence[str], root: Path) -> tuple[dict[str, Task], list[str]]:
    """The data sets that are whole, and a sentence for each thing that the others lack."""
    tasks: dict[str, Task] = {}
    missing: list[str] = []
    for name in names:
        lacks = missing_parts(name, root)
        if not lacks:
            try:
                tasks[name] = open_task(name, root)
            except DataError as error:
                lacks = [f"{name}: {error}"]
        missing += lacks
    return tasks, missing


@dataclass(frozen=True)
class Work:
    """What there is to do, for one table or a part of it."""

    trainings: int = 0
    steps: int = 0
    tested: int = 0  # images, once for each method and seed
    seconds: float = 0.0
    bytes: float = 0.0  # on disk, at most

    def __add__(self, other: Work) -> Work:
        return Work(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class StepTime:
    """Seconds of a method's training step over the number of classes: a line through two points."""

    fewest: tuple[int, float]  # classes, seconds
    most: tuple[int, float]

    def at(self, classes: int) -> float:
        (few, short), (many, long) = self.fewest, self.most
        share = (classes - few) / (many - few) if many > few else 0.0
        return short + share * max(long - short, 0.0)


@dataclass(frozen=True)
class Estimate:
    """What a plan takes on this machine."""

    tables: dict[str, Work]
    steps: dict[str, StepTime]  # method -> seconds
    image_seconds: float  # of reading and testing one image
    peak_mib: float | None  # while measuring, see `peak_mib`; None: this system does not tell
    pixels_mib: float  # of the largest training set, held in the main memory

    @property
    def total(self) -> Work:
        return sum(self.tables.values(), start=Work())


@dataclass(frozen=True)
class _Cost:
    """What a method's trainings take and leave."""

    step: StepTime
    line_bytes: int  # that a step adds to the log
    prompt_bytes: int


def estimate(
    planned: Sequence[Planned], backbone: Backbone, tasks: dict[str, Task], *, processes: Processes
) -> Estimate:
    """Measures this machine and works out what a plan takes on it; writes nothing."""
    told = forget_peak_memory(backbone)
    splits = _training_splits(planned, backbone, tasks)
    learnt = [
        (one.config, split) for one in planned if one.config.learns() for split in splits[one]
    ]
    costs = {
        method: _measure_method(
            backbone, [pair for pair in learnt if pair[0].method == method], processes=processes
        )
        for method in dict.fromkeys(config.method for config, _ in learnt)
    }
    last = planned[-1]
    image_seconds = _image_seconds(backbone, splits[last][0].test_sets[0].images, last.config)
    peak = peak_mib(backbone) if told else None
    image = Work(seconds=image_seconds, bytes=4 * backbone.joint_width)  # and its feature, kept
    tables = {one.table: Work() for one in planned}
    seen: set[tuple[object, ...]] = set()
    for one in planned:
        for split in splits[one]:
            tables[one.table] += _testing(split, one.config, image)
            key = (one.protocol, one.data, split.config.shots, one.config)
            if one.config.learns() and key not in seen:  # cross-dataset and domain share theirs
                tables[one.table] += _training(split, one.config, image, costs)
            seen.add(key)
    largest = max((len(split.task.train) for _, split in learnt), default=0)
    pixels = largest * 3 * backbone.image_size**2 / 2**20
    steps = {method: cost.step for method, cost in costs.items()}
    return Estimate(tables, steps, image_seconds, peak, pixels)


def _training_splits(
    planned: Sequence[Planned], backbone: Backbone, tasks: dict[str, Task]
) -> dict[Planned, list[TrainingSplit]]:
    """What each planned run learns and tests; worked out once for all methods and seeds."""
    known: dict[tuple[object, ...], list[TrainingSplit]] = {}
    splits = {}
    for one in planned:
        key = (one.protocol, one.data, one.targets, one.config.shots)
        if key not in known:
            known[key] = PROTOCOLS[one.protocol](one.setting(backbone, tasks), one.config)
        splits[one] = known[key]
    return splits


def _testing(split: TrainingSplit, config: TrainConfig, image: Work) -> Work:
    """The images that are tested; the frozen branch's features are kept."""
    tested = sum(len(test_set.images) for test_set in split.test_sets)
    kept = 0 if config.learns() else tested * image.bytes
    return Work(tested=tested, seconds=tested * image.seconds, bytes=kept)


def _training(
    split: TrainingSplit, config: TrainConfig, image: Work, costs: dict[str, _Cost]
) -> Work:
    """One training, the frozen features of its images among it."""
    cost, images = costs[config.method], len(split.task.train)
    steps = config.epochs * -(-images // config.batch)
    seconds = steps * cost.step.at(len(split.task.classes)) + images * image.seconds
    written = cost.prompt_bytes + steps * cost.line_bytes + images * image.bytes
    return Work(trainings=1, steps=steps, seconds=seconds, bytes=written)


def _measure_method(
    backbone: Backbone, trainings: Sequence[tuple[TrainConfig, TrainingSplit]], *,
    processes: Processes,
) -> _Cost:  # fmt: skip
    """Measures one method on the fewest and on the most classes that it meets."""

    def classes(one: tuple[TrainConfig, TrainingSplit]) -> int:
        return len(one[1].task.classes)

    ends = {classes(one): one for one in (min(trainings, key=classes), max(trainings, key=classes))}
    points = {}
    for count, (config, split) in ends.items():
        model, reports = _measure_steps(backbone, config, split.task, processes=processes)
        points[count] = median(report.seconds for report in reports[1:])
    return _Cost(
        StepTime(min(points.items()), max(points.items())),
        line_bytes=len(json.dumps(asdict(reports[-1]))) + 1,
        prompt_bytes=sum(4 * value.numel() for value in model.state_dict().values()),
    )


def _measure_steps(
    backbone: Backbone, config: TrainConfig, task: Task, *, processes: Processes
) -> tuple[PromptedClip, list[StepReport]]:
    """A model after its first steps, and their reports."""
    few = replace(task, train=task.train.some(STEPS * config.batch))
    model = build_model(backbone, config)
    reports, until = [], time.perf_counter() + PATIENCE
    # As many epochs as ten steps take, where there are few images.
    enough = replace(config, epochs=max(STEPS, config.epochs))
    for report in fit(model, few, enough, processes=processes):
        reports.append(report)
        late = processes.agreed(time.perf_counter() > until)
        if len(reports) == STEPS or (len(reports) > 1 and late):
            break
    return model, reports


def _image_seconds(backbone: Backbone, images: ImageSet, config: TrainConfig) -> float:
    """Seconds that testing takes for an image: reading it twice, and the tower."""
    model, some = build_model(backbone, config), images.some(TEST_BATCHES * BATCH)
    for part in (some.some(BATCH), some):  # the first time pays for what is set up once
        began = time.perf_counter()
        part.digest()
        encode_all(backbone, part, model.encode_image, precision=config.precision)
        seconds = time.perf_counter() - began
    return seconds / len(some)


def summary(found: Estimate, backbone: Backbone, *, free_bytes: int) -> list[str]:
    """A plain table of an estimate, and what it rests on."""
    head = ("table", "trainings", "steps", "images tested", "time", "disk")
    works = {**found.tables, "together": found.total}
    rows = [head, *((name, *_cells(work)) for name, work in works.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(w) if not i else cell.rjust(w)
                  for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]  # fmt: skip
    lines += ["", *_memory(found, backbone)]
    lines += [f"disk: at most {_size(found.total.bytes)}; {_size(free_bytes)} are free"]
    if found.total.bytes > free_bytes:
        lines += ["warning: that is not enough; choose another --runs"]
    lines += ["measured here, median of ten steps or of a minute:"]
    for method, step in found.steps.items():
        points = [f"{seconds:.3f} s with {classes} classes" for classes, seconds in
                  dict.fromkeys((step.fewest, step.most))]  # fmt: skip
        lines += [f"  a step of {method}: {', '.join(points)}"]
    return [*lines, f"  testing an image: {1000 * found.image_seconds:.1f} ms"]


def _cells(work: Work) -> tuple[str, ...]:
    counts = (f"{count:,}" for count in (work.trainings, work.steps, work.tested))
    return *counts, _duration(work.seconds), _size(work.bytes)


def _memory(found: Estimate, backbone: Backbone) -> list[str]:
    pixels = _size(found.pixels_mib * 2**20)
    if found.peak_mib is None:
        return [f"memory: not told by this system; pixels of the largest training set {pixels}"]
    peak = _size(found.peak_mib * 2**20)
    if backbone.device.type == "cuda":
        return [f"memory: {peak} on the GPU; {pixels} of the main memory for training pixels"]
    whole = _size((found.peak_mib + found.pixels_mib) * 2**20)
    return [f"memory: {whole}, of which {pixels} are pixels of the largest training set"]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _size(count: float) -> str:
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
