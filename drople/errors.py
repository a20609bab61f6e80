"""What can go wrong; every message says what was expected, what came, what to do."""

from __future__ import annotations

import re

# Control characters, those that turn the direction of writing, and halves of surrogate pairs.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Text in one line that no terminal obeys and any file holds: the rest as escapes."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


class DropleError(Exception):
    """Any error whose message a visitor can act on."""

    def __str__(self) -> str:
        """The message, fit for a terminal: it may quote what a file says."""
        return printable(super().__str__())


class BackboneError(DropleError):
    """The CLIP cannot be loaded, or holds parts the forward does not cover."""


class CheckpointError(DropleError):
    """The prompts file cannot be read, or belongs to another backbone."""


class ClassListError(DropleError):
    """The class names cannot be encoded."""


class ImageError(DropleError):
    """The picture cannot be read."""


class SettingsError(DropleError):
    """A setting is out of its range."""


class DataError(DropleError):
    """A data set cannot be read."""


class EvidenceError(DropleError):
    """A stored analysis cannot be read, or was made with another model."""
