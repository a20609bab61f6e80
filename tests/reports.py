"""Made-up finished runs, the report that is written of them, and its rows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from drople.evaluation.report import write_report
from drople.evaluation.runs import Result, write_result
from drople.training.config import METHODS
from drople.training.overrides import flat

IMAGES = 40


@pytest.fixture
def finished(tmp_path):
    """Writes a finished base-to-novel run with so many hits on each half of 40 images."""

    def write(
        method: str,
        base: int,
        novel: int,
        *,
        seed: int = 1,
        data: str = "pets",
        settings: dict[str, object] | None = None,
        **changes,
    ):
        hits = {"base": np.arange(IMAGES) < base, "novel": np.arange(IMAGES) < novel}
        fields = {
            "protocol": "base-to-novel",
            "data": data,
            "data_option": f"DATA/{data}",
            "targets_option": "",
            "backbone": "mini",
            "weights": "abcdef0123456789",
            "split": "test",
            "config": flat(METHODS[method]) | (settings or {}),
            "images": {"base": IMAGES, "novel": IMAGES},
            "exams": "0",
            "samples": {"base": "base", "novel": "novel"},
            "accuracy": {name: 100 * float(right.mean()) for name, right in hits.items()},
            "cost": {},
        }
        result = Result(method=method, seed=seed, hits=hits, **fields | changes)
        name = f"{method}-{seed}-{len(list(tmp_path.rglob('*.json')))}.json"
        write_result(tmp_path / "runs" / "results" / result.protocol / data / name, result)

    return write


@pytest.fixture
def costed(tmp_path):
    """Writes measured steps of methods that took turns."""

    def write(turns: dict[str, list[float]]):
        how = {"data": "pets", "data_option": "DATA/pets", "backbone": "mini", "split": "test"}
        how |= {"weights": "abcdef0123456789", "seed": 1, "machine": "cpu"}
        file = tmp_path / "runs" / "costs" / "pets.json"
        file.parent.mkdir(parents=True)
        rows = [
            how | {"method": name, "config": flat(METHODS[name]), "seconds": seconds}
            for name, seconds in turns.items()
        ]
        file.write_text(json.dumps(rows))

    return write


@pytest.fixture
def report(tmp_path):
    """Writes the report and returns the text of one of its pages, or of all behind RESULTS.md."""

    def written(page: str = "*") -> str:
        write_report(tmp_path / "runs", tmp_path / "RESULTS.md")
        files = (tmp_path / "docs" / "results").glob(f"{page}.md")
        return "\n".join(file.read_text() for file in sorted(files))

    return written


def row(text: str, start: str) -> list[str]:
    """The cells of the first table row that starts so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]
