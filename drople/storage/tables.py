"""The table `explain` fills: a CSV file that grows, and can be gone on with after a kill."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from drople.analysis import AnalysisSettings
from drople.class_texts import ClassTexts
from drople.errors import DataError
from drople.models.backbone import Backbone, hash_weights
from drople.models.prompted_clip import PromptedClip
from drople.version import VERSION


@dataclass(frozen=True)
class Row:
    """One image; what the model or the draws do not give is None, an empty cell."""

    image: str  # path below the folder, with /
    error: str = ""  # why it could not be read; all else is then empty
    frozen: str | None = None  # likeliest class
    frozen_probability: float | None = None
    frozen_cosine: float | None = None
    adapted: str | None = None
    adapted_probability: float | None = None
    adapted_cosine: float | None = None
    disagree: bool | None = None  # the branches name different classes
    total_variation: float | None = None  # between the branches' probabilities, 0 to 1
    mean_p: float | None = None  # of IWTD, undropped, mean over layers and tokens
    spread_p: float | None = None  # mean over layers of the sd of p over tokens
    protected: float | None = None  # mean over layers of the effective number of protected tokens
    divergence: float | None = None  # bits a token from vanilla at the same rate, mean over layers
    draws: int = 0
    flip_rate: float | None = None  # share of draws whose answer is not the undropped one
    flip_low: float | None = None  # Wilson's 95 % interval
    flip_high: float | None = None


HEADER = tuple(part.name for part in fields(Row))


@dataclass(frozen=True)
class Table:
    """Rows in a CSV file that grows, beside a JSON file that says what they mean."""

    rows: Path
    about: Path

    @classmethod
    def open(cls, folder: Path, about: dict[str, Any], part: str = "") -> Table:
        """Starts a table in a folder, or goes on with the one that is there.

        Args:
            about: all that decides the rows.
            part: of the file's name, where several processes share the work.

        Raises:
            DataError: the table there was made otherwise.
        """
        table = cls(folder / f"rows{part}.csv", folder / f"about{part}.json")
        folder.mkdir(parents=True, exist_ok=True)
        about = json.loads(json.dumps(about))  # as it will be read again
        if table.about.is_file() and json.loads(table.about.read_text()) != about:
            raise DataError(
                f"{folder} holds a table made with other images, prompts or settings. Name another "
                "--out, or delete it."
            )
        table.about.write_text(json.dumps(about, indent=1))
        if not table.rows.is_file():
            table._append([HEADER])
        return table

    def done(self) -> set[str]:
        """The images that have a row; a line cut off by a kill is removed."""
        text = self.rows.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:
            self.rows.write_bytes(whole)
        with self.rows.open(newline="") as file:
            return {row["image"] for row in csv.DictReader(file)}

    def add(self, rows: Iterable[Row]) -> None:
        self._append([_cell(value) for value in astuple(row)] for row in rows)

    def _append(self, lines: Iterable[Sequence[Any]]) -> None:
        with self.rows.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)


def _cell(value: Any) -> Any:
    """A value as it is written: six digits, so that the size of a batch cannot be seen."""
    return f"{value:.6g}" if isinstance(value, float) else value


def about_table(
    model: Backbone | PromptedClip, classes: ClassTexts, settings: AnalysisSettings, **others: Any
) -> dict[str, Any]:
    """All that decides a table's rows."""
    backbone = model.backbone
    prompts = hash_weights(model.state_dict()) if isinstance(model, PromptedClip) else None
    return {
        "drople": VERSION,
        "backbone": backbone.name,
        "backbone_hash": backbone.weights_hash,
        "prompts_hash": prompts,
        "classes": classes.names,
        "phrases": classes.phrases,
        "settings": asdict(settings),
        **others,
    }


def table_text(rows: Iterable[Row]) -> str:
    """A whole table as the text of its CSV file."""
    out = io.StringIO()
    lines = ([_cell(value) for value in astuple(row)] for row in rows)
    csv.writer(out, lineterminator="\n").writerows([HEADER, *lines])
    return out.getvalue()
