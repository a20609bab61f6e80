"""From a photograph and a class list to everything the app shows, in one value."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from drople.class_texts import ADAPTED, FROZEN, ClassTexts, describe_classes, text_layers_of
from drople.errors import SettingsError
from drople.gradcam import CAM_METHODS, class_maps
from drople.models.backbone import Backbone, hash_weights
from drople.models.prompted_clip import PromptedClip
from drople.models.towers import LayerRecord, read_image
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import (
    STRATEGIES,
    DropoutSettings,
    Replay,
    TokenDrop,
    TokenDropout,
    with_strategy,
)
from drople.tokens.strategies import DropStrategy, Nothing, matched_rows
from drople.traces import BranchTrace, ScoredLayer
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
class Prediction:
    """What one condition says of all classes."""

    cosines: np.ndarray  # (K,)
    logit_scale: float  # factor between cosines and logits

    @property
    def logits(self) -> np.ndarray:
        return self.cosines * self.logit_scale

    @property
    def probabilities(self) -> np.ndarray:
        """softmax(logits), (K,), sums to 1."""
        powers = np.exp(self.logits - self.logits.max())
        return powers / powers.sum()


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

    @property
    def conditions(self) -> tuple[str, ...]:
        return tuple(self.predictions)

    @property
    def adapted(self) -> bool:
        """Whether trained prompts were there; else only the frozen branch is shown."""
        return ADAPTED in self.predictions


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
        classes: names, or their texts from `describe_classes` where they are used again.
        prompts_name: what the provenance calls the prompts.
        decisions: depth -> which tokens are dropped there, instead of a draw (see `replay`).

    Raises:
        ClassListError: a class name cannot be encoded.
        SettingsError: a setting the model does not have, such as a layer too high.
    """
    settings = settings or AnalysisSettings()
    backbone = model if isinstance(model, Backbone) else model.backbone
    if not isinstance(classes, ClassTexts):
        classes = describe_classes(model, classes, settings.template)
    pixels = backbone.pixels(image)
    batch = backbone.normalise(torch.from_numpy(pixels.copy())[None])
    runs = [_frozen_run(backbone, batch, classes)]
    if isinstance(model, PromptedClip):
        runs.append(adapted_run(model, batch, classes, settings, decisions))
    return Analysis(
        pixels=pixels,
        classes=classes.names,
        phrases=classes.phrases,
        predictions={name: run.prediction(row) for run in runs for row, name in run.rows()},
        images={name: trace for run in runs for name, trace in run.traces(settings).items()},
        texts={branch: classes.trace(branch, settings.dropout) for branch in classes.importance},
        maps=maps_of(runs, classes.names, settings),
        settings=settings,
        provenance=_provenance(model, settings, prompts_name),
    )


@dataclass(frozen=True)
class Run:
    """One walk through the image tower; each row of its batch is a condition."""

    conditions: tuple[str, ...]
    records: list[LayerRecord]
    features: Tensor  # (R, E), unit
    text: Tensor  # (R, K, E), unit class features of each row's own prediction
    logit_scale: float
    model: Backbone | PromptedClip
    dropout: TokenDropout | None = None

    def rows(self) -> list[tuple[int, str]]:
        return list(enumerate(self.conditions))

    def prediction(self, row: int) -> Prediction:
        cosines = self.text[row] @ self.features[row]
        return Prediction(cosines.cpu().numpy(), self.logit_scale)

    def traces(self, settings: AnalysisSettings) -> dict[str, BranchTrace]:
        """Each condition's layers as arrays; p of the undropped row is what IWTD would give."""
        would = STRATEGIES["iwtd"](settings.dropout)
        depth = self.dropout.depth if self.dropout else 0
        scored = [ScoredLayer.of(r, attention=settings.keep_attention) for r in self.records]

        def trace(row: int, name: str) -> BranchTrace:
            layers = tuple(
                layer.trace(
                    slice(row, row + 1),
                    settings.dropout.weights,
                    would=would if name == ADAPTED and layer.depth < depth else None,
                    drawn=name not in (FROZEN, ADAPTED),
                )
                for layer in scored
            )
            return BranchTrace(layers, self.features[row : row + 1].cpu().numpy())

        return {name: trace(row, name) for row, name in self.rows()}


def _frozen_run(backbone: Backbone, batch: Tensor, classes: ClassTexts) -> Run:
    with torch.no_grad():
        records = list(backbone.image_layers(batch, score=True))
        features = F.normalize(read_image(backbone.visual, records[-1]), dim=-1)
    scale = float(backbone.logit_scale.exp())
    return Run((FROZEN,), records, features, classes.features[FROZEN][None], scale, backbone)


