"""What whoever hosts the app may set, by environment variables; docs/DEPLOY.md lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drople.errors import SettingsError

MAX_DRAWS, MAX_PICTURES = 256, 5000


@dataclass(frozen=True)
class Host:
    """The host's limits."""

    draws: int | None = None  # of each compared dropout; None: see `draws_for`
    pictures: int = 200  # in one batch

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Host:
        """The limits that the environment names; the defaults for others.

        Raises:
            SettingsError: a value is no whole number in its range.
        """
        named = {
            "draws": _number(environment, "DROPLE_DRAWS", low=1, high=MAX_DRAWS),
            "pictures": _number(environment, "DROPLE_BATCH_PICTURES", low=1, high=MAX_PICTURES),
        }
        return cls(**{name: value for name, value in named.items() if value is not None})


def _number(environment: Mapping[str, str], name: str, *, low: int, high: int) -> int | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    plain = text.isascii() and text.isdigit() and len(text) < 10
    if not plain or not low <= int(text) <= high:
        raise SettingsError(f"{name} is {text[:20]!r}; give a whole number from {low} to {high}.")
    return int(text)
