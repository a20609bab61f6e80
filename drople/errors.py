"""What can go wrong; every message says what was expected, what came, what to do.

DropleError
├── BackboneError    a CLIP that cannot be had, or that the forward does not cover
├── CheckpointError  a prompts file that cannot be read, or that belongs to another backbone
├── ClassListError   class names that cannot be encoded
├── ImageError       a picture that cannot be read
├── SettingsError    a setting out of its range
├── DataError        a data set that cannot be read
└── EvidenceError    a stored analysis that cannot be read, or is of another model
"""


class DropleError(Exception):
    """Any error whose message a visitor can act on."""


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
