"""What a walk through a tower leaves for the reader: per-layer arrays on the CPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from drople.models.prompted_clip import PromptedClip
from drople.models.towers import LayerRecord, image_features
from drople.tokens.dropout import STRATEGIES, DropoutSettings, TokenDrop
from drople.tokens.importance import SignalWeights, TokenImportance
from drople.tokens.layout import patch_values
from drople.tokens.strategies import DropStrategy, Evidence


@dataclass(frozen=True)
class LayerTrace:
    """One layer of R rows (images or classes) of N tokens."""

    depth: int  # from 0
    shares: dict[str, np.ndarray]  # signal -> (R, N), zero off content, rows sum to 1
    totals: dict[str, np.ndarray]  # signal -> (R, 1); share times total is the raw signal
    blend: np.ndarray  # (R, N), rows sum to 1
    content: np.ndarray  # (R, N) bool, rows that have an importance
    eligible: np.ndarray  # (R, N) bool, rows a dropout might touch after this layer
    probability: np.ndarray | None  # (R, N) p; None where no dropout acts after this layer
    uniform: np.ndarray | None  # (R, N) the draw u; None where nothing is drawn
    dropped: np.ndarray | None  # (R, N) bool; None where nothing is drawn
    norms: np.ndarray  # (R, N) L2 norm of the tokens leaving the layer
    prompts: tuple[int, int]  # first prompt row, and the row after the last
    grid: tuple[int, int] | None  # (rows, columns) of patches; None for text
    attention: np.ndarray | None  # (R, H, N, N) float16, where it is kept

    def patches(self, values: np.ndarray, row: int = 0) -> np.ndarray:
        """The patches of (R, N) values as a picture (G, G)."""
        return patch_values(values[row], self.grid or (0, 0))

    def hidden_patches(self) -> np.ndarray:
        """Patches (G, G) bool that earlier layers have hidden for good; only `hide` hides any."""
        return ~self.patches(self.eligible)

    def evidence(self) -> Evidence:
        """What a strategy would have looked at after this layer."""

        def tensors(values: dict[str, np.ndarray]) -> dict[str, Tensor]:
            return {name: torch.from_numpy(value) for name, value in values.items()}

        importance = TokenImportance(tensors(self.shares), tensors(self.totals))
        content, eligible = torch.from_numpy(self.content), torch.from_numpy(self.eligible)
        return Evidence(self.depth, importance, content, eligible)


@dataclass(frozen=True)
class BranchTrace:
    """One run of a branch."""

    layers: tuple[LayerTrace, ...]
    features: np.ndarray  # (R, E), unit
    words: tuple[tuple[str, ...], ...] = ()  # text: the word pieces of each row


@dataclass(frozen=True)
class ScoredLayer:
    """What a trace needs of one scored record; the tokens and most of the attention are let go."""

    depth: int
    importance: TokenImportance
    content: Tensor  # (R, N) bool
    eligible: Tensor  # (R, N) bool
    drop: TokenDrop | None
    norms: Tensor  # (R, N)
    prompts: tuple[int, int]
    grid: tuple[int, int] | None
    attention: Tensor | None  # (R, H, N, N) half precision

    @classmethod
    def of(cls, record: LayerRecord, *, attention: bool = False) -> ScoredLayer:
        """Keeps what matters of a record; with `attention` that too."""
        assert record.importance is not None, "a trace is made of scored layers"
        layout, batch = record.layout, len(record.tokens)
        return cls(
            record.depth,
            record.importance,
            layout.content.expand(batch, -1),
            record.eligible,
            record.drop,
            record.tokens.norm(dim=-1),
            (layout.prompts.start, layout.prompts.stop),
            layout.grid,
            record.attention.half() if attention else None,
        )

    def trace(
        self, rows: slice, weights: SignalWeights, *, would: DropStrategy | None, drawn: bool
    ) -> LayerTrace:
        """Some rows as arrays.

        Args:
            would: gives p where nothing was drawn: what this strategy would do to these tokens.
            drawn: whether the record's decision is these rows' own.
        """
        decided = self.drop if drawn else None
        probability = decided.probability if decided else None
        if would is not None:
            evidence = Evidence(self.depth, self.importance, self.content, self.eligible)
            probability = would.probability(evidence).where(self.eligible, 0)

        def array(values: Tensor) -> np.ndarray:
            return values[rows].detach().cpu().numpy()

        return LayerTrace(
            depth=self.depth,
            shares={name: array(share) for name, share in self.importance.shares.items()},
            totals={name: array(total) for name, total in self.importance.totals.items()},
            blend=array(self.importance.blend(weights)),
            content=array(self.content),
            eligible=array(self.eligible),
            probability=None if probability is None else array(probability),
            uniform=None if decided is None else array(decided.uniform),
            dropped=None if decided is None else array(decided.dropped),
            norms=array(self.norms),
            prompts=self.prompts,
            grid=self.grid,
            attention=None if self.attention is None else array(self.attention),
        )


@torch.no_grad()
def scored_layers(
    model: PromptedClip, pixels: Tensor, dropout: DropoutSettings
) -> tuple[Tensor, list[LayerTrace]]:
    """Runs the adapted image branch on (B, 3, S, S), normalised, without dropout.

    Returns:
        Unit features (B, E), and the layers IWTD would act after, with its p.
    """
    depth = min(dropout.image_depth, model.backbone.image_layer_count)
    would = STRATEGIES["iwtd"](dropout)
    everything = slice(0, len(pixels))
    layers = []
    for record in model.image_layers(pixels, score=True, watched=depth, readout_only=True):
        if record.importance is not None:
            scored = ScoredLayer.of(record)
            layers.append(scored.trace(everything, dropout.weights, would=would, drawn=False))
    return F.normalize(image_features(model.backbone.visual, record), dim=-1), layers
