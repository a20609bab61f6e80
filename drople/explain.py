"""A folder of images as a table: one row an image, in constant memory, and resumable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from drople.analysis import AnalysisSettings
from drople.branches import ADAPTED, FROZEN
from drople.class_texts import ClassTexts
from drople.conditions import ConditionRow, Conditions, rows_of
from drople.errors import DataError, ImageError, printable
from drople.images import SUFFIXES, image_files, read_image
from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.models.towers import image_features, last
from drople.selectivity import meter
from drople.statistics.intervals import wilson_interval
from drople.storage.tables import Row
from drople.tokens.dropout import DropoutSettings
from drople.traces import LayerTrace, scored_layers


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


def image_name(file: Path, folder: Path) -> str:
    """What a table calls an image: its path below the folder, with /, printable."""
    return printable(file.relative_to(folder).as_posix())


def explain(
    model: Backbone | PromptedClip, folder: Path, images: Sequence[Path], *, classes: ClassTexts,
    settings: AnalysisSettings, strategy: str = "iwtd", draws: int = 8, batch: int = 16,
) -> Iterator[list[Row]]:  # fmt: skip
    """Explains images of a folder, batch by batch.

    Args:
        classes: see `describe_classes`.
        settings: dropout and first seed; draw i has seed + i, the same for every image.
        strategy: of the draws, a key of STRATEGIES.
        draws: of each image; 0 for none.
        batch: images read at a time; draws are rows of batches of the same size.
    """
    backbone = model.backbone
    seeds = range(settings.seed, settings.seed + draws)
    sampled = rows_of([strategy], seeds, settings.dropout)
    for start in range(0, len(images), batch):
        paths = images[start : start + batch]
        rows: dict[Path, Row] = {}
        pixels = []
        for path in paths:
            name = image_name(path, folder)
            try:
                pixels.append(backbone.pixels(read_image(path)))
                rows[path] = Row(name)
            except ImageError as error:
                rows[path] = Row(name, error=str(error))
        readable = [path for path, row in rows.items() if not row.error]
        if readable:
            inputs = backbone.normalise(np.stack(pixels))  # (B, 3, S, S)
            columns = _columns(
                model, inputs, classes, dropout=settings.dropout, sampled=sampled, batch=batch
            )
            for i, path in enumerate(readable):
                rows[path] = replace(rows[path], **{k: values[i] for k, values in columns.items()})
        yield list(rows.values())


def _columns(
    model: Backbone | PromptedClip, inputs: Tensor, classes: ClassTexts, *,
    dropout: DropoutSettings, sampled: Sequence[ConditionRow], batch: int,
) -> dict[str, Sequence[Any]]:  # fmt: skip
    """The columns of a batch (B, 3, S, S), a value for each image; draws are rows of `sampled`."""
    backbone = model.backbone
    features = F.normalize(backbone.encode_image(inputs), dim=-1)
    frozen = _probabilities(features, classes.features[FROZEN], backbone.logit_scale)
    columns = _predictions(FROZEN, features, classes, probabilities=frozen)
    if not isinstance(model, PromptedClip):
        return columns
    features, layers = scored_layers(model, inputs, dropout)
    adapted = _probabilities(features, classes.features[ADAPTED], model.logit_scale)
    predicted = adapted.argmax(dim=-1)
    columns |= _predictions(ADAPTED, features, classes, probabilities=adapted)
    columns["disagree"] = (frozen.argmax(dim=-1) != predicted).tolist()
    columns["total_variation"] = ((frozen - adapted).abs().sum(dim=-1) / 2).tolist()
    columns |= _selectivity(layers, dropout.p_max, len(inputs))
    if draws := len(sampled):
        flips = _flips(
            model, inputs, classes.features[ADAPTED],
            dropout=dropout, sampled=sampled, predicted=predicted, batch=batch,
        )  # fmt: skip
        intervals = [wilson_interval(one, draws) for one in flips]
        columns |= {
            "draws": [draws] * len(flips),
            "flip_rate": [one / draws for one in flips],
            "flip_low": [low for low, _ in intervals],
            "flip_high": [high for _, high in intervals],
        }
    return columns


def _probabilities(features: Tensor, text: Tensor, log_scale: Tensor) -> Tensor:
    """Softmax over classes (B, K) of unit features (B, E) and (K, E)."""
    return (log_scale.detach().exp() * features @ text.T).softmax(dim=-1)


def _predictions(
    branch: str, features: Tensor, classes: ClassTexts, *, probabilities: Tensor
) -> dict[str, Sequence[Any]]:
    likely, index = probabilities.max(dim=-1)
    cosines = (features * classes.features[branch][index]).sum(dim=-1)
    return {
        branch: [classes.names[i] for i in index.tolist()],
        f"{branch}_probability": likely.tolist(),
        f"{branch}_cosine": cosines.tolist(),
    }


def _selectivity(layers: list[LayerTrace], p_max: float, count: int) -> dict[str, Sequence[Any]]:
    """How far IWTD chooses, as means over the layers it acts after."""
    each = [[vars(one) for layer in layers if (one := meter(layer, p_max, image))]
            for image in range(count)]  # fmt: skip
    return {
        column: [float(np.mean([one[part] for one in own])) if own else None for own in each]
        for column, part in _METERED.items()
    }


_METERED = {  # column -> field of a `Meter`
    "mean_p": "mean", "spread_p": "spread", "protected": "protected", "divergence": "divergence",
}  # fmt: skip


@torch.no_grad()
def _flips(
    model: PromptedClip, inputs: Tensor, text: Tensor, *,
    dropout: DropoutSettings, sampled: Sequence[ConditionRow], predicted: Tensor, batch: int,
) -> list[int]:  # fmt: skip
    """For each image, how many draws predict another class than `predicted` (B,)."""
    flips = [0] * len(inputs)
    for i, start in product(range(len(inputs)), range(0, len(sampled), batch)):
        conditions = Conditions.of(model, sampled[start : start + batch], dropout)
        record = last(conditions.layers(inputs[i : i + 1], readout_only=True))
        features = F.normalize(image_features(model.backbone.visual, record), dim=-1)
        flips[i] += int(((features @ text.T).argmax(dim=-1) != predicted[i]).sum())
    return flips
