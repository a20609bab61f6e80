"""A folder of images as a table: one row an image, in constant memory, and resumable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from drople.analysis import AnalysisSettings
from drople.class_texts import ADAPTED, FROZEN, ClassTexts
from drople.errors import DataError, ImageError
from drople.images import SUFFIXES, image_files
from drople.images import read_image as read_picture
from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.models.towers import last, read_image
from drople.selectivity import meter
from drople.statistics.intervals import wilson_interval
from drople.storage.tables import Row
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import STRATEGIES, TokenDropout, with_strategy
from drople.traces import LayerTrace, ScoredLayer


def find_images(folder: Path) -> list[Path]:
    """The image files below a folder, in the order of their paths.

    Raises:
        DataError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.")
    files = image_files(folder)
    if not files:
        raise DataError(f"{folder} holds no image; these are read: {', '.join(SUFFIXES)}.")
    return files


def explain(
    model: Backbone | PromptedClip,
    folder: Path,
    images: Sequence[Path],
    classes: ClassTexts,
    settings: AnalysisSettings,
    *,
    strategy: str = "iwtd",
    draws: int = 8,
    batch: int = 16,
) -> Iterator[list[Row]]:
    """Explains images of a folder, batch by batch.

    Args:
        classes: see `describe_classes`.
        settings: dropout and first seed; draw i has seed + i, the same for every image.
        strategy: of the draws, a key of STRATEGIES.
        draws: of each image; 0 for none.
        batch: images read at a time; draws are rows of batches of the same size.
    """
    backbone = model if isinstance(model, Backbone) else model.backbone
    for start in range(0, len(images), batch):
        paths = images[start : start + batch]
        rows: dict[Path, Row] = {}
        pixels = []
        for path in paths:
            name = path.relative_to(folder).as_posix()
            try:
                pixels.append(backbone.pixels(read_picture(path)))
                rows[path] = Row(name)
            except ImageError as error:
                rows[path] = Row(name, error=str(error))
        readable = [path for path, row in rows.items() if not row.error]
        if readable:
            inputs = backbone.normalise(torch.from_numpy(np.stack(pixels)))  # (B, 3, S, S)
            known = _columns(model, inputs, classes, settings, strategy, draws, batch)
            for i, path in enumerate(readable):
                rows[path] = Row(
                    rows[path].image, **{name: values[i] for name, values in known.items()}
                )
        yield list(rows.values())


def _columns(
    model: Backbone | PromptedClip,
    inputs: Tensor,
    classes: ClassTexts,
    settings: AnalysisSettings,
    strategy: str,
    draws: int,
    batch: int,
) -> dict[str, Sequence[Any]]:
    """The columns of a batch (B, 3, S, S), a value for each image."""
    backbone = model if isinstance(model, Backbone) else model.backbone
    features = F.normalize(backbone.encode_image(inputs), dim=-1)
    frozen = _probabilities(features, classes.features[FROZEN], backbone.logit_scale)
    found = _answers(FROZEN, features, classes, frozen)
    if not isinstance(model, PromptedClip):
        return found
    features, layers = scored_layers(model, inputs, settings)
    adapted = _probabilities(features, classes.features[ADAPTED], model.logit_scale)
    answers = adapted.argmax(dim=-1)
    found |= _answers(ADAPTED, features, classes, adapted)
    found["disagree"] = (frozen.argmax(dim=-1) != answers).tolist()
    found["total_variation"] = ((frozen - adapted).abs().sum(dim=-1) / 2).tolist()
    found |= _selectivity(layers, settings.dropout.p_max, len(inputs))
    if draws:
        flips = _flips(model, inputs, classes, settings, strategy, draws, batch, answers)
        intervals = [wilson_interval(one, draws) for one in flips]
        found |= {
            "draws": [draws] * len(flips),
            "flip_rate": [one / draws for one in flips],
            "flip_low": [low for low, _ in intervals],
            "flip_high": [high for _, high in intervals],
        }
    return found


def _probabilities(features: Tensor, text: Tensor, log_scale: Tensor) -> Tensor:
    """Softmax over classes (B, K) of unit features (B, E) and (K, E)."""
    return (log_scale.detach().exp() * features @ text.T).softmax(dim=-1)


def _answers(
    branch: str, features: Tensor, classes: ClassTexts, probabilities: Tensor
) -> dict[str, Sequence[Any]]:
    likely, index = probabilities.max(dim=-1)
    cosines = (features * classes.features[branch][index]).sum(dim=-1)
    return {
        branch: [classes.names[i] for i in index.tolist()],
        f"{branch}_probability": likely.tolist(),
        f"{branch}_cosine": cosines.tolist(),
    }


@torch.no_grad()
def scored_layers(
    model: PromptedClip, inputs: Tensor, settings: AnalysisSettings
) -> tuple[Tensor, list[LayerTrace]]:
    """Unit features (B, E) without dropout, and the layers IWTD would act after, with its p."""
    depth = _depth(model, settings)
    would = STRATEGIES["iwtd"](settings.dropout)
    layers = []
    for record in model.image_layers(inputs, score=True, watched=depth, readout_only=True):
        if record.importance is not None:
            scored = ScoredLayer.of(record)
            layers.append(
                scored.trace(
                    slice(0, len(inputs)), settings.dropout.weights, would=would, drawn=False
                )
            )
    return F.normalize(read_image(model.backbone.visual, record), dim=-1), layers


def _selectivity(layers: list[LayerTrace], p_max: float, count: int) -> dict[str, Sequence[Any]]:
    """How far IWTD chooses, as means over the layers it acts after."""

    def mean(image: int, read: Any) -> float | None:
        measured = [meter(layer, p_max, image) for layer in layers]
        values = [read(one) for one in measured if one is not None]
        return float(np.mean(values)) if values else None

    reads: dict[str, Any] = {
        "mean_p": lambda one: one.mean,
        "spread_p": lambda one: one.spread,
        "protected": lambda one: one.protected,
        "divergence": lambda one: one.divergence,
    }
    return {name: [mean(i, read) for i in range(count)] for name, read in reads.items()}


@torch.no_grad()
def _flips(
    model: PromptedClip,
    inputs: Tensor,
    classes: ClassTexts,
    settings: AnalysisSettings,
    strategy: str,
    draws: int,
    batch: int,
    answers: Tensor,
) -> list[int]:
    """For each image, how many draws answer otherwise than without dropout."""
    dropout = with_strategy(settings.dropout, strategy)
    scored = strategy not in ("none", "vanilla")
    depth = _depth(model, settings)
    rows = [(i, settings.seed + d) for i in range(len(inputs)) for d in range(draws)]
    flips = [0] * len(inputs)
    for start in range(0, len(rows), batch):
        some = rows[start : start + batch]
        index = [i for i, _ in some]
        seeded = SeededDraws([seed for _, seed in some], "image")
        record = last(
            model.image_layers(
                inputs[index],
                score=scored,
                watched=depth,
                dropout=TokenDropout.of(dropout, seeded, depth=depth),
                readout_only=True,
            )
        )
        features = F.normalize(read_image(model.backbone.visual, record), dim=-1)
        said = (features @ classes.features[ADAPTED].T).argmax(dim=-1)
        for i, other in zip(index, (said != answers[index]).tolist(), strict=True):
            flips[i] += other
    return flips


def _depth(model: PromptedClip, settings: AnalysisSettings) -> int:
    return min(settings.dropout.image_depth, model.backbone.image_layer_count)
