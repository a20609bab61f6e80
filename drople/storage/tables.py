"""The table `explain` fills: a CSV file that grows, and can be gone on with after a kill."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from drople.analysis import AnalysisSettings
from drople.class_texts import ClassTexts
from drople.errors import DataError, printable
from drople.models.backbone import Backbone, hash_weights
from drople.models.prompted_clip import PromptedClip
from drople.storage.cells import csv_text, defused
from drople.storage.files import check_folder, write_text
from drople.version import VERSION

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One image: its `COLUMNS`; what the model or the draws do not give is None, an empty cell."""

    image: str
    error: str = ""
    frozen: str | None = None
    frozen_probability: float | None = None
    frozen_cosine: float | None = None
    adapted: str | None = None
    adapted_probability: float | None = None
    adapted_cosine: float | None = None
    disagree: bool | None = None
    total_variation: float | None = None
    mean_p: float | None = None
    spread_p: float | None = None
    protected: float | None = None
    divergence: float | None = None
    draws: int = 0
    flip_rate: float | None = None
    flip_low: float | None = None
    flip_high: float | None = None


COLUMNS = {
    "image": "The picture's path in the folder or the ZIP.",
    "error": "Why the picture cannot be read; draws is then 0, and all else empty.",
    "frozen": "The likeliest class by the frozen branch: CLIP as it came, asked with plain text.",
    "frozen_probability": "That class's probability among the classes given, 0 to 1.",
    "frozen_cosine": "The cosine of the picture's feature and that class's text feature, -1 to 1.",
    "adapted": "The likeliest class by the adapted branch: the same CLIP with the learned prompts, "
    "here without dropout. Without prompts draws is 0, and all else from here on empty.",
    "adapted_probability": "That class's probability among the classes given, 0 to 1.",
    "adapted_cosine": "The cosine of picture and text feature in the adapted branch, -1 to 1.",
    "disagree": "True where the two branches name different classes.",
    "total_variation": "Half the sum of the differences, without sign, between the branches' "
    "probabilities: 0 where they agree, 1 where they share nothing.",
    "mean_p": "IWTD's p of being dropped, mean over the image tokens that may be dropped; as the "
    "next three, from a run without dropout, and a mean over the layers it would act after.",
    "spread_p": "The standard deviation of IWTD's p over these tokens: 0 where all are alike.",
    "protected": "How many tokens IWTD's protection, p_max - p, is spread over: the effective "
    "number, exp of the entropy of each token's share in it.",
    "divergence": "How far IWTD's p is from one p for all tokens at the same rate: Jensen-Shannon "
    "divergence, in bits a token, 0 to 1.",
    "draws": "How often the dropout that about.json calls strategy was drawn, in the image branch "
    "alone; where it is 0, the columns of flips are empty.",
    "flip_rate": "The share of the draws whose likeliest class is not the one of adapted, 0 to 1.",
    "flip_low": "The lower end of flip_rate's 95 % interval (Wilson's).",
    "flip_high": "The upper end of flip_rate's 95 % interval (Wilson's).",
}
HEADER = tuple(COLUMNS)
COLUMNS_TEXT = "".join(f"{name}: {meaning}\n" for name, meaning in COLUMNS.items())


