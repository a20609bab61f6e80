"""Records that runs leave on disk: read as what they must be, or refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from drople.errors import DataError
from drople.storage.files import set_aside, write_text
from drople.texts import read_json

Kind = TypeVar("Kind")


def write_json(file: Path, value: Any) -> None:
    """Writes a file that is either whole or not there."""
    write_text(file, json.dumps(value, indent=1))


def read_record(file: Path, kind: type[Kind]) -> Kind:
    """The fields of a record, or a list of such.

    Raises:
        DataError: the file is damaged.
    """
    try:
        fields = read_json(file)
    except DataError as error:
        raise damaged(file, str(error)) from None
    if not isinstance(fields, kind):
        raise damaged(file, "it is no record")
    return fields


def read_as(kind: Callable[..., Kind], fields: Any, file: Path, **others: Any) -> Kind:
    """A dataclass from what a file holds of it; lists become tuples.

    Raises:
        DataError: fields are missing, not known, or hold something else.
    """
    try:
        given = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        held = kind(**given, **others)
    except (TypeError, AttributeError):
        raise DataError(
            f"{file} was written by another version; delete it, and run its command again."
        ) from None
    for name, hint in get_type_hints(kind).items():
        if not _fits(vars(held)[name], hint):
            raise damaged(file, f"{name} is {vars(held)[name]!r:.80}")
    return held


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the kind that an annotation says."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind is Any:
        return True
    if kind is Literal:
        return value in inner
    if kind is dict:
        return isinstance(value, dict) and all(
            _fits(key, inner[0]) and _fits(one, inner[1]) for key, one in value.items()
        )
    if kind in (tuple, Sequence):
        return isinstance(value, tuple) and all(_fits(one, inner[0]) for one in value)
    return isinstance(value, (int, float) if kind is float else kind) and type(value) is not bool


def kept(file: Path, read: Callable[[Path], Kind]) -> Kind | None:
    """What a file holds; None where there is none, or a damaged one, which is set aside."""
    if not file.is_file():
        return None
    try:
        return read(file)
    except DataError:
        set_aside(file, f"{file} is damaged or of another version.")
        return None


def damaged(file: Path, why: str) -> DataError:
    """The error that names a damaged file."""
    return DataError(f"{file} is damaged ({why}). Delete it, and run its command again.")
