"""Settings: their ranges, one check for page, API, Python and command line; their dotted names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from drople.errors import SettingsError


@dataclass(frozen=True)
class Range:
    """From the least to the greatest value; finite, whatever the ends."""

    least: float
    most: float
    whole: bool = False


COUNT = Range(0, 1024, whole=True)  # of prompts, layers or bridge tokens
SHARE = Range(0, 1)
FACTOR = Range(0, 1e6)  # of a loss term or a signal
SEED = Range(0, 2**63 - 1, whole=True)


def check_number(name: str, value: Any, bounds: Range) -> None:
    """Refuses what is no number, not finite or out of its range.

    Raises:
        SettingsError: it is such; with the setting's name.
    """
    kind = Integral if bounds.whole else Real
    number = isinstance(value, kind) and not isinstance(value, bool)
    if number and math.isfinite(value) and bounds.least <= value <= bounds.most:
        return
    what = " and be a whole number" if bounds.whole else ""
    ends = f"[{bounds.least:.10g}, {bounds.most:.10g}]"
    raise SettingsError(f"{name} is {value!r}; it must lie in {ends}{what}.")


def flattened(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name, as JSON holds them."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat


def check_ranges(settings: object, ranges: Mapping[str, Range]) -> None:
    """Refuses settings of which one is out of its range; see `check_number`."""
    for name, bounds in ranges.items():
        check_number(name, vars(settings)[name], bounds)
