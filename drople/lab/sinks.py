"""Sinks: tokens whose norm or received attention lies far outside the rest (Darcet et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from drople.analysis import Analysis, AnalysisSettings
from drople.branches import ADAPTED
from drople.lab.branch import run_branches
from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.models.towers import LayerRecord
from drople.tokens.layout import patch_values


@dataclass(frozen=True)
class LayerSinks:
    """One layer of one image: its N tokens, [CLS] among them but never a sink."""

    depth: int  # from 0
    norms: np.ndarray  # (N,) L2 norm of each token entering the layer
    received: np.ndarray  # (N,) attention from the other tokens, 1: an even share
    content: np.ndarray  # (N,) bool, patches and prompts
    high_norm: np.ndarray  # (N,) bool, above the fence of the content's norms
    high_attention: np.ndarray  # (N,) bool, above the fence of what the content receives
    prompts: tuple[int, int]  # first prompt row, and the row after the last
    grid: tuple[int, int]

    @property
    def share(self) -> float:
        """Share of all attention between different tokens that the high-attention tokens get."""
        return float(self.received[self.high_attention].sum() / self.received.sum())

    def patches(self, values: np.ndarray) -> np.ndarray:
        """The patches of values (N,) as a picture (G, G)."""
        return patch_values(values, self.grid)


def far_out(values: np.ndarray, scope: np.ndarray) -> np.ndarray:
    """Values (N,) of the scope (N,) above Tukey's outer fence, Q3 + 3 (Q3 - Q1); (N,) bool.

    The quartiles are those of the scope, so a handful of extreme tokens cannot move the fence.
    It is the fence of the normalisation `no_sinks`.
    """
    first, third = np.quantile(values[scope], [0.25, 0.75])
    return scope & (values > third + 3 * (third - first))


def received_attention(attention: Tensor) -> Tensor:
    """What each token gets from the others, mean over heads: (B, H, N, N) -> (B, N).

    In multiples of an even share 1 / N of every other token's attention.
    """
    N = attention.shape[-1]
    mixed = attention.mean(dim=1)  # (B, N, N)
    others = mixed.sum(dim=1) - mixed.diagonal(dim1=1, dim2=2)  # (B, N)
    return others * N / (N - 1)


def layer_sinks(record: LayerRecord) -> LayerSinks:
    """The sinks of the first image of a record."""
    layout = record.layout
    assert layout.grid is not None, "sinks are looked for among patches"
    norms = record.entering[0].norm(dim=-1).cpu().numpy()
    received = received_attention(record.attention)[0].cpu().numpy()
    content = layout.content[0].cpu().numpy()
    return LayerSinks(
        record.depth, norms, received, content, far_out(norms, content),
        far_out(received, content), (layout.prompts.start, layout.prompts.stop), layout.grid,
    )  # fmt: skip


def find_sinks(model: Backbone | PromptedClip, pixels: np.ndarray) -> dict[str, list[LayerSinks]]:
    """Branch -> its layers, both without dropout; pixels (S, S, 3) uint8 as the model sees them."""
    runs = run_branches(model, pixels)
    return {branch: [layer_sinks(record) for record in records] for branch, records in runs.items()}


def without_sinks(settings: AnalysisSettings) -> AnalysisSettings:
    """The same question, where far outliers of the importance do not set the scale of p.

    They are kept as most important (p_min); the network itself still has them.
    """
    return replace(settings, dropout=replace(settings.dropout, normalisation="no_sinks"))


@dataclass(frozen=True)
class SinkEffect:
    """What IWTD makes of one layer with the sinks on the scale and without."""

    depth: int  # from 0
    set_aside: int  # tokens whose importance lies above the fence
    mean_p: tuple[float, float]  # of the undropped tokens, before and after
    sd_p: tuple[float, float]
    dropped: tuple[int, int]  # in the run of this seed


def sink_effects(before: Analysis, after: Analysis) -> list[SinkEffect]:
    """One a layer in which the dropout acts; both analyses have the strategy `iwtd`."""
    effects = []
    pairs = zip(before.images[ADAPTED].layers, after.images[ADAPTED].layers, strict=True)
    for depth, (a, b) in enumerate(pairs):
        if a.probability is None or b.probability is None:
            continue
        eligible = a.eligible[0]
        p = [a.probability[0, eligible], b.probability[0, eligible]]
        set_aside = int(far_out(a.blend[0], a.content[0]).sum())
        mean_p = (float(p[0].mean()), float(p[1].mean()))
        sd_p = (float(p[0].std()), float(p[1].std()))
        dropped = (_dropped(before, depth), _dropped(after, depth))
        effects.append(SinkEffect(depth, set_aside, mean_p, sd_p, dropped))
    return effects


def _dropped(analysis: Analysis, depth: int) -> int:
    """How many tokens IWTD drops after one layer in its own run."""
    dropped = analysis.images["iwtd"].layers[depth].dropped
    return 0 if dropped is None else int(dropped[0].sum())
