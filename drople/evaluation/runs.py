"""Runs on disk: a protocol carried out with one method and seed, once and for all.

A result is two files in RUNS/results/PROTOCOL/DATA: NAME.json with the figures and NAME.npz with
right or wrong for every test image, written first. A run whose files are there is not run again;
NAME holds a digest of all that decides it, the images themselves included.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from math import isclose
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np

from drople.errors import DataError
from drople.evaluation.accuracy import evaluate_on
from drople.evaluation.protocols import PROTOCOLS, EvaluationSet, Setting, TrainingSplit
from drople.evaluation.records import damaged, kept, read_as, read_record, write_json
from drople.storage.files import locked, write_bytes
from drople.training.config import METHODS, TrainConfig
from drople.training.loop import build_model
from drople.training.overrides import changes, contradictions, flat, named
from drople.training.run import digest, train_run
from drople.version import VERSION

Kept = TypeVar("Kept", bound="Made")
FROZEN = "zero-shot"  # the method that is the frozen branch
# The settings that tables and verdicts name.
DROPOUT = ("mode", "p_min", "p_max", "normalisation")
REPORTED = ("precision", *(f"dropout.{name}" for name in DROPOUT))


@dataclass(frozen=True, kw_only=True)
class Made:
    """How something was made: what its command must say."""

    data: str
    data_option: str  # what follows --data in the command
    backbone: str
    weights: str  # their hash
    split: str
    method: str
    seed: int
    config: dict[str, Any]  # every setting by dotted name

    def __post_init__(self) -> None:
        """Refuses a record whose settings lack what tables and verdicts say of it.

        Raises:
            TypeError: they do, or hold something else there than a word or a number.
        """
        if isinstance(self.config, dict):
            for name in REPORTED:
                if not isinstance(self.config.get(name), (str, int, float)):
                    raise TypeError(f"{name} is {self.config.get(name)!r}")

    @property
    def on(self) -> str:
        """The backbone's name, and which weights."""
        return f"{self.backbone}@{self.weights[:6]}"

    @property
    def settings(self) -> dict[str, Any]:
        """What differs from the method's declaration."""
        return changes(self.method, self.config)


def made(setting: Setting, config: TrainConfig, data_option: str) -> dict[str, Any]:
    """The fields of `Made`."""
    return {
        "data": setting.task.name,
        "data_option": data_option,
        "backbone": setting.backbone.name,
        "weights": setting.backbone.weights_hash,
        "split": setting.split,
        "method": config.method,
        "seed": config.seed,
        "config": flat(config),
    }


@dataclass(frozen=True, kw_only=True)
class Result(Made):
    """What came out of one run."""

    protocol: str
    targets_option: str  # what follows --targets, or nothing
    images: dict[str, int]  # test set -> test images
    exams: str  # digest of the test sets: only runs that share it can be compared
    samples: dict[str, str]  # test set -> which pictures it shows
    accuracy: dict[str, float]  # test set -> percent
    cost: dict[str, float]  # of the training runs: their mean
    version: str = VERSION
    hits: dict[str, np.ndarray] = field(default_factory=dict)  # test set -> (I,) bool


def frozen_config(config: TrainConfig) -> TrainConfig:
    """The frozen branch beside a method: it depends on the template and precision alone."""
    return replace(METHODS[FROZEN], seed=0, template=config.template, precision=config.precision)


def evaluate(
    protocol: str, setting: Setting, config: TrainConfig, *, runs: Path, data_option: str,
    targets_option: str = "",
) -> Result:  # fmt: skip
    """Carries out a protocol with one method and seed, or reads what came out before."""
    trainings = PROTOCOLS[protocol](setting, config)
    folder = runs / "results" / protocol / setting.task.name
    file = folder / f"{_name(protocol, setting, config, trainings=trainings)}.json"
    waiting = locked(file.with_suffix(".lock"), wait=setting.processes.count == 1)
    with waiting if setting.processes.main else nullcontext():
        if stored := kept(file, _read):
            return as_asked(stored, setting, config, file=file)
        result = _carry_out(
            protocol, setting, config, trainings=trainings, runs=runs, data_option=data_option,
            targets_option=targets_option,
        )  # fmt: skip
        if setting.processes.main:
            write_result(file, result)
    return result


