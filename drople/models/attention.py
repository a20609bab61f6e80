"""One transformer block of open_clip, with its attention in plain sight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(Protocol):
    """`nn.MultiheadAttention`, or open_clip's own `Attention` after 3.3.

    All names but `num_heads` are keys of the published checkpoints, so they cannot change.
    """

    num_heads: int
    in_proj_weight: Tensor  # (3 D, D)
    in_proj_bias: Tensor  # (3 D,)
    out_proj: nn.Linear


class Block(Protocol):
    """One pre-norm residual block; `ls_1` and `ls_2` are identities in CLIP."""

    @property
    def attn(self) -> SelfAttention: ...
    @property
    def ln_1(self) -> Callable[[Tensor], Tensor]: ...
    @property
    def ls_1(self) -> Callable[[Tensor], Tensor]: ...
    @property
    def ln_2(self) -> Callable[[Tensor], Tensor]: ...
    @property
    def ls_2(self) -> Callable[[Tensor], Tensor]: ...
    @property
    def mlp(self) -> Callable[[Tensor], Tensor]: ...


@dataclass(frozen=True)
class BlockParts:
    """A `Block` out of the parts of another; `replace` puts one of our own among them."""

    attn: SelfAttention
    ln_1: Callable[[Tensor], Tensor]
    ls_1: Callable[[Tensor], Tensor]
    ln_2: Callable[[Tensor], Tensor]
    ls_2: Callable[[Tensor], Tensor]
    mlp: Callable[[Tensor], Tensor]

    @classmethod
    def of(cls, block: Block) -> BlockParts:
        return cls(block.attn, block.ln_1, block.ls_1, block.ln_2, block.ls_2, block.mlp)


def attend(
    attn: SelfAttention, x: Tensor, mask: Tensor | None, *, rows: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Self-attention over tokens (B, N, D), from nothing but what a CLIP checkpoint stores.

    Args:
        mask: added to the logits, any shape that broadcasts to (B, 1, N, N).
        rows: (B,) the one row of each sequence whose output is wanted; None for all.

    Returns:
        The mixed tokens (B, N, D) and the attention (B, H, N, N), each row summing to 1; with
        `rows`, (B, 1, D) and (B, H, 1, N).
    """
    B, N, D = x.shape
    head = (N, attn.num_heads, D // attn.num_heads)
    bias_q, bias_kv = attn.in_proj_bias.split([D, 2 * D])
    weight_q, weight_kv = attn.in_proj_weight.split([D, 2 * D])
    if rows is None:
        q, k, v = F.linear(x, attn.in_proj_weight, attn.in_proj_bias).chunk(3, dim=-1)
        q = q.view(B, *head).transpose(1, 2)  # (B, H, N, D/H)
    else:
        index = torch.arange(B, device=x.device)
        k, v = F.linear(x, weight_kv, bias_kv).chunk(2, dim=-1)
        q = F.linear(x[index, rows], weight_q, bias_q).view(B, head[1], 1, head[2])
        if mask is not None:
            mask = mask.expand(B, 1, N, N)[index, :, rows].unsqueeze(2)  # (B, 1, 1, N)
    k, v = (part.view(B, *head).transpose(1, 2) for part in (k, v))
    # torch's fused kernel would save memory, but in bf16 on a CPU this is faster, and it shows A.
    logits = (q * q.shape[-1] ** -0.5) @ k.mT
    # In the logits' own type: an fp32 mask would make the whole softmax fp32 under autocast.
    logits = logits if mask is None else logits + mask.to(logits.dtype)
    attention = logits.softmax(dim=-1)
    mixed = attention.to(v.dtype) @ v
    return attn.out_proj(mixed.transpose(1, 2).reshape(B, -1, D)), attention


def run_block(
    block: Block, x: Tensor, mask: Tensor | None, *, rows: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One residual block: (B, N, D) -> (B, N, D) and its attention (B, H, N, N).

    With `rows` (B,) only that row of each sequence leaves the block: (B, 1, D), (B, H, 1, N).
    """
    # Every part but `attn` is called as a module, so that a hook on `ln_1` (Grad-CAM) fires.
    mixed, attention = attend(block.attn, block.ln_1(x), mask, rows=rows)
    if rows is not None:
        x = x[torch.arange(len(x), device=x.device), rows].unsqueeze(1)  # (B, 1, D)
    x = x + block.ls_1(mixed)
    return x + block.ls_2(block.mlp(block.ln_2(x))), attention
