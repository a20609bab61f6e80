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
from drople.evaluation.protocols import PROTOCOLS
from drople.evaluation.reproduction import Planned
from drople.models.backbone import Backbone
from drople.training.config import TrainConfig
from drople.training.data import Task
from drople.training.datasets import open_task
from drople.training.features import BATCH, encode_all
from drople.training.image_sets import ImageSet
from drople.training.layouts import missing_parts
from drople.training.loop import build_model, fit
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


@dataclass
class Work:
    """What there is to do for one table."""

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
class _Training:
    """One training of a protocol, whichever the method and seed."""

    task: Task
    shots: int
    images: ImageSet  # of its first test set
    tested: int


@dataclass(frozen=True)
class _Measured:
    seconds: float  # of a step
    line: int  # bytes that it adds to the log
    prompts: int  # bytes


class _Trainings:
    """What a planned run trains on; worked out once for all methods and seeds."""

    def __init__(self, backbone: Backbone, tasks: dict[str, Task]) -> None:
        self._backbone, self._tasks = backbone, tasks
        self._known: dict[tuple[object, ...], list[_Training]] = {}

    def of(self, one: Planned) -> list[_Training]:
        key = (one.protocol, one.data, one.targets, one.config.shots)
        if key not in self._known:
            setting = one.setting(self._backbone, self._tasks)
            self._known[key] = [
                _Training(
                    split.task, split.config.shots, split.test_sets[0].images,
                    sum(len(test_set.images) for test_set in split.test_sets),
                )
                for split in PROTOCOLS[one.protocol](setting, one.config)
            ]  # fmt: skip
        return self._known[key]


def estimate(
    planned: Sequence[Planned], backbone: Backbone, tasks: dict[str, Task], *, processes: Processes
) -> Estimate:
    """Measures this machine and works out what a plan takes on it; writes nothing."""
    trainings = _Trainings(backbone, tasks)
    told = forget_peak_memory(backbone)
    steps: dict[str, StepTime] = {}
    measured: dict[str, _Measured] = {}
    for method in dict.fromkeys(one.config.method for one in planned if one.config.learns()):
        mine = [
            (training, one.config)
            for one in planned
            if one.config.method == method
            for training in trainings.of(one)
        ]
        points: dict[int, float] = {}  # classes -> seconds
        for training, config in (min(mine, key=_classes), max(mine, key=_classes)):
            classes = len(training.task.classes)
            if classes not in points:
                measured[method] = _measure_steps(
                    backbone, training.task, config, processes=processes
                )
                points[classes] = measured[method].seconds
        steps[method] = StepTime(min(points.items()), max(points.items()))
    config = planned[-1].config
    image = _image_seconds(backbone, trainings.of(planned[-1])[0].images, config)
    peak = peak_mib(backbone) if told else None
    tables = {one.table: Work() for one in planned}
    row = 4 * backbone.joint_width  # bytes of a kept feature
    seen: set[tuple[object, ...]] = set()
    largest = 0
    for one in planned:
        work, config = tables[one.table], one.config
        for training in trainings.of(one):
            work.tested += training.tested
            work.seconds += training.tested * image
            if not config.learns():
                work.bytes += training.tested * row
                continue
            key = (one.protocol, one.data, training.shots, config)
            if key in seen:  # cross-dataset and domain share what is learnt
                continue
            seen.add(key)
            images, cost = len(training.task.train), measured[config.method]
            count = config.epochs * -(-images // config.batch)
            work.trainings += 1
            work.steps += count
            work.seconds += count * steps[config.method].at(len(training.task.classes))
            work.seconds += images * image  # its frozen features
            work.bytes += cost.prompts + count * cost.line + images * row
            largest = max(largest, images)
    pixels = largest * 3 * backbone.image_size**2 / 2**20
    return Estimate(tables, steps, image, peak, pixels)


def _classes(pair: tuple[_Training, TrainConfig]) -> int:
    return len(pair[0].task.classes)


def _measure_steps(
    backbone: Backbone, task: Task, config: TrainConfig, *, processes: Processes
) -> _Measured:
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
    return _Measured(
        median(report.seconds for report in reports[1:]),
        len(json.dumps(asdict(reports[-1]))) + 1,
        sum(4 * value.numel() for value in model.state_dict().values()),
    )


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
