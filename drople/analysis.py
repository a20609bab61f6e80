"""From a photograph and a class list to everything the app shows, in one value."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import Tensor

from drople.branches import ADAPTED, FROZEN
from drople.class_texts import ClassTexts, describe_classes
from drople.conditions import Conditions, Prediction, Run, rows_of
from drople.errors import SettingsError
from drople.gradcam import CAM_METHODS
from drople.models.backbone import Backbone, hash_weights
from drople.models.prompted_clip import PromptedClip
from drople.ranges import COUNT, SEED, check_number, flattened
from drople.tokens.dropout import STRATEGIES, DropoutSettings, Replay, TokenDrop
from drople.traces import BranchTrace
from drople.version import VERSION

CAM_CLASSES = 10  # maps of so many listed classes are in every analysis


@dataclass(frozen=True)
class AnalysisSettings:
    """What an analysis depends on but the model, the picture and the classes.

    Raises:
        SettingsError: a value is out of its range.
    """

    dropout: DropoutSettings = field(default_factory=DropoutSettings)
    seed: int = 0
    template: str = "a photo of a {}."  # of the frozen text branch
    strategies: tuple[str, ...] = ("vanilla", "iwtd")  # conditions beside frozen and adapted
    matched: bool = True  # vanilla and others drop at IWTD's rate, layer by layer
    drop_text: bool = False  # dropout acts on the text prompts too
    cam_method: str = "gradcam"
    cam_layer: int | None = None  # from 0; None for the last block
    target: str | None = None  # a class whose maps are wanted even if it is not likely
    keep_attention: bool = False  # keep every layer's attention, in half precision

    def __post_init__(self) -> None:
        check_number("seed", self.seed, SEED)
        if self.cam_layer is not None:
            check_number("cam_layer", self.cam_layer, COUNT)
        unknown = set(self.strategies) - set(STRATEGIES)
        if unknown:
            raise SettingsError(f"Unknown strategies {sorted(unknown)}; choose of {[*STRATEGIES]}.")
        if self.cam_method not in CAM_METHODS:
            raise SettingsError(
                f"No map is called {self.cam_method!r}; choose of {[*CAM_METHODS]}."
            )
        if self.matched and self.strategies and "iwtd" not in self.strategies:
            raise SettingsError("A matched rate is IWTD's: put 'iwtd' among the strategies.")


@dataclass(frozen=True)
class ClassMaps:
    """Class activation maps of every condition at one layer."""

    method: str  # a key of CAM_METHODS
    layer: int  # from 0
    classes: tuple[int, ...]  # C indices into the class list
    values: dict[str, np.ndarray]  # condition -> (C, G, G), not rectified, not rescaled
    unavailable: dict[str, np.ndarray]  # condition -> (G, G) bool, dropped at that very site


@dataclass(frozen=True)
class Analysis:
    """Everything the app shows of one picture, as arrays on the CPU."""

    pixels: np.ndarray  # (S, S, 3) uint8, what the model saw
    classes: tuple[str, ...]  # K names
    phrases: dict[str, tuple[str, ...]]  # branch -> what it read for each class
    predictions: dict[str, Prediction]  # by condition, in the order shown
    images: dict[str, BranchTrace]  # by condition; one row
    texts: dict[str, BranchTrace]  # branch -> all classes, a row each
    maps: ClassMaps
    settings: AnalysisSettings
    provenance: dict[str, Any]
    lens: dict[str, np.ndarray] | None = None  # branch -> cosines (L, K) read after each layer

    @property
    def conditions(self) -> tuple[str, ...]:
        return tuple(self.predictions)

    @property
    def adapted(self) -> bool:
        """Whether trained prompts were there; else only the frozen branch is shown."""
        return ADAPTED in self.predictions

    @property
    def branch(self) -> str:
        """The branch that answers and drops: the adapted one where there is one."""
        return ADAPTED if self.adapted else FROZEN

    @property
    def answer(self) -> int:
        """Index of the class that this branch finds likeliest."""
        return int(self.predictions[self.branch].cosines.argmax())


def analyse(
    model: Backbone | PromptedClip,
    image: Image.Image,
    classes: Sequence[str] | ClassTexts,
    settings: AnalysisSettings | None = None,
    *,
    prompts_name: str = "",
    decisions: Mapping[int, TokenDrop] | None = None,
) -> Analysis:
    """Analyses one picture.

    Args:
        model: a frozen backbone, or one with trained prompts.
        image: from `read_image`, or any of Pillow's; it is turned upright and laid on white.
        classes: names, or their texts from `describe_classes` where they are used again.
        prompts_name: what the provenance calls the prompts.
        decisions: depth -> which tokens are dropped there, instead of a draw (see `replay`).

    Raises:
        ClassListError: a class name cannot be encoded.
        ImageError: it is no picture, or its file is damaged.
        SettingsError: a setting the model does not have, such as a layer too high.
    """
    settings = settings or AnalysisSettings()
    backbone = model.backbone
    if not isinstance(classes, ClassTexts):
        classes = describe_classes(model, classes, settings.template)
    pixels = backbone.pixels(image)
    batch = backbone.normalise(pixels[None])
    runs = [Run.frozen(backbone, batch, classes)]
    if isinstance(model, PromptedClip):
        runs.append(_run_adapted(model, batch, classes, settings=settings, decisions=decisions))
    return Analysis(
        pixels=pixels,
        classes=classes.names,
        phrases=classes.phrases,
        predictions={name: run.prediction(row) for run in runs for row, name in run.rows()},
        images={
            name: trace
            for run in runs
            for name, trace in run.traces(
                settings.dropout, attention=settings.keep_attention
            ).items()
        },
        texts={branch: run.trace(settings.dropout) for branch, run in classes.runs.items()},
        maps=_maps_of(runs, classes.names, settings),
        settings=settings,
        provenance=_provenance(model, settings, prompts_name)
        | {"question_hash": _question_hash(pixels, classes.names, settings)},
        lens={run.conditions[0]: run.lens() for run in runs},  # of each branch without dropout
    )


def _run_adapted(
    model: PromptedClip,
    pixels: Tensor,
    classes: ClassTexts,
    *,
    settings: AnalysisSettings,
    decisions: Mapping[int, TokenDrop] | None,
) -> Run:
    """The adapted branch under no dropout and under each strategy; all share the seed's u."""
    rows = rows_of((ADAPTED, *settings.strategies), [settings.seed], settings.dropout)
    conditions = Conditions.of(model, rows, settings.dropout, match=settings.matched)
    if decisions:
        replayed = Replay.of_records(conditions.dropout, decisions, rescore=True)
        conditions = replace(conditions, dropout=replayed)
    return conditions.run(pixels, classes, drop_text=settings.drop_text)


