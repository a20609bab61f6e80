"""What can go wrong; every message says what was expected, what came, what to do."""


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