def adapted_run(
    model: PromptedClip,
    batch: Tensor,
    classes: ClassTexts,
    settings: AnalysisSettings,
    decisions: Mapping[int, TokenDrop] | None = None,
) -> Run:
    """The adapted branch under no dropout and under each strategy, as rows of one batch.

    All rows share one u per token and layer (METHOD.md 3.8).
    """
    names = (ADAPTED, *settings.strategies)
    strategies: list[DropStrategy] = [Nothing()]
    strategies += [STRATEGIES[s](with_strategy(settings.dropout, s)) for s in settings.strategies]
    reference = names.index("iwtd") if "iwtd" in names else 0
    dropout = TokenDropout(
        matched_rows(strategies, reference, match=settings.matched),
        SeededDraws([settings.seed] * len(names), "image"),
        min(settings.dropout.image_depth, model.backbone.image_layer_count),
        settings.dropout.mode,
        settings.dropout.placement,
        settings.dropout.sigma,
    )
    if decisions:
        dropout = Replay.of_records(dropout, decisions, rescore=True)
    with torch.no_grad():
        rows = batch.expand(len(names), -1, -1, -1)
        records = list(model.image_layers(rows, score=True, dropout=dropout))
        features = F.normalize(read_image(model.backbone.visual, records[-1]), dim=-1)
        text = classes.features[ADAPTED].expand(len(names), -1, -1).clone()
        if settings.drop_text:
            for row, strategy in enumerate(settings.strategies, start=1):
                dropped = with_strategy(settings.dropout, strategy)
                text[row] = text_layers_of(model, classes.names, dropped, settings.seed).features
    scale = float(model.logit_scale.detach().exp())
    return Run(names, records, features, text, scale, model, dropout)


def maps_of(runs: Sequence[Run], names: Sequence[str], settings: AnalysisSettings) -> ClassMaps:
    """Maps of the classes an analysis holds, for every condition of its runs."""
    model = runs[0].model
    backbone = model if isinstance(model, Backbone) else model.backbone
    target = names.index(settings.target) if settings.target in names else None
    shown = shown_classes([run.prediction(0) for run in runs], target)
    layer = backbone.image_layer_count - 1 if settings.cam_layer is None else settings.cam_layer
    values: dict[str, np.ndarray] = {}
    unavailable: dict[str, np.ndarray] = {}
    for run in runs:
        prompts = run.model.prompts.image_steps() if isinstance(run.model, PromptedClip) else ()
        maps = class_maps(
            run.model.visual,
            run.records,
            run.text,
            shown,
            layer=layer,
            method=settings.cam_method,
            prompts=prompts,
            dropout=run.dropout,
        )
        for row, name in run.rows():
            values[name] = maps[row]
            unavailable[name] = gone_at(run, row, layer)
    return ClassMaps(settings.cam_method, layer, tuple(shown), values, unavailable)


def shown_classes(predictions: Sequence[Prediction], target: int | None = None) -> list[int]:
    """All classes up to ten; of more, the ten likeliest anywhere, the target among them."""
    best = np.max([p.probabilities for p in predictions], axis=0)
    if len(best) <= CAM_CLASSES:
        return list(range(len(best)))
    likely = [int(i) for i in np.argsort(-best, kind="stable")[:CAM_CLASSES]]
    return likely if target is None or target in likely else [*likely[:-1], target]


def gone_at(run: Run, row: int, layer: int) -> np.ndarray:
    """Patches (G, G) whose activation the dropout itself replaced or cut off at a layer's entry."""
    layout = run.records[layer].layout
    assert layout.grid is not None
    gone = torch.zeros(run.records[layer].entering.shape[1], dtype=torch.bool)
    hidden = run.records[layer].hidden
    if hidden is not None:
        gone |= hidden[row].cpu()
    before = run.records[layer - 1].drop if layer > 0 else None
    if before is not None and run.dropout and run.dropout.mode in ("zero", "zero_scaled"):
        patches = layout.patches
        gone[patches] |= before.dropped[row, patches].cpu()
    return gone[layout.patches].reshape(layout.grid).numpy()


def _provenance(
    model: Backbone | PromptedClip, settings: AnalysisSettings, prompts_name: str
) -> dict[str, Any]:
    backbone = model if isinstance(model, Backbone) else model.backbone
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


def same_question(a: Analysis, b: Analysis) -> bool:
    """Whether two analyses differ at most in which strategies stand beside each other."""
    plain = [replace(one.settings, strategies=(), matched=False, target=None) for one in (a, b)]
    return (
        plain[0] == plain[1]
        and a.classes == b.classes
        and a.provenance == b.provenance
        and np.array_equal(a.pixels, b.pixels)
    )
