"""DroPLe, the method: which tokens matter, which importance weighted token dropout drops.

One picture through the code: `analyse` crops it, runs the frozen tower and the prompted one
(`models.towers.run_layers`), scores every layer's tokens (`tokens.importance`), lets a strategy and
a mode drop some (`tokens.dropout`), maps classes back onto patches (`gradcam`) and returns an
`Analysis`.

Shape letters, everywhere:

    B images        K classes       N tokens        D width of a tower
    H heads         E joint width   L layers        P prompts in a layer
    M bridge tokens G patches a side S pixels a side R rows of a trace
"""

from drople.analysis import Analysis, AnalysisSettings, analyse
from drople.class_texts import describe_classes
from drople.errors import DropleError
from drople.models.backbone import load_backbone
from drople.models.prompted_clip import PromptedClip
from drople.storage.analyses import load_analysis, replay, save_analysis
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
    "replay",
    "save_analysis",
    "save_prompts",
    "score_tokens",
]
