"""Many draws of a dropout: what one draw cannot say, with intervals and a rule to stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from drople.analysis import AnalysisSettings
from drople.class_texts import ClassTexts
from drople.conditions import Conditions, Run, rows_of
from drople.models.prompted_clip import PromptedClip
from drople.statistics.intervals import wilson_interval

MINIMUM = 16  # draws before the rule may stop
BATCH = 8  # draws at a time, after a first one alone so that something is soon to be seen


def narrow_enough(hits: int, count: int, width: float) -> bool:
    """Whether `MINIMUM` draws or more tell a rate to within an interval narrower than `width`."""
    low, high = wilson_interval(hits, count)
    return count >= MINIMUM and high - low < width


@dataclass(frozen=True)
class Moments:
    """Running mean and spread of maps, patch by patch; NaN leaves a patch's draw out."""

    count: np.ndarray  # (G, G) draws that had a value
    mean: np.ndarray  # (G, G), NaN where none had
    squares: np.ndarray  # (G, G) summed squared distances from the mean

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> Moments:
        return cls(np.zeros(shape, dtype=int), np.full(shape, np.nan), np.zeros(shape))

    def add(self, value: np.ndarray) -> Moments:
        """Takes in one map (G, G) (Welford)."""
        present = np.isfinite(value)
        count = self.count + present
        before = np.where(self.count > 0, self.mean, 0.0)
        step = np.where(present, value - before, 0.0)
        mean = before + step / np.maximum(count, 1)
        squares = self.squares + step * np.where(present, value - mean, 0.0)
        return Moments(count, np.where(count > 0, mean, np.nan), squares)

    @property
    def sd(self) -> np.ndarray:
        """Standard deviation (G, G), NaN below two draws."""
        below = np.maximum(self.count - 1, 1)
        return np.where(self.count > 1, np.sqrt(self.squares / below), np.nan)


@dataclass(frozen=True)
class DrawStatistics:
    """What the draws so far say of one condition."""

    condition: str
    plain: int  # the answer without dropout
    probabilities: np.ndarray  # (n,) of the class looked at
    answers: np.ndarray  # (n,) indices of the likeliest class
    cam: Moments  # of the class looked at
    kept: Moments  # share of the acting layers in which a patch is kept

    @property
    def count(self) -> int:
        return len(self.answers)

    @property
    def flips(self) -> int:
        """Draws whose answer is not the undropped one."""
        return int((self.answers != self.plain).sum())


def run_draws(
    model: PromptedClip, pixels: np.ndarray, classes: ClassTexts, *, settings: AnalysisSettings,
    target: int, plain: int, most: int, width: float,
) -> Iterator[dict[str, DrawStatistics]]:  # fmt: skip
    """Yields the running statistics of each strategy, after one draw and then batch by batch.

    Seeds count up from the settings' own, so the first draw is the analysis itself. Ends at
    `most` draws, or from `MINIMUM` on when every flip rate's interval is narrower than `width`.

    Args:
        pixels: (S, S, 3) uint8, what the model sees.
        target, plain: indices of the class looked at and of the undropped answer.
    """
    grid = (model.backbone.grid_size,) * 2
    batch = model.backbone.normalise(pixels[None])
    nothing, none = np.zeros(0), Moments.none(grid)
    statistics = {
        name: DrawStatistics(name, plain, nothing, nothing.astype(int), none, none)
        for name in settings.strategies
    }
    done = 0
    while done < most:
        size = min(BATCH if done else 1, most - done)
        # Batches end where the rule may first stop, so that it stops there and not later.
        size = min(size, MINIMUM - done) if done < MINIMUM else size
        seeds = range(settings.seed + done, settings.seed + done + size)
        rows = rows_of(settings.strategies, seeds, settings.dropout)
        conditions = Conditions.of(model, rows, settings.dropout, match=settings.matched)
        run = conditions.run(batch, classes, drop_text=settings.drop_text)
        statistics = _added(statistics, run, settings=settings, target=target)
        done += size
        yield statistics
        if all(narrow_enough(one.flips, one.count, width) for one in statistics.values()):
            return


def _added(
    statistics: dict[str, DrawStatistics], run: Run, *, settings: AnalysisSettings, target: int
) -> dict[str, DrawStatistics]:
    """The statistics with a run's rows added."""
    layer = len(run.records) - 1 if settings.cam_layer is None else settings.cam_layer
    maps = run.maps([target], layer=layer, method=settings.cam_method)[:, 0]  # (R, G, G)
    added = dict(statistics)
    for row, name in run.rows():
        one, prediction = added[name], run.prediction(row)
        cam = np.where(run.unavailable(row, layer), np.nan, maps[row])
        added[name] = replace(
            one,
            probabilities=np.append(one.probabilities, prediction.probabilities[target]),
            answers=np.append(one.answers, prediction.cosines.argmax()),
            cam=one.cam.add(cam),
            kept=one.kept.add(_kept(run, row)),
        )
    return added


def _kept(run: Run, row: int) -> np.ndarray:
    """Share of the acting layers in which each patch (G, G) is not dropped."""
    layout = run.records[0].layout
    assert layout.grid is not None
    gone = [r.drop.dropped[row, layout.patches] for r in run.records if r.drop is not None]
    if not gone:
        return np.ones(layout.grid)
    share = 1 - torch.stack(gone).double().mean(dim=0)
    return share.reshape(layout.grid).cpu().numpy()