@dataclass(frozen=True)
class Table:
    """Rows in a CSV file that grows, beside a JSON file that says how they were made.

    A third file says what the columns mean. A fourth holds for each row a checksum of its line and
    what its picture was: size in bytes, time of change and hash. By it `left` knows what is still
    as it was.
    """

    rows: Path
    about: Path
    checks: Path

    @classmethod
    def open(cls, folder: Path, about: dict[str, Any], part: str = "") -> Table:
        """Starts a table in a folder, or goes on with the one that is there.

        Args:
            about: all that decides the rows.
            part: of the file's name, where several processes share the work.

        Raises:
            DataError: the table there was made otherwise, or what it says of itself is damaged.
            SettingsError: the folder cannot be written.
        """
        check_folder(folder)
        files = (f"rows{part}.csv", f"about{part}.json", f"checks{part}.jsonl")
        table = cls(*(folder / name for name in files))
        about = json.loads(json.dumps(about))  # as it will be read again
        stored = table._stored_about()
        if stored is None and table._text():
            raise DataError(
                f"{table.rows} has no {table.about.name} that says how it was made. Name another "
                "--out, or delete it."
            )
        if stored not in (None, about):
            raise DataError(
                f"{folder} holds a table made with other images, prompts or settings. Name another "
                "--out, or delete it."
            )
        write_text(table.about, json.dumps(about, indent=1))
        write_text(folder / "columns.txt", COLUMNS_TEXT)
        if not table.rows.is_file():
            write_text(table.rows, csv_text([HEADER]))
        return table

    def left(self, pictures: Mapping[str, Path]) -> dict[str, Path]:
        """The pictures, by name, that have no row.

        Rows that are cut off, damaged or of a picture that was replaced since are removed.

        Raises:
            DataError: the header is another.
        """
        header, *lines = self._text().splitlines(keepends=True) or [""]
        if header.endswith("\n") and header != csv_text([HEADER]):
            raise DataError(
                f"{self.rows} has another header than this version writes. Name another --out, or "
                "delete it."
            )
        checks = self._stored_checks()
        cells = {name: defused(name) for name in pictures}
        files = {cells[name]: file for name, file in pictures.items()}
        kept: dict[str, str] = {}  # image -> its line
        damaged = replaced = 0
        for line in lines:
            image = _image_of(line)
            check = checks.get(image or "", {})
            if image is None or image in kept or (checks and check.get("row") != _hash(line)):
                damaged += line.endswith("\n")  # what a kill cut off is no news
            elif check and image in files and not _unchanged(files[image], check):
                replaced += 1
            else:
                kept[image] = line
        for count, what in ((damaged, "are damaged"), (replaced, "are of replaced pictures")):
            if count:
                log.warning("%s: %d rows %s and are made anew", self.rows.name, count, what)
        write_text(self.rows, csv_text([HEADER]) + "".join(kept.values()))
        if checks:
            still = [json.dumps(check) for image, check in checks.items() if image in kept]
            write_text(self.checks, "".join(f"{line}\n" for line in still))
        return {name: file for name, file in pictures.items() if cells[name] not in kept}

    def add(self, rows: Iterable[Row], pictures: Mapping[str, Path]) -> None:
        """Adds the rows of pictures, by name; a kill loses the last line at most."""
        for row in rows:
            line = csv_text([[_cell(value) for value in astuple(row)]])
            print_of = _fingerprint(pictures[row.image])
            check = {"image": _image_of(line), "row": _hash(line), **print_of}
            _append(self.rows, line)
            _append(self.checks, json.dumps(check) + "\n")

    def _text(self) -> str:
        if not self.rows.is_file():
            return ""
        return self.rows.read_bytes().decode("utf-8", "backslashreplace")

    def _stored_about(self) -> Any:
        """What the JSON file says; None without one."""
        try:
            return json.loads(self.about.read_bytes()) if self.about.is_file() else None
        except ValueError:
            raise DataError(f"{self.about} is damaged. Name another --out, or delete it.") from None

    def _stored_checks(self) -> dict[str, dict[str, Any]]:
        """Image -> its newest check; empty for a table of an earlier version."""
        checks = {}
        for line in self.checks.read_bytes().splitlines() if self.checks.is_file() else ():
            with suppress(ValueError, KeyError, TypeError):  # a damaged check vouches for no row
                check = json.loads(line)
                checks[str(check["image"])] = dict(check)
        return checks


def _append(file: Path, text: str) -> None:
    try:
        with file.open("a", encoding="utf-8", newline="") as out:
            out.write(text)
    except OSError as error:
        raise DataError(
            f"{file} cannot be written: {error.strerror}. The same command goes on from here."
        ) from error


def _cell(value: Any) -> Any:
    """A value as it is written: six digits, so that the size of a batch cannot be seen."""
    if isinstance(value, str):
        return printable(value)
    return f"{value:.6g}" if isinstance(value, float) else value


def _image_of(line: str) -> str | None:
    """The first cell as it is written; None for what is no whole row."""
    cells = next(csv.reader([line]), [])
    return cells[0] if len(cells) == len(HEADER) and line.endswith("\n") else None


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()


def _fingerprint(file: Path) -> dict[str, Any]:
    """What a picture is; nothing where it cannot be read."""
    try:
        state = file.stat()
        hashed = blake2b(file.read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return {}
    return {"size": state.st_size, "mtime_ns": state.st_mtime_ns, "hash": hashed}


def _unchanged(file: Path, check: Mapping[str, Any]) -> bool:
    """Whether a picture is what it was; one that was only touched is."""
    try:
        state = file.stat()
    except OSError:
        return "hash" not in check
    if (state.st_size, state.st_mtime_ns) == (check.get("size"), check.get("mtime_ns")):
        return True
    return _fingerprint(file).get("hash") == check.get("hash")


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
    return csv_text([HEADER, *([_cell(value) for value in astuple(row)] for row in rows)])
