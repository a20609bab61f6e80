"""DroPLe, the method: which tokens matter, which importance weighted token dropout drops.

One picture through the code: `analyse` crops it, runs the frozen tower and the prompted one
(`models.towers.run_layers`), scores every layer's tokens (`tokens.importance`), lets a strategy and
a mode drop some (`tokens.dropout`), maps classes back onto patches (`gradcam`) and returns an
`Analysis`.

Shape letters, everywhere:

    B images        K classes       N tokens        D width of a tower
    H heads         E joint width   L layers        P prompts in a layer
    M bridge tokens G patches a side S pixels a side R rows of a trace

The names below are imported when first used, so that `import drople` is quick and a function needs
only what its own module does.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drople.analysis import Analysis, AnalysisSettings, analyse
    from drople.class_texts import describe_classes
    from drople.errors import DropleError
    from drople.images import read_image
    from drople.models.backbone import load_backbone
    from drople.models.prompted_clip import PromptedClip
    from drople.storage.analyses import load_analysis, save_analysis
    from drople.storage.evidence import replay
    from drople.storage.prompts import load_prompts, save_prompts
    from drople.tokens.dropout import DROP_MODES, STRATEGIES, DropoutSettings
    from drople.tokens.importance import score_tokens
    from drople.training.config import METHODS, TrainConfig
    from drople.training.loop import fit

__all__ = [
    "DROP_MODES",
    "METHODS",
    "STRATEGIES",
    "Analysis",
    "AnalysisSettings",
    "DropleError",
    "DropoutSettings",
    "PromptedClip",
    "TrainConfig",
    "analyse",
    "describe_classes",
    "fit",
    "load_analysis",
    "load_backbone",
    "load_prompts",
    "read_image",
    "replay",
    "save_analysis",
    "save_prompts",
    "score_tokens",
]

_NAMES = {  # module -> the public names that it defines
    "drople.analysis": ("Analysis", "AnalysisSettings", "analyse"),
    "drople.class_texts": ("describe_classes",),
    "drople.errors": ("DropleError",),
    "drople.images": ("read_image",),
    "drople.models.backbone": ("load_backbone",),
    "drople.models.prompted_clip": ("PromptedClip",),
    "drople.storage.analyses": ("load_analysis", "save_analysis"),
    "drople.storage.evidence": ("replay",),
    "drople.storage.prompts": ("load_prompts", "save_prompts"),
    "drople.tokens.dropout": ("DROP_MODES", "STRATEGIES", "DropoutSettings"),
    "drople.tokens.importance": ("score_tokens",),
    "drople.training.config": ("METHODS", "TrainConfig"),
    "drople.training.loop": ("fit",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    """A public name, out of the module that defines it (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