def _carry_out(
    protocol: str, setting: Setting, config: TrainConfig, *, trainings: Sequence[TrainingSplit],
    runs: Path, data_option: str, targets_option: str,
) -> Result:  # fmt: skip
    hits, costs = {}, []
    for training in trainings:
        if config.learns():
            trained = train_run(
                setting.backbone, training.task, training.config, runs=runs,
                processes=setting.processes,
            )  # fmt: skip
            model = trained.model
            costs.append(trained.card.metrics)
        else:
            model = build_model(setting.backbone, config)
        for test_set in training.test_sets:
            right = evaluate_on(test_set, model, training.config, cache=runs / "cache")
            hits[test_set.name] = right.numpy()
    test_sets = _test_sets(trainings)
    return Result(
        **made(setting, config, data_option),
        protocol=protocol,
        targets_option=targets_option,
        images={test_set.name: len(test_set.images) for test_set in test_sets},
        exams=_digest_of_sets(test_sets),
        samples={test_set.name: test_set.sample for test_set in test_sets},
        accuracy={name: 100 * float(right.mean()) for name, right in hits.items()},
        cost={key: float(np.mean([c[key] for c in costs])) for key in (costs[0] if costs else ())},
        hits=hits,
    )


def read_results(runs: Path) -> list[Result]:
    """All finished runs under a folder, in the order of their files' names.

    Raises:
        DataError: one is damaged, or of another version.
    """
    return [_read(file) for file in sorted((runs / "results").glob("*/*/*.json"))]


def _digest_of_sets(sets: Sequence[EvaluationSet]) -> str:
    """What was tested, by the images' names: the same for all who have the data."""
    described = [(s.name, s.classes, s.images.keys, s.images.labels.tolist(), s.epsilon)
                 for s in sets]  # fmt: skip
    return digest(described)


def _name(
    protocol: str, setting: Setting, config: TrainConfig, *, trainings: Sequence[TrainingSplit]
) -> str:
    """A file name that two runs share only where all that decides them is equal."""
    tasks = [training.task for training in trainings if config.learns()]
    test_sets = _test_sets(trainings)
    key = digest(
        protocol,
        setting.backbone.weights_hash,
        setting.split,
        named(config),
        [(task.classes, task.train.digest()) for task in tasks],
        _digest_of_sets(test_sets),
        [test_set.images.digest() for test_set in test_sets],
    )
    return f"{config.method}-seed{config.seed}-{key}"


def _test_sets(trainings: Sequence[TrainingSplit]) -> list[EvaluationSet]:
    return [test_set for training in trainings for test_set in training.test_sets]


def write_result(file: Path, result: Result) -> None:
    """Writes a result and, first, its hits beside it."""
    arrays: dict[str, Any] = result.hits
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(file.with_suffix(".npz"), buffer.getvalue())
    write_json(file, {key: value for key, value in asdict(result).items() if key != "hits"})


def as_asked(kept: Kept, setting: Setting, config: TrainConfig, *, file: Path) -> Kept:
    """What a file holds, where it is what was asked for.

    Raises:
        DataError: it was made in another way than its name says.
    """
    asked = made(setting, config, kept.data_option)
    wrong = [
        f"{name} {getattr(kept, name)!r} instead of {asked[name]!r}"
        for name in ("weights", "split", "method", "seed")
        if getattr(kept, name) != asked[name]
    ]
    wrong += contradictions(kept.config, config)
    if wrong:
        raise DataError(
            f"{file} was made with {'; '.join(wrong)}. Delete it, and run its command again."
        )
    return kept


def _read(file: Path) -> Result:
    try:
        with np.load(file.with_suffix(".npz")) as arrays:
            hits = dict(arrays)
    except (OSError, ValueError, RuntimeError, EOFError, BadZipFile, zlib.error) as error:
        raise damaged(file.with_suffix(".npz"), str(error)) from None
    result = read_as(Result, read_record(file, dict), file, hits=hits)
    means = {name: 100 * float(right.mean()) for name, right in hits.items() if right.size}
    of_each = (result.accuracy, result.images, result.samples)
    if any(one.keys() != means.keys() for one in of_each) or any(
        not isclose(means[name], percent) for name, percent in result.accuracy.items()
    ):
        raise damaged(file, "its accuracies are not those of its hits")
    return result
