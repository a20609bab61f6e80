"""An analysis and its draws as the one JSON that assets/overview.js draws.

Tokens are the patches, row-major, then the learned prompts; never [CLS]. A layer with fewer
prompts than another is filled up with NaN, or false.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
from PIL import Image

from app.overview import sentences
from app.overview.encoding import bits, floats, steps
from app.wording.paper import methods_text
from app.wording.sentences import learnt_classes, provenance_line
from drople.analysis import Analysis
from drople.branches import ADAPTED, FROZEN
from drople.decisions import Masks, count_layers, count_tokens
from drople.gradcam import CAM_METHODS
from drople.paired_draws import DrawBatch, first_draw, would_drop
from drople.statistics.intervals import mean_interval
from drople.storage.verdicts import Verdict
from drople.tokens.dropout import STRATEGIES
from drople.traces import LayerTrace

SCHEMA = 2
PAIR = ("iwtd", "vanilla")
DRAWS, MAP_DRAWS = 32, 16
SIGNAL_LABELS = {
    "blend": "All signals (blend)",
    "s_self": "Self-attention (s_self)",
    "s_cls": "Class attention (s_cls)",
    "s_cross": "Bridge attention (s_cross)",
}
NO_PROMPTS = "no prompts loaded: our choice"
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
        first = batches[0] if batches else first_draw(self.analysis, self.pair)
        maps = dict(self._undropped_maps)
        if first is not None and first.maps is not None:
            maps |= {name: first.maps[name][0] for name in self.pair}
        drawn = self._drawn(batches) if batches else None
        return self._question | {
            "maps": {
                "layer": self.analysis.maps.layer,
                "method": CAM_METHODS[self.analysis.maps.method].label,
                "values": {name: floats(_flat(values)) for name, values in maps.items()},
            },
            "draws": self._draws(batches, drawn) if drawn else None,
            "sentences": self._sentences(drawn),
            "provenance": provenance_line(self.analysis, len(drawn.seeds) if drawn else 1),
        }

    # --- what no draw changes ---

    @property
    def branch(self) -> str:
        """The branch that the dropouts act on."""
        return ADAPTED if self.analysis.adapted else FROZEN

    @property
    def layers(self) -> tuple[LayerTrace, ...]:
        """That branch's layers without dropout, L of them."""
        return self.analysis.images[self.branch].layers

    @property
    def depth(self) -> int:
        """D, the layers after which dropout acts."""
        return min(self.analysis.settings.dropout.image_depth, len(self.layers))

    @property
    def grid(self) -> tuple[int, int]:
        grid = self.layers[0].grid
        assert grid is not None
        return grid

    @cached_property
    def width(self) -> int:
        """T, the most tokens that any layer has."""
        known = [one for trace in self.analysis.images.values() for one in trace.layers]
        return max(one.blend.shape[1] for one in known) - 1

    def _tokens(self, values: np.ndarray) -> np.ndarray:
        """A layer's values (N,) without [CLS], filled up to (T,)."""
        filled = np.full(self.width, np.nan, np.float32)
        filled[: len(values) - 1] = values[1:]
        return filled

    @cached_property
    def importance(self) -> dict[str, dict[str, np.ndarray]]:
        """Branch -> signal -> shares (L, T); each layer's sum to 1."""
        branches = [FROZEN, ADAPTED] if self.analysis.adapted else [FROZEN]
        return {
            branch: {
                signal: np.stack([self._shares(one, signal) for one in trace.layers])
                for signal in ("blend", *trace.layers[0].shares)
            }
            for branch, trace in ((b, self.analysis.images[b]) for b in branches)
        }

    def _shares(self, layer: LayerTrace, signal: str) -> np.ndarray:
        shares = layer.blend if signal == "blend" else layer.shares[signal]
        return self._tokens(np.where(layer.content[0], shares[0], np.nan))

    @cached_property
    def p(self) -> dict[str, np.ndarray]:
        """What each would give on the undropped forward, (D, T); `ranked`: the first, by rank."""
        settings = self.analysis.settings
        by_rank = replace(settings, dropout=replace(settings.dropout, normalisation="rank"))
        rows: dict[str, list[np.ndarray]] = {name: [] for name in (*self.pair, "ranked")}
        for layer in self.layers[: self.depth]:
            given = would_drop(layer, settings, self.pair)
            given["ranked"] = would_drop(layer, by_rank, self.pair)[self.pair[0]]
            for name, values in given.items():
                rows[name].append(self._tokens(values))
        return {name: np.array(row).reshape(-1, self.width) for name, row in rows.items()}

    @cached_property
    def _undropped_maps(self) -> dict[str, np.ndarray]:
        maps = self.analysis.maps
        return {
            branch: np.where(maps.unavailable[branch], np.nan, maps.values[branch])
            for branch in self.importance
        }

    @cached_property
    def _question(self) -> dict[str, Any]:
        analysis, dropouts = self.analysis, [*STRATEGIES]
        said = {branch: analysis.predictions[branch] for branch in self.importance}
        shown = [*analysis.maps.classes]
        learnt = None
        if self.learnt is not None:
            known = learnt_classes(analysis.classes, tuple(self.learnt))[0]
            learnt = [name in known for name in analysis.classes]
        lens = analysis.lens and {
            branch: floats(_softmax(analysis.lens[branch] * one.logit_scale)[:, shown])
            for branch, one in said.items()
        }
        best = [f"{b} says {analysis.classes[one.cosines.argmax()]}" for b, one in said.items()]
        signals = [
            name for name in SIGNAL_LABELS if any(name in v for v in self.importance.values())
        ]
        return {
            "schema": SCHEMA,
            "id": self._id(),
            "title": f"DroPLe Lens: {'; '.join(best)}",
            "photo": _photo(analysis.pixels),
            "grid": [*self.grid],
            "layers": len(self.layers),
            "depth": self.depth,
            "prompts": [one.prompts[1] - one.prompts[0] for one in self.layers],
            "classes": [*analysis.classes],
            "shown": shown,
            "learnt": learnt,
            "branches": [*said],
            "pair": [*self.pair],
            "pair_branch": self.branch,
            "labels": {name: sentences.name_of(name) for name in (*said, *dropouts)},
            "no_prompts": "" if analysis.adapted else NO_PROMPTS,
            "seed": analysis.settings.seed,
            "draws_wanted": self.wanted,
            "maps_wanted": min(self.wanted, MAP_DRAWS),
            "probabilities": {branch: floats(one.probabilities) for branch, one in said.items()},
            "cosines": {branch: floats(one.cosines) for branch, one in said.items()},
            "lens": lens,
            "signals": signals,
            "signal_labels": {name: SIGNAL_LABELS[name] for name in signals},
            "importance": {
                branch: {signal: floats(shares) for signal, shares in one.items()}
                for branch, one in self.importance.items()
            },
            "lead": {
                branch: {signal: _lead(shares) for signal, shares in one.items()}
                for branch, one in self.importance.items()
            },
            "p": {name: floats(values) for name, values in self.p.items()},
            "verdict": sentences.verdict_sentence(analysis, self.pair, self.measured),
            "chips": {"applied": APPLIED},
            "methods": methods_text(analysis),
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
        missing = self.width - values.shape[2]
        return np.pad(values, ((0, 0), (0, 0), (0, missing)), constant_values=blank)

    def _masks(self, batches: Sequence[DrawBatch], name: str) -> Masks:
        return Masks(
            np.concatenate([self._fill(one.dropped[name], False) for one in batches]),
            np.concatenate([self._fill(one.eligible[name], False) for one in batches]),
            np.concatenate([self._fill(one.probability[name], np.nan) for one in batches]),
        )

    def _drawn(self, batches: Sequence[DrawBatch]) -> sentences.Drawn:
        return sentences.Drawn(
            seeds=tuple(seed for one in batches for seed in one.seeds),
            layers=count_layers(*(self._masks(batches, name) for name in self.pair)),
            answers={
                name: np.concatenate([b.answers(name) for b in batches]) for name in self.pair
            },
        )

    def _draws(self, batches: Sequence[DrawBatch], drawn: sentences.Drawn) -> dict[str, Any]:
        return {
            "count": len(drawn.seeds),
            "batches": [self._batch(one) for one in batches],
            "summary": self._summary(batches, drawn),
        }

    def _batch(self, batch: DrawBatch) -> dict[str, Any]:
        masks = {name: self._masks([batch], name) for name in self.pair}
        shown = [*self.analysis.maps.classes]
        return {
            "seeds": [*batch.seeds],
            "dropped": {name: bits(one.dropped) for name, one in masks.items()},
            "eligible": {name: bits(one.eligible) for name, one in masks.items()},
            "p": {name: steps(one.probability) for name, one in masks.items()},
            "probabilities": {n: floats(batch.probabilities(n)[:, shown]) for n in self.pair},
            "answers": {name: batch.answers(name).tolist() for name in self.pair},
            "maps": batch.maps and {name: steps(_flat(batch.maps[name])) for name in self.pair},
        }

    def _summary(self, batches: Sequence[DrawBatch], drawn: sentences.Drawn) -> dict[str, Any]:
        tokens = count_tokens(*(self._masks(batches, name) for name in self.pair))
        plain = self.analysis.predictions[self.branch].cosines.argmax()
        shown = [*self.analysis.maps.classes]
        mapped = [one.maps for one in batches if one.maps is not None]
        means = {
            name: floats(_flat(_mean_map(np.concatenate([maps[name] for maps in mapped]))))
            for name in self.pair
            if mapped
        }
        return {
            "probability": {
                name: _interval(np.concatenate([b.probabilities(name)[:, shown] for b in batches]))
                for name in self.pair
            },
            "mean_maps": means or None,
            "map_draws": sum(len(maps[self.pair[0]]) for maps in mapped),
            "difference": floats(tokens.difference),
            "differ": floats(tokens.differ),
            "rate": dict(
                zip(self.pair, (floats(tokens.rate_a), floats(tokens.rate_b)), strict=True)
            ),
            "layers": [asdict(one) for one in drawn.layers],
            "flips": {name: int((drawn.answers[name] != plain).sum()) for name in self.pair},
        }

    def _sentences(self, drawn: sentences.Drawn | None) -> dict[str, Any]:
        dropout = self.analysis.settings.dropout
        layers = range(self.depth)
        return {
            "answer": sentences.answer_sentence(self.analysis, self.pair, drawn),
            "dropped": [
                sentences.dropped_sentence(i, self.pair, drawn) if drawn else "" for i in layers
            ],
            "reason": [
                sentences.reason_sentence(
                    i, self.pair, self.p, self.importance[self.branch],
                    limits=(dropout.p_min, dropout.p_max), grid=self.grid, drawn=drawn,
                )
                for i in layers
            ],
            "ranked": [
                sentences.ranked_sentence(
                    self.pair[0], self.p[self.pair[0]][i], self.p["ranked"][i]
                )
                for i in layers
            ],
            "after_depth": sentences.after_depth_sentence(self.depth),
        }  # fmt: skip


def _flat(maps: np.ndarray) -> np.ndarray:
    """Maps (..., G, G) as (..., G*G)."""
    return maps.reshape(*maps.shape[:-2], -1)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _lead(shares: np.ndarray) -> list[list[float]]:
    """Each layer's most claimed token, and its share in multiples of an even one."""
    found = []
    for row in shares:
        token = int(np.nanargmax(row))
        found.append([token, round(float(row[token] * np.isfinite(row).sum()), 2)])
    return found


def _interval(values: np.ndarray) -> dict[str, Any]:
    """Mean of each class's values (n, C) and Student's interval of it; NaN for one draw."""
    known = [mean_interval(column) or (np.nan, np.nan) for column in values.T]
    low, high = np.array(known).T
    return {"mean": floats(values.mean(axis=0)), "low": floats(low), "high": floats(high)}


def _mean_map(maps: np.ndarray) -> np.ndarray:
    """Mean (C, G, G) of maps (n, C, G, G) over the draws that have a value; NaN where none has."""
    known = np.isfinite(maps)
    count = known.sum(axis=0)
    total = np.where(known, maps, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _photo(pixels: np.ndarray) -> str:
    """What the model saw, as a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
