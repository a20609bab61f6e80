"""What the committed runs say of IWTD against vanilla dropout, for the page to quote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from drople.errors import DataError
from drople.storage.files import write_text

SHIPPED = Path(__file__).parents[2] / "docs" / "results" / "verdict.json"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """IWTD minus vanilla dropout on one backbone, all else alike; lists where JSON has them."""

    backbone: str
    weights: str  # the backbone's hash
    mode: str
    p_min: float
    p_max: float
    normalisation: str
    tasks: list[str]
    seeds: list[int]  # those that every task has
    difference: float  # of harmonic means over the tasks, percent points
    interval: list[float]  # 95 %: low, high
    # Decisions that differ, in percent: least and most over the models measured on test images, or
    # on validation images where none was; None where none was at all.
    differing: list[float] | None
    sentence: str


def write_verdicts(file: Path, verdicts: Sequence[Verdict]) -> None:
    """Writes them as a JSON list of objects with the fields of `Verdict`."""
    write_text(file, json.dumps([asdict(one) for one in verdicts], indent=1) + "\n")


def read_verdicts(weights: str, file: Path = SHIPPED) -> list[Verdict]:
    """Those on a backbone with these weights, by their hash; none where there is no file.

    Raises:
        DataError: the file is not one that `write_verdicts` made.
    """
    if not file.is_file():
        return []
    try:
        verdicts = [Verdict(**fields) for fields in json.loads(file.read_text())]
    except (TypeError, ValueError):
        raise DataError(f"{file.name} holds no verdicts; write the report again.") from None
    return [one for one in verdicts if one.weights == weights]
