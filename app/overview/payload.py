"""An analysis and its draws as the one JSON that assets/overview.js draws.

Tokens are those of `Undropped`; a layer with fewer of them is filled up with NaN, or false.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
from PIL import Image
from scipy.special import softmax

from app.figures.cams import mapped, mean_maps
from app.figures.importance import SIGNAL_NAMES
from app.figures.patches import jpeg_uri
from app.figures.theme import CONDITION_NAMES
from app.overview import sentences
from app.overview.encoding import bits, floats, steps
from app.overview.undropped import Importance, Undropped
from app.wording.paper import methods_text
from app.wording.sentences import provenance_line
from drople.analysis import Analysis
from drople.decisions import Masks, count_layers, count_tokens, mean_p
from drople.gradcam import CAM_METHODS
from drople.paired_draws import DrawBatch, first_draw
from drople.statistics.intervals import mean_interval
from drople.storage.verdicts import Verdict
from drople.tokens.dropout import STRATEGIES

SCHEMA = 2
PAIR = ("iwtd", "vanilla")
DRAWS, MAP_DRAWS = 32, 16
APPLIED = "A: applied now, weights fixed"
ABOUT = (
    "Every layer's token importance, what two dropouts would drop, and class activation maps of "
    "one photograph. Importance is in multiples of an even share. Both dropouts of a draw compare "
    "p with the same random number a token. The maps of one class share one scale. These are "
    "attention scores and gradients, not an explanation of the answer; dropout is applied now, to "
    "fixed weights, which is not how models trained with each dropout differ."
)


@dataclass(frozen=True)
class Overview:
    """What the page shows of one analysis, for one pair of dropouts."""

    analysis: Analysis
    pair: tuple[str, str] = PAIR  # keys of STRATEGIES
    wanted: int = DRAWS  # draws that will come
    learnt: Sequence[str] | None = None  # the classes the prompts were trained on; None: unknown
    measured: Sequence[Verdict] = ()  # on the backbone's weights

    def payload(self, batches: Sequence[DrawBatch] = ()) -> dict[str, Any]:
        """All that is known with these draws, the first ones first."""
        shown, maps = self.shown(batches), dict(self.undropped.maps)
        if shown and shown[0].maps is not None:
            maps |= {name: one[0] for name, one in shown[0].maps.items()}
        drawn = self._drawn(batches) if batches else None
        method = CAM_METHODS[self.analysis.maps.method]
        return self._question | {
            "maps": {
                "layer": self.analysis.maps.layer,
                "method": method.label,
                "signed": method.signed,
                "caveat": method.caveat,
                "values": {name: steps(_flat(values)) for name, values in maps.items()},
            },
            "draws": self._draws(batches, drawn) if drawn else None,
            "sentences": self._sentences(drawn),
            "provenance": provenance_line(self.analysis, len(drawn.seeds) if drawn else 0),
            "methods": methods_text(self.analysis, shown),
        }

    def shown(self, batches: Sequence[DrawBatch]) -> Sequence[DrawBatch]:
        """These draws; before any, the one of this pair that the analysis holds, if it does."""
        own = None if batches else first_draw(self.analysis, self.pair)
        return batches if own is None else (own,)

    @cached_property
    def undropped(self) -> Undropped:
        return Undropped(self.analysis, self.pair)

    # --- what no draw changes ---

    @cached_property
    def _question(self) -> dict[str, Any]:
        analysis = self.analysis
        said = {branch: analysis.predictions[branch] for branch in self.undropped.importance}
        shown = [*analysis.maps.classes]
        learnt = None
        if self.learnt is not None:
            known = {name.casefold() for name in self.learnt}
            learnt = [name.casefold() in known for name in analysis.classes]
        lens = None
        if analysis.lens is not None:
            read = {
                b: softmax(analysis.lens[b] * one.logit_scale, axis=-1) for b, one in said.items()
            }
            lens = {branch: floats(p[:, shown]) for branch, p in read.items()}
        best = [f"{b} says {analysis.classes[one.cosines.argmax()]}" for b, one in said.items()]
        signals = [
            name
            for name in SIGNAL_NAMES
            if any(name in v for v in self.undropped.importance.values())
        ]
        return {
            "schema": SCHEMA,
            "id": self._id(),
            "title": f"DroPLe Lens: {'; '.join(best)}",
            "photo": jpeg_uri(Image.fromarray(analysis.pixels), 90),
            "grid": [*self.undropped.grid],
            "layers": len(self.undropped.layers),
            "depth": self.undropped.depth,
            "prompts": [one.prompts[1] - one.prompts[0] for one in self.undropped.layers],
            "classes": [*analysis.classes],
            "shown": shown,
            "learnt": learnt,
            "branches": [*said],
            "pair": [*self.pair],
            "pair_branch": self.undropped.branch,
            "labels": {name: CONDITION_NAMES[name] for name in (*said, *STRATEGIES)},
            "notes": sentences.notes_of(analysis),
            "seed": analysis.settings.seed,
            "draws_wanted": self.wanted,
            "maps_wanted": min(self.wanted, MAP_DRAWS),
            "probabilities": {branch: floats(one.probabilities) for branch, one in said.items()},
            "cosines": {branch: floats(one.cosines) for branch, one in said.items()},
            "lens": lens,
            "signals": signals,
            "signal_labels": {name: SIGNAL_NAMES[name] for name in signals},
            "importance": _each(floats, self.undropped.importance),
            "lead": _each(_lead, self.undropped.importance),
            "p": {name: floats(values) for name, values in self.undropped.p.items()},
            "verdict": sentences.verdict_sentence(analysis, self.pair, self.measured),
            "chips": {"applied": APPLIED},
            "about": ABOUT,
        }

    def _id(self) -> str:
        known = self.analysis
        asked = (known.classes, known.settings, sorted(known.provenance.items(), key=str))
        digest = blake2b(repr((asked, self.pair)).encode(), digest_size=8)
        digest.update(known.pixels.tobytes())
        return digest.hexdigest()

    # --- what draws say ---

    def _fill(self, values: np.ndarray, blank: float) -> np.ndarray:
        """Draws' values (n, D, T') filled up to (n, D, T)."""
        missing = self.undropped.width - values.shape[2]
        return np.pad(values, ((0, 0), (0, 0), (0, missing)), constant_values=blank)

    def _masks(self, batches: Sequence[DrawBatch], name: str) -> Masks:
        return Masks(
            np.concatenate([self._fill(one.dropped[name], False) for one in batches]),
            np.concatenate([self._fill(one.eligible[name], False) for one in batches]),
            np.concatenate([self._fill(one.probability[name], np.nan) for one in batches]),
        )

    def _drawn(self, batches: Sequence[DrawBatch]) -> sentences.Drawn:
        masks = {name: self._masks(batches, name) for name in self.pair}
        return sentences.Drawn(
            seeds=tuple(seed for one in batches for seed in one.seeds),
            layers=count_layers(*masks.values()),
            answers={
                name: np.concatenate([b.answers(name) for b in batches]) for name in self.pair
            },
            rates={name: mean_p(one) for name, one in masks.items()},
        )

    def _draws(self, batches: Sequence[DrawBatch], drawn: sentences.Drawn) -> dict[str, Any]:
        return {
            "count": len(drawn.seeds),
            "batches": [self._batch(one) for one in batches],
            "summary": self._summary(batches, drawn),
        }

    def _batch(self, batch: DrawBatch) -> dict[str, Any]:
        masks = {name: self._masks([batch], name) for name in self.pair}
        shown, maps = [*self.analysis.maps.classes], batch.maps
        return {
            "seeds": [*batch.seeds],
            "dropped": {name: bits(one.dropped) for name, one in masks.items()},
            "eligible": {name: bits(one.eligible) for name, one in masks.items()},
            "p": {name: steps(one.probability) for name, one in masks.items()},
            "probabilities": {n: floats(batch.probabilities(n)[:, shown]) for n in self.pair},
            "answers": {name: batch.answers(name).tolist() for name in self.pair},
            "maps": None if maps is None else {n: steps(_flat(maps[n])) for n in self.pair},
        }

    def _summary(self, batches: Sequence[DrawBatch], drawn: sentences.Drawn) -> dict[str, Any]:
        tokens = count_tokens(*(self._masks(batches, name) for name in self.pair))
        shown = [*self.analysis.maps.classes]
        means = {name: steps(_flat(one)) for name, one in mean_maps(batches).items()}
        return {
            "probability": {
                name: _interval(np.concatenate([b.probabilities(name)[:, shown] for b in batches]))
                for name in self.pair
            },
            "mean_maps": means or None,
            "map_draws": mapped(batches),
            "difference": floats(tokens.difference),
            "differ": floats(tokens.differ),
            "rate": {self.pair[0]: floats(tokens.rate_a), self.pair[1]: floats(tokens.rate_b)},
            "layers": [asdict(one) for one in drawn.layers],
            "flips": drawn.flips(self.analysis.answer),
        }

    def _sentences(self, drawn: sentences.Drawn | None) -> dict[str, Any]:
        dropout, own = self.analysis.settings.dropout, self.undropped
        layers, first = range(own.depth), self.pair[0]
        return {
            "answer": sentences.answer_sentence(self.analysis, self.pair, drawn),
            "dropped": [
                sentences.dropped_sentence(i, self.pair, drawn) if drawn else "" for i in layers
            ],
            "reason": [
                sentences.reason_sentence(
                    i, self.pair, own.p, importance=own.importance[own.branch],
                    limits=(dropout.p_min, dropout.p_max), grid=own.grid, drawn=drawn,
                )
                for i in layers
            ],
            "ranked": [
                sentences.ranked_sentence(first, own.p[first][i], own.p["ranked"][i])
                for i in layers
            ],
            "after_depth": sentences.after_depth_sentence(own.depth),
        }  # fmt: skip


def _flat(maps: np.ndarray) -> np.ndarray:
    """Maps (..., G, G) as (..., G*G)."""
    return maps.reshape(*maps.shape[:-2], -1)


def _each(write: Callable[[np.ndarray], Any], importance: Importance) -> dict[str, dict[str, Any]]:
    """Each branch's shares (L, T) of each signal, written otherwise."""
    return {
        branch: {signal: write(shares) for signal, shares in one.items()}
        for branch, one in importance.items()
    }


def _lead(shares: np.ndarray) -> list[list[float]]:
    """Each layer's most claimed token, and its share in multiples of an even one."""
    found = []
    for row in shares:
        token = int(np.nanargmax(row))
        found.append([token, round(float(row[token] * np.isfinite(row).sum()), 2)])
    return found


def _interval(values: np.ndarray) -> dict[str, Any]:
    """Mean of each class's values (n, C) and its t-interval; NaN for one draw."""
    known = [mean_interval(column) or (np.nan, np.nan) for column in values.T]
    low, high = np.array(known).T
    return {"mean": floats(values.mean(axis=0)), "low": floats(low), "high": floats(high)}
