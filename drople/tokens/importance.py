"""How much each token matters: pure functions from attention to scores (METHOD.md 2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from drople.errors import SettingsError
from drople.ranges import FACTOR, check_number
from drople.tokens.layout import TokenLayout


@dataclass(frozen=True)
class SignalWeights:
    """Weights of the signals in the blend; at least 0, renormalised to sum 1.

    A signal is a field here and a line of `raw_signals`. A further one weighs 0 unless asked for,
    so that settings stored before it keep their meaning.

    Raises:
        SettingsError: a weight is out of its range, or all are 0.
    """

    s_self: float = 1.0
    s_cls: float = 1.0
    s_cross: float = 1.0

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            check_number(f"weight of {name}", weight, FACTOR)
        if not any(vars(self).values()):
            raise SettingsError(
                f"The weights of {', '.join(vars(self))} are all 0; expected one above 0."
            )

    def shares(self, signals: Collection[str]) -> dict[str, float]:
        """The weights of the signals there are, summing to 1.

        Where those weigh nothing, such as in the frozen branch, which has no bridge, when s_cross
        alone has a weight, they weigh as by default.
        """
        weights = {name: float(w) for name, w in vars(self).items() if name in signals}
        if sum(weights.values()) <= 0:
            weights = {name: vars(SignalWeights())[name] for name in weights}
        total = sum(weights.values())
        return {name: weight / total for name, weight in weights.items()}


SIGNALS = tuple(one.name for one in fields(SignalWeights))


@dataclass(frozen=True)
class TokenImportance:
    """The signals there are, in the order of SIGNALS; s_cross is there with a bridge alone."""

    shares: Mapping[str, Tensor]  # signal -> (B, N), zero off the content rows, rows sum to 1
    totals: Mapping[str, Tensor]  # signal -> (B, 1); share times total is the raw signal

    def blend(self, weights: SignalWeights | None = None) -> Tensor:
        """The mean of the signals there are, (B, N); rows sum to 1.

        Plain by default, as in the released code (utils/token_importance.py); weights are ours.
        """
        shared = (weights or SignalWeights()).shares(self.shares)
        blended = torch.zeros_like(next(iter(self.shares.values())))
        for name, weight in shared.items():
            blended = blended + self.shares[name] * weight
        return blended


def raw_signals(
    attention: Tensor, bridge_attention: Tensor | None, layout: TokenLayout
) -> dict[str, Tensor]:
    """The signals before normalisation, name -> (B, N), zero off the content rows.

    s_self: a token's strongest attention to another content token. s_cls: the attention the
    readout token pays to it. s_cross: the strongest claim a bridge token lays on it.
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
    return {name: signals[name].masked_fill(~content, 0) for name in SIGNALS if name in signals}


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
    shares = {
        name: signal / totals[name].clamp_min(torch.finfo(signal.dtype).tiny)
        for name, signal in raw.items()
    }
    return TokenImportance(shares, totals)


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
