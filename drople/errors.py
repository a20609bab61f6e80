"""What can go wrong; every message says what was expected, what came, what to do."""

import unicodedata


def printable(text: str) -> str:
    """A text without what a terminal would obey: control, direction and half characters, line ends.

    Whoever made a file can have put anything into its names.
    """
    return "".join("\ufffd" if unicodedata.category(one)[0] == "C" else one for one in text)


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
