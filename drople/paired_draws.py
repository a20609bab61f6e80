"""Many draws of two dropouts on one picture, a batch of draws at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import softmax

from drople.analysis import Analysis, AnalysisSettings
from drople.class_texts import ClassTexts
from drople.conditions import Conditions, Run, rows_of
from drople.errors import SettingsError
from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.tokens.dropout import Replay, TokenDrop, strategy_of, with_strategy
from drople.tokens.strategies import drop_rate, shift_to_rate
from drople.traces import LayerTrace

BATCH = 4  # draws in one call of the model, so eight rows


@dataclass(frozen=True)
class DrawBatch:
    """n draws of two dropouts. T tokens: the patches, row-major, then the learned prompts.

    D layers are those after which dropout acts. One with fewer prompts than another is padded
    with tokens that are not eligible. Both dropouts of a draw compare p with the same u.
    """

    pair: tuple[str, str]  # keys of STRATEGIES
    seeds: tuple[int, ...]  # n
    dropped: dict[str, np.ndarray]  # strategy -> (n, D, T) bool
    eligible: dict[str, np.ndarray]  # strategy -> (n, D, T) bool, might be dropped there
    probability: dict[str, np.ndarray]  # strategy -> (n, D, T) float32, NaN where not eligible
    cosines: dict[str, np.ndarray]  # strategy -> (n, K) float32
    logit_scale: float  # factor between cosines and logits
    # strategy -> (n, C, G, G) float32, NaN where the dropout took the patch; None without maps
    maps: dict[str, np.ndarray] | None

    def probabilities(self, strategy: str) -> np.ndarray:
        """What one dropout predicts for all classes, (n, K), rows sum to 1."""
        return np.asarray(softmax(self.cosines[strategy] * self.logit_scale, axis=-1))

    def part(self, draws: slice) -> DrawBatch:
        """Some of the draws."""

        def cut(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: one[draws] for name, one in values.items()}

        return DrawBatch(
            self.pair, self.seeds[draws], cut(self.dropped), cut(self.eligible),
            cut(self.probability), cut(self.cosines), self.logit_scale,
            None if self.maps is None else cut(self.maps),
        )  # fmt: skip

    def answers(self, strategy: str) -> np.ndarray:
        """The likeliest class of each draw, (n,) indices."""
        return self.cosines[strategy].argmax(axis=1)


def run_paired(
    model: Backbone | PromptedClip,
    pixels: np.ndarray,
    classes: ClassTexts,
    *,
    settings: AnalysisSettings,
    pair: tuple[str, str],
    seeds: Sequence[int],
    map_classes: Sequence[int] = (),
    maps_for: int = 16,
) -> Iterator[DrawBatch]:
    """Yields the draws of two strategies, `BATCH` at a time.

    Without prompts the dropouts act on the frozen branch, with the signals there are.

    Args:
        pixels: (S, S, 3) uint8, what the model sees.
        pair: keys of STRATEGIES; where rates are matched, one sets the other's in each draw
            (see `rate_setter`).
        seeds: one a draw.
        map_classes: C indices of the classes that get maps.
        maps_for: how many first draws get maps.

    Raises:
        SettingsError: the two are the same, or one is no strategy.
    """
    if pair[0] == pair[1]:
        raise SettingsError(f"Both dropouts are {pair[0]!r}; choose two that differ.")
    rows_of(pair, seeds, settings.dropout)  # refuses before anything is computed
    batch = model.backbone.normalise(pixels[None])
    start = 0
    while start < len(seeds):
        mapped = start < maps_for and len(map_classes) > 0
        stop = min(start + BATCH, len(seeds), maps_for if mapped else len(seeds))
        conditions = _conditions(model, settings, pair, seeds=seeds[start:stop])
        # The last block decides no drop, and maps need its tokens.
        brief = not mapped and conditions.dropout.depth < model.backbone.image_layer_count
        with torch.no_grad():
            layers = conditions.layers(batch, readout_only=brief, score_all=False)
            records = [record.without_attention() for record in layers]
        run = conditions.run_of(records, classes, drop_text=settings.drop_text)
        maps = _maps(run, settings, map_classes) if mapped else None
        yield _batch_of(run, pair, seeds[start:stop], maps=maps)
        start = stop


def rerun_paired(
    model: Backbone | PromptedClip, pixels: np.ndarray, classes: ClassTexts,
    *, settings: AnalysisSettings, batch: DrawBatch, map_classes: Sequence[int],
) -> DrawBatch:  # fmt: skip
    """The same draws once more, with the drops of a batch; p is worked out anew.

    Args:
        pixels, classes, settings, map_classes: see `run_paired`; maps only where the batch has
            them.

    Raises:
        EvidenceError: its drops are not of such a model.
    """
    rows = 2 * len(batch.seeds)
    dropped = np.stack([batch.dropped[name] for name in batch.pair], axis=1)  # (n, 2, D, T)
    dropped = np.pad(dropped.reshape(rows, *dropped.shape[2:]), ((0, 0), (0, 0), (1, 0)))
    decisions = {}
    for depth in range(dropped.shape[1]):
        drop = torch.from_numpy(dropped[:, depth]).to(model.backbone.device)  # (2 n, 1 + T)
        decisions[depth] = TokenDrop(drop.float(), drop.float(), drop)
    conditions = _conditions(model, settings, batch.pair, seeds=batch.seeds)
    acting = Replay.of_records(conditions.dropout, decisions, rescore=True)
    conditions = replace(conditions, dropout=acting)
    with torch.no_grad():
        records = list(conditions.layers(model.backbone.normalise(pixels[None]), score_all=False))
    run = conditions.run_of(records, classes, drop_text=settings.drop_text)
    maps = None if batch.maps is None else _maps(run, settings, map_classes)
    return _batch_of(run, batch.pair, batch.seeds, maps=maps)


def _conditions(
    model: Backbone | PromptedClip, settings: AnalysisSettings, pair: tuple[str, str],
    *, seeds: Sequence[int],
) -> Conditions:  # fmt: skip
    """The pair of each seed as rows."""
    rows = rows_of(pair, seeds, settings.dropout)
    return Conditions.of(
        model, rows, settings.dropout, match=settings.matched, reference=rate_setter(pair)
    )


def rate_setter(pair: tuple[str, str]) -> str:
    """Which of two strategies sets the rate where rates are matched: IWTD, or else the first."""
    if "iwtd" in pair:
        return "iwtd"
    return pair[1] if pair[0] == "none" else pair[0]


def _maps(run: Run, settings: AnalysisSettings, classes: Sequence[int]) -> np.ndarray:
    """Maps (R, C, G, G) of every row, NaN where the dropout took the patch."""
    layer = len(run.records) - 1 if settings.cam_layer is None else settings.cam_layer
    maps = run.maps(classes, layer=layer, method=settings.cam_method)
    for row, _ in run.rows():
        maps[row][:, run.unavailable(row, layer)] = np.nan
    return maps


def _batch_of(
    run: Run, pair: tuple[str, str], seeds: Sequence[int], *, maps: np.ndarray | None
) -> DrawBatch:
    """A run whose rows are the pair of each seed, as arrays."""
    rows = len(run.conditions)
    drawn = [(record, record.drop) for record in run.records if record.drop is not None]
    eligible = _padded([r.eligible.cpu().numpy() for r, _ in drawn], rows, False).astype(bool)
    dropped = _padded([drop.dropped.cpu().numpy() for _, drop in drawn], rows, False).astype(bool)
    p = _padded([drop.probability.cpu().numpy() for _, drop in drawn], rows, np.nan)
    predictions = [run.prediction(row) for row, _ in run.rows()]

    def each(values: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values[i::2] for i, name in enumerate(pair)}

    return DrawBatch(
        pair=pair,
        seeds=tuple(seeds),
        dropped=each(dropped),
        eligible=each(eligible),
        probability=each(np.where(eligible, p, np.float32(np.nan))),
        cosines=each(np.stack([one.cosines for one in predictions])),
        logit_scale=predictions[0].logit_scale,
        maps=None if maps is None else each(maps),
    )


def _padded(layers: Sequence[np.ndarray | None], rows: int, blank: float) -> np.ndarray:
    """Rows (R, N) of each layer without [CLS], filled up to the longest: (R, D, T)."""
    parts = [layer[:, 1:] for layer in layers if layer is not None]
    width = max((part.shape[1] for part in parts), default=0)
    filled = np.full((rows, len(parts), width), blank, parts[0].dtype if parts else np.float32)
    for depth, part in enumerate(parts):
        filled[:, depth, : part.shape[1]] = part
    return filled


def first_draw(analysis: Analysis, pair: tuple[str, str]) -> DrawBatch | None:
    """The draw that an analysis holds itself; None where it has not this very pair.

    It counts as the first: `run_paired` with the analysis's own seed gives the same.
    """
    matched = analysis.settings.matched
    if not {*pair} <= {*analysis.images} or (matched and "iwtd" not in pair):
        return None
    maps = analysis.maps
    drawn = {
        name: [one for one in analysis.images[name].layers if one.dropped is not None]
        for name in pair
    }
    eligible = {
        name: _padded([one.eligible for one in drawn[name]], 1, False).astype(bool) for name in pair
    }
    dropped = {
        name: _padded([one.dropped for one in drawn[name]], 1, False).astype(bool) for name in pair
    }
    p = {name: _padded([one.probability for one in drawn[name]], 1, np.nan) for name in pair}
    return DrawBatch(
        pair=pair,
        seeds=(analysis.settings.seed,),
        dropped=dropped,
        eligible=eligible,
        probability={name: np.where(eligible[name], p[name], np.float32(np.nan)) for name in pair},
        cosines={name: analysis.predictions[name].cosines[None] for name in pair},
        logit_scale=analysis.predictions[pair[0]].logit_scale,
        maps={
            name: np.where(maps.unavailable[name], np.float32(np.nan), maps.values[name])[None]
            for name in pair
        },
    )


def would_drop(
    layer: LayerTrace, settings: AnalysisSettings, pair: tuple[str, str]
) -> dict[str, np.ndarray]:
    """What p (N,) each of two strategies would give the tokens of an image's traced layer.

    NaN where a token is not eligible. Rates are matched where the settings say so.
    """
    evidence = layer.evidence()
    eligible = evidence.eligible[0]
    p = {
        name: strategy_of(with_strategy(settings.dropout, name)).probability(evidence)[0]
        for name in pair
    }
    leads = rate_setter(pair)
    if settings.matched:
        rate = float(drop_rate(p[leads][None], evidence.eligible))
        for name in {*pair} - {leads, "none"}:
            p[name] = shift_to_rate(p[name], eligible, rate)
    return {name: values.where(eligible, torch.nan).numpy() for name, values in p.items()}
