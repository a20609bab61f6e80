"""How much each token matters: pure functions from attention to scores (METHOD.md 2)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from drople.tokens.layout import TokenLayout

SIGNALS = ("s_self", "s_cls", "s_cross")


@dataclass(frozen=True)
class SignalWeights:
    """Weights of the three signals in the blend; at least 0, renormalised to sum 1."""

    s_self: float = 1.0
    s_cls: float = 1.0
    s_cross: float = 1.0

    def shares(self, signals: Collection[str]) -> dict[str, float]:
        """The weights of the signals there are, summing to 1; equal where all are zero."""
        weights = {name: float(getattr(self, name)) for name in SIGNALS if name in signals}
        if sum(weights.values()) <= 0:
            weights = dict.fromkeys(weights, 1.0)
        total = sum(weights.values())
        return {name: weight / total for name, weight in weights.items()}


@dataclass(frozen=True)
class TokenImportance:
    """Three signals; each (B, N), zero off the content rows, each row summing to 1."""

    s_self: Tensor  # its strongest attention to another content token
    s_cls: Tensor  # attention the readout token pays to it
    s_cross: Tensor | None  # the strongest claim a bridge token lays on it; None without a bridge
    totals: dict[str, Tensor]  # signal -> (B, 1); share times total is the raw signal

    def blend(self, weights: SignalWeights | None = None) -> Tensor:
        """The weighted mean of the signals there are, (B, N); rows sum to 1.

        Equal weights by default, as in the released code (utils/token_importance.py).
        """
        signals = self.signals()
        blended = torch.zeros_like(self.s_self)
        for name, weight in (weights or SignalWeights()).shares(signals).items():
            blended = blended + signals[name] * weight
        return blended

    def signals(self) -> dict[str, Tensor]:
        """The signals there are, in the order of SIGNALS."""
        signals = {"s_self": self.s_self, "s_cls": self.s_cls}
        return signals if self.s_cross is None else {**signals, "s_cross": self.s_cross}


def raw_signals(
    attention: Tensor, bridge_attention: Tensor | None, layout: TokenLayout
) -> dict[str, Tensor]:
    """The three signals before normalisation, name -> (B, N), zero off the content rows.

    METHOD.md 2.2; utils/token_importance.py and utils/multimodal_alignment.py of the released code.

    Args:
        attention: (B, H, N, N), rows sum to 1.
        bridge_attention: (B, M, N), rows sum to 1 over real tokens; None without a bridge.
    """
    B, _, N, _ = attention.shape
    content = layout.content  # (B | 1, N)
    pairs = content[:, None, :, None] & content[:, None, None, :]
    pairs = pairs & ~torch.eye(N, dtype=torch.bool, device=attention.device)
    index = torch.arange(B, device=attention.device)
    # Under autocast the attention is bf16; the mean over heads is taken in fp32 all the same.
    precise = torch.promote_types(attention.dtype, torch.float32)
    signals = {
        "s_self": attention.masked_fill(~pairs, 0).amax(dim=-1).to(precise).mean(dim=1),
        "s_cls": attention[index, :, layout.readout].to(precise).mean(dim=1),
    }
    if bridge_attention is not None:
        signals["s_cross"] = bridge_attention.amax(dim=1)
    return {name: signal.masked_fill(~content, 0) for name, signal in signals.items()}


@torch.no_grad()
def score_tokens(
    attention: Tensor, bridge_attention: Tensor | None, layout: TokenLayout
) -> TokenImportance:
    """Scores tokens from attention (B, H, N, N) and bridge attention (B, M, N); no gradient.

    Each signal is divided by its sum over the content rows (METHOD.md 2.2). A signal that is zero
    everywhere stays zero.
    """
    raw = raw_signals(attention, bridge_attention, layout)
    totals = {name: signal.sum(dim=-1, keepdim=True) for name, signal in raw.items()}
    tiny = {name: torch.finfo(signal.dtype).tiny for name, signal in raw.items()}
    shares = {name: signal / totals[name].clamp_min(tiny[name]) for name, signal in raw.items()}
    return TokenImportance(shares["s_self"], shares["s_cls"], shares.get("s_cross"), totals)


@dataclass(frozen=True)
class BridgeReading:
    """What the bridge saw in one layer."""

    attention: Tensor  # (B, M, N), how each bridge token spreads over the real tokens
    features: Tensor  # (B, M, E), the mapped tokens it gathers; the alignment loss compares them


class Bridge(nn.Module):
    """Learned tokens shared by all layers and both towers; each claims the tokens it resembles.

    METHOD.md 2.3; MultimodalAlignmentGuidance in the released code. The claims on an image do not
    depend on the class list, nor those on a class on the image: the other modality enters only
    through training.

    Args:
        count: M bridge tokens (64 in the released code).
        width: E, the joint width of the backbone.
    """

    def __init__(self, count: int, width: int, image_width: int, text_width: int):
        super().__init__()
        bound = width**-0.5  # kaiming_uniform_(a=sqrt(5)) with fan-in E
        self.tokens = nn.Parameter(torch.empty(count, width).uniform_(-bound, bound))
        self.image = nn.Linear(image_width, width)
        self.text = nn.Linear(text_width, width)

    def read(self, project: nn.Linear, tokens: Tensor, layout: TokenLayout) -> BridgeReading:
        """Reads tokens (B, N, D) leaving a layer; padding gets no attention."""
        mapped = project(tokens)  # (B, N, E)
        logits = self.tokens.to(mapped.dtype) @ mapped.mT  # (B, M, N)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        padding = ~layout.real(len(tokens))[:, None]  # (B, 1, N)
        attention = logits.masked_fill(padding, -torch.inf).softmax(dim=-1)
        return BridgeReading(attention, attention.to(mapped.dtype) @ mapped)

    def read_image(self, tokens: Tensor, layout: TokenLayout) -> BridgeReading:
        return self.read(self.image, tokens, layout)

    def read_text(self, tokens: Tensor, layout: TokenLayout) -> BridgeReading:
        return self.read(self.text, tokens, layout)
