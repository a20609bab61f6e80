"""Class lists as people write them: from free text to clean, distinct names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from drople.errors import ClassListError, SettingsError

MAX_CLASSES = 2000
MAX_NAME = 200  # characters


def parse_class_list(text: str) -> tuple[str, ...]:
    """Splits text at commas, semicolons and line ends into clean, distinct class names.

    Raises:
        ClassListError: no name is left, or there are too many.
    """
    return clean_class_names(re.split(r"[,;\n\r\u2028\u2029]+", text))


def clean_class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Clean, distinct names in their order; the first of two that differ only in case stays.

    Raises:
        ClassListError: no name is left, or there are too many.
    """
    distinct: dict[str, str] = {}
    for name in names:
        cleaned = clean_name(name)
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
    return tuple(distinct.values())


def clean_name(name: str) -> str:
    """One name without control, format and unpaired surrogate characters, blanks collapsed."""
    text = str(name).encode("utf-8", "replace").decode("utf-8")
    kept = (c if unicodedata.category(c)[0] != "C" else " " for c in text)
    return " ".join("".join(kept).split())[:MAX_NAME].strip()


def check_template(template: str) -> str:
    """The template with exactly one {} for the class name.

    Raises:
        SettingsError: it has none, or more than one.
    """
    cleaned = clean_name(template)
    if cleaned.count("{}") != 1:
        raise SettingsError(
            f"The template “{cleaned}” must hold {{}} once, where the class name goes, e.g. "
            "“a photo of a {}.”"
        )
    return cleaned
