"""How far IWTD chooses between tokens: where it hardly does, it trains as vanilla dropout does.

Two suspects (METHOD.md 3.6): one sink token that flattens every other p, and a
range of p so narrow that few decisions depend on the token at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from drople.errors import SettingsError
from drople.evaluation.protocols import Setting, base_to_novel
from drople.evaluation.records import kept, read_as, read_record, write_json
from drople.evaluation.runs import Made, as_asked, made
from drople.measures import selectivity
from drople.models.prompted_clip import PromptedClip
from drople.selectivity import meter, what_if
from drople.tokens.dropout import DropoutSettings
from drople.tokens.normalise import Normalisation
from drople.traces import LayerTrace, scored_layers
from drople.training.config import TrainConfig
from drople.training.features import BATCH, crop_all
from drople.training.image_sets import ImageSet
from drople.training.run import train_run, training_name

IMAGES = 200  # of the base half, drawn with seed 0
# Where nothing has been dropped yet all tokens are eligible, and minmax_eligible is minmax.
MEASURED = tuple(name for name in get_args(Normalisation) if name != "minmax_eligible")


@dataclass(frozen=True)
class Choice:
    """What IWTD would do under one normalisation, in percent.

    Means over images and layers; those by layer are means over images, first layer first, and
    empty in what earlier versions stored.
    """

    normalisation: Normalisation
    mean_p: float  # of the tokens that may be dropped
    differing: float  # decisions that differ from vanilla dropout's at the same rate, with one u
    protected: float  # effective number of protected tokens, of those that may be dropped
    one_token: float  # layers where one token's blend is more than twice the next
    p_patches: float
    p_prompts: float
    differing_by_layer: tuple[float, ...] = ()  # as `differing`
    top_gap_by_layer: tuple[float, ...] = ()  # see `top_gap`; alike under every normalisation

    @property
    def overlap(self) -> float:
        """Tokens that both dropouts drop, of those that either drops, in percent; of the means."""
        half = self.differing / 2
        return 100 * (self.mean_p - half) / (self.mean_p + half)


@dataclass(frozen=True, kw_only=True)
class ChoiceResult(Made):
    """The choices of one trained model."""

    images: int
    choices: tuple[Choice, ...]


def evaluate_choice(
    setting: Setting, config: TrainConfig, runs: Path, *, data_option: str
) -> ChoiceResult:
    """Trains or reads a method's base-to-novel run and measures its choices; kept in `runs`.

    Raises:
        SettingsError: the method learns nothing.
    """
    if not config.learns():
        raise SettingsError(f"{config.method} learns nothing, so IWTD has nothing to choose by.")
    (training,) = base_to_novel(setting, config)
    stem = training_name(setting.backbone, training.task, training.config)
    file = runs / "choices" / f"{stem}-{setting.split}.json"
    if stored := kept(file, _read):
        return as_asked(stored, setting, config, file=file)
    model = train_run(
        setting.backbone, training.task, training.config, runs=runs, processes=setting.processes
    ).model
    some = training.test_sets[0].images.some(IMAGES)
    measured = tuple(choices(model, some, config.dropout))
    how = made(setting, config, data_option)
    result = ChoiceResult(**how, images=len(some), choices=measured)
    if setting.processes.main:
        write_json(file, asdict(result))
    return result


def read_choices(runs: Path) -> list[ChoiceResult]:
    """All that were measured under a folder."""
    return [_read(file) for file in sorted((runs / "choices").glob("*.json"))]


def choices(model: PromptedClip, images: ImageSet, dropout: DropoutSettings) -> list[Choice]:
    """Measures the undropped image tower under every normalisation, the others as they are."""
    return choices_of(_scored(model, images, dropout), dropout)


def _scored(
    model: PromptedClip, images: ImageSet, dropout: DropoutSettings
) -> Iterator[list[LayerTrace]]:
    """The layers of each batch of images."""
    for some in images.batches(BATCH):
        pixels = crop_all(model.backbone, some)
        yield scored_layers(model, model.backbone.normalise(pixels), dropout)[1]


def choices_of(batches: Iterable[Sequence[LayerTrace]], dropout: DropoutSettings) -> list[Choice]:
    """The choices in scored layers, the same layers in every batch."""
    measured: dict[Normalisation, list[np.ndarray]] = {name: [] for name in MEASURED}
    for layers in batches:
        for name, batch in measured.items():
            instead = [what_if(layer, dropout, name) for layer in layers]
            images = range(len(layers[0].blend))
            batch.append(np.array([[_figures(one, dropout, i) for i in images] for one in instead]))
    return [_choice(name, np.concatenate(each, axis=1)) for name, each in measured.items()]


def top_gap(blend: np.ndarray) -> float:
    """The share of the range that min-max spends on the one token it ranks first, 0 to 1.

    (first - second) / (first - least) of the importances (T,) of one layer's tokens: all others
    share the rest. Of tokens spread evenly it is 1 / (T - 1); 0 where all are alike.
    """
    least, (second, first) = blend.min(), np.sort(blend)[-2:]
    return float((first - second) / (first - least)) if first > least else 0.0


def _choice(normalisation: Normalisation, figures: np.ndarray) -> Choice:
    """Means of shares (L, I, 7), the second `differing`, the last `top_gap`."""
    percent = 100 * figures
    by_layer = percent.mean(axis=1).round(3).T.tolist()  # 7 lists of L
    values: list[Any] = percent.mean(axis=(0, 1))[:-1].round(3).tolist()
    return Choice(normalisation, *[*values, tuple(by_layer[1]), tuple(by_layer[-1])])


def _figures(layer: LayerTrace, dropout: DropoutSettings, image: int) -> tuple[float, ...]:
    """The fields of a `Choice` for one layer and image, as shares; the last is `top_gap`."""
    metered = meter(layer, dropout.p_max, image)
    selective = selectivity(layer, dropout.p_min, dropout.p_max, row=image)
    assert metered is not None and selective is not None and layer.probability is not None
    p, eligible = layer.probability[image], layer.eligible[image]
    start, stop = layer.prompts
    prompt = np.zeros_like(eligible)
    prompt[start:stop] = True
    patches, prompts = (p[part].mean() if part.any() else np.nan
                        for part in (eligible & ~prompt, eligible & prompt))  # fmt: skip
    protected = metered.protected / metered.eligible
    gap = top_gap(layer.blend[image, layer.content[image]])
    sink = selective.sink is not None
    return p[eligible].mean(), metered.differing, protected, sink, patches, prompts, gap


def _read(file: Path) -> ChoiceResult:
    fields = read_record(file, dict)
    stored = fields.get("choices")
    if isinstance(stored, list):
        fields["choices"] = [read_as(Choice, one, file) for one in stored]
    return read_as(ChoiceResult, fields, file)
