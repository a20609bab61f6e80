"""Class lists as people write them: from free text or a file to clean, distinct names."""

from __future__ import annotations

import ast
import logging
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from drople.errors import ClassListError, SettingsError
from drople.texts import read_json, read_text

log = logging.getLogger(__name__)
MAX_CLASSES = 2000
MAX_NAME = 200  # characters
MAX_LIST = MAX_CLASSES * MAX_NAME  # characters of a text that is looked at at all
LIST_FILES = (".txt", ".csv", ".tsv", ".json", ".names", ".lst", ".list")
_LINES = "[\n\r\u2028\u2029]+"
_PARTS = "[,;\n\r\u2028\u2029]+"


def parse_class_list(text: str) -> tuple[str, ...]:
    """Splits text at commas, semicolons and line ends into clean, distinct class names.

    Raises:
        ClassListError: see `clean_class_names`; or the text is too long.
    """
    return clean_class_names(split_names(text))


def split_names(text: str) -> Sequence[str]:
    """The names of a text as they are written, none of them cleaned yet.

    A list as Python and JSON write it, ["cat", "dog"], is read as that list.

    Raises:
        ClassListError: the text is too long.
    """
    if len(text) > MAX_LIST:
        raise ClassListError(
            f"The class list has {len(text):,} characters; at most {MAX_LIST:,} are read. "
            "Shorten it."
        )
    if text.strip().startswith("["):
        try:
            written = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            written = None
        if isinstance(written, list) and all(isinstance(name, str) for name in written):
            return written
    return re.split(_PARTS, text)


def class_list_of(given: str) -> tuple[str, ...]:
    """The class names of a command's option: a file of names, or the names themselves.

    It is a file where there is one of that name. In a file of several lines each line is a class,
    and what follows a comma in it are synonyms, as in the lists of CoOp and ImageNet.

    Raises:
        ClassListError: see `parse_class_list`; or it looks like a file, but there is none.
        DataError: the file cannot be read.
    """
    path = os.path.expanduser(given.strip())
    if os.path.isfile(path):
        if path.lower().endswith(".json"):
            return clean_class_names(_names_of(read_json(path), path))
        return clean_class_names(_names_of_lines(read_text(path)))
    alone = not re.search(_PARTS, given.strip())
    if path.lower().endswith(LIST_FILES) or (alone and re.match(r"[.~]|.*[/\\]", given.strip())):
        raise ClassListError(
            f"There is no file {_short(given)}. Give the path of a text file with one name a line, "
            "or names separated by commas, e.g. “cat, dog”."
        )
    return parse_class_list(given)


def _names_of(value: Any, path: str) -> list[str]:
    """The names of a JSON file: a list, or an object from index to name."""
    names = [*value.values()] if isinstance(value, dict) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ClassListError(
            f'{os.path.basename(path)} is no list of names; expected ["cat", "dog"] or '
            '{"0": "cat", "1": "dog"}.'
        )
    return names


def _names_of_lines(text: str) -> Sequence[str]:
    """The names of a text file; of synonyms the first, without WordNet ids or running numbers."""
    lines = [line.strip() for line in re.split(_LINES, text) if clean_name(line)]
    # A comma at the end of a line: one list over several lines.
    if len(lines) < 2 or any(line.endswith((",", ";")) for line in lines[:-1]):
        return split_names(text)
    numbers = [re.match(r"(\d+)\s*[:,;\s]\s*(?=\S)", line) for line in lines]
    found = [int(one[1]) for one in numbers if one]
    if found in ([*range(len(lines))], [*range(1, len(lines) + 1)]):
        lines = [line[one.end() :] for line, one in zip(lines, numbers, strict=True) if one]
    if all(re.match(r"n\d{8}\s+\S", line) for line in lines):
        lines = [line[9:].strip() for line in lines]
    names = [next((part for part in re.split("[,;]", line) if clean_name(part)), line)
             for line in lines]  # fmt: skip
    several = [line for line, name in zip(lines, names, strict=True) if line != name]
    if several:
        log.warning(
            "%d of %d lines hold several names; the first of a line is its class, as in %s.",
            len(several), len(lines), _short(several[0]),
        )  # fmt: skip
    return names


def repeated_names(names: Iterable[str]) -> tuple[str, ...]:
    """The clean names that stand for a class that was named before them."""
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for name in map(clean_name, names):
        if name.casefold() in seen:
            repeated[name] = None
        seen.add(name.casefold())
    return tuple(name for name in repeated if name)


def merged_sentence(names: Sequence[str]) -> str:
    """What to say of names that were given more than once."""
    shown = ", ".join(map(_short, names[:3])) + (f" and {len(names) - 3} more" * (len(names) > 3))
    return f"Named more than once, and one class each (CLIP reads no capitals): {shown}."


def clean_class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Clean, distinct names in their order; the first of two that differ only in case stays.

    Raises:
        ClassListError: the names are one text, or none is left, or there are too many, or one is
            too long or no text.
    """
    if isinstance(names, str | bytes):
        raise ClassListError(
            f"The classes are one text, {_short(str(names))}; expected a list of names, e.g. "
            '["cat", "dog"].'
        )
    distinct: dict[str, str] = {}
    names = [*names]
    for name in names:
        if not isinstance(name, str):
            raise ClassListError(f"A class name is a text; got {_short(repr(name))}.")
        cleaned = clean_name(name)
        if len(cleaned) > MAX_NAME:
            raise ClassListError(
                f"The class name {_short(cleaned)} has {len(cleaned):,} characters; at most "
                f"{MAX_NAME} are read. Shorten it, or put commas or lines between names."
            )
        if cleaned:
            distinct.setdefault(cleaned.casefold(), cleaned)
    if not distinct:
        raise ClassListError(
            "The class list is empty. Write names separated by commas or lines, e.g. cat, dog."
        )
    if len(distinct) > MAX_CLASSES:
        raise ClassListError(
            f"The class list has {len(distinct):,} names; at most {MAX_CLASSES:,} are read. "
            "Shorten it."
        )
    if repeated := repeated_names(names):
        log.warning("%s", merged_sentence(repeated))
    return tuple(distinct.values())


def clean_name(name: str) -> str:
    """One name without control, format and unpaired surrogate characters, blanks collapsed.

    Composed (NFC), so that a name is the same from every system's folders.
    """
    text = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode("utf-8"))
    return " ".join("".join(map(_visible, text)).split())


def _visible(letter: str) -> str:
    """A character as it is seen: a format character (a soft hyphen) not at all, others as blank."""
    kind = unicodedata.category(letter)
    if kind == "Cf" and letter != "\u200b":  # a zero width space parts words
        return ""
    return " " if kind[0] == "C" else letter


def _short(text: str) -> str:
    """A text in quotes for a message, cut where it is long."""
    cleaned = clean_name(text)
    return f"“{cleaned}”" if len(cleaned) <= 60 else f"“{cleaned[:57]}...”"


def check_template(template: str) -> str:
    """The template with exactly one {} for the class name.

    Raises:
        SettingsError: it has none, or more than one.
    """
    cleaned = clean_name(template)
    if cleaned.count("{}") != 1:
        raise SettingsError(
            f"The template {_short(cleaned)} must hold {{}} once, where the class name goes. "
            "Write, e.g., “a photo of a {}.” for it."
        )
    return cleaned