def _maps_of(runs: Sequence[Run], names: Sequence[str], settings: AnalysisSettings) -> ClassMaps:
    """Maps of the classes an analysis holds, for every condition of its runs."""
    last = runs[0].model.backbone.image_layer_count - 1
    target = names.index(settings.target) if settings.target in names else None
    shown = shown_classes([run.prediction(0) for run in runs], target)
    layer = last if settings.cam_layer is None else settings.cam_layer
    values: dict[str, np.ndarray] = {}
    unavailable: dict[str, np.ndarray] = {}
    for run in runs:
        maps = run.maps(shown, layer=layer, method=settings.cam_method)
        for row, name in run.rows():
            values[name] = maps[row]
            unavailable[name] = run.unavailable(row, layer)
    return ClassMaps(settings.cam_method, layer, tuple(shown), values, unavailable)


def shown_classes(predictions: Sequence[Prediction], target: int | None = None) -> list[int]:
    """All classes up to ten; of more, the ten likeliest anywhere, the target among them."""
    best = np.max([p.probabilities for p in predictions], axis=0)
    if len(best) <= CAM_CLASSES:
        return list(range(len(best)))
    likely = [int(i) for i in np.argsort(-best, kind="stable")[:CAM_CLASSES]]
    return likely if target is None or target in likely else [*likely[:-1], target]


def _provenance(
    model: Backbone | PromptedClip, settings: AnalysisSettings, prompts_name: str
) -> dict[str, Any]:
    backbone = model.backbone
    known = {
        "backbone": backbone.name,
        "backbone_hash": backbone.weights_hash,
        "has_stem": backbone.has_stem,
        "device": str(backbone.device),
        "seed": settings.seed,
        "drople": VERSION,
        "torch": str(torch.__version__),
        "open_clip": open_clip.__version__,
        "python": platform.python_version(),
    }
    if isinstance(model, PromptedClip):
        known["prompts"] = prompts_name
        known["prompts_hash"] = hash_weights(model.state_dict())
    return known


def _question_hash(pixels: np.ndarray, classes: Sequence[str], settings: AnalysisSettings) -> str:
    """16 hex digits over pixels, class names and all settings that are not as they start.

    Some settings change no number (sigma, where nothing is multiplied by noise); this tells them.
    """
    digest = blake2b(pixels.tobytes(), digest_size=8)
    start = flattened(asdict(AnalysisSettings()))
    changed = {k: v for k, v in flattened(asdict(settings)).items() if v != start[k]}
    digest.update(json.dumps([pixels.shape, [*classes], changed], sort_keys=True).encode())
    return digest.hexdigest()


def same_question(a: Analysis, b: Analysis) -> bool:
    """Whether two analyses differ at most in which strategies stand beside each other."""
    plain = [replace(one.settings, strategies=(), matched=False, target=None) for one in (a, b)]
    made = [{**one.provenance, "question_hash": None} for one in (a, b)]  # settings are in it
    return (
        plain[0] == plain[1]
        and a.classes == b.classes
        and made[0] == made[1]
        and np.array_equal(a.pixels, b.pixels)
    )
