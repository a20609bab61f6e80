"""Low-rank changes of the image tower, which some checkpoints of DroPLe's released code carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from drople.models.attention import Block, SelfAttention
from drople.models.towers import Transformer, VisualTower


@dataclass(frozen=True)
class LoraPlan:
    """Where low-rank changes sit, in plain values."""

    layers: tuple[int, ...]  # from 0
    rank: int


class ImageLora(nn.Module):
    """Changes dW = (16 / rank) B A of the query and value projections (METHOD.md 7; peft's LoRA).

    They belong to the adapted branch alone: the frozen branch keeps the backbone's weights.
    """

    ALPHA = 16.0  # of the released code; its checkpoints do not tell

    def __init__(self, plan: LoraPlan, width: int):
        super().__init__()
        self.plan = plan
        count = len(plan.layers)
        for name in ("query", "value"):
            down = nn.Parameter(torch.zeros(count, plan.rank, width))  # A
            up = nn.Parameter(torch.zeros(count, width, plan.rank))  # B
            self.register_parameter(f"{name}_down", down)
            self.register_parameter(f"{name}_up", up)

    def merged(self, visual: VisualTower) -> VisualTower:
        """The tower with the changes in its weights; all else is shared with the given one."""
        blocks = list(visual.transformer.resblocks)
        with torch.no_grad():
            for place, layer in enumerate(self.plan.layers):
                blocks[layer] = _with_weight(blocks[layer], self._weight(blocks[layer], place))
        return _Tower(
            visual.image_size,
            visual.patch_size,
            visual.conv1,
            visual.class_embedding,
            visual.positional_embedding,
            visual.ln_pre,
            _Blocks(blocks),
            visual.ln_post,
            visual.proj,
        )

    def _weight(self, block: Block, place: int) -> Tensor:
        """in_proj_weight (3 D, D) of one block: query, key and value rows, two of them changed."""
        query, key, value = block.attn.in_proj_weight.chunk(3)
        scale = self.ALPHA / self.plan.rank
        return torch.cat(
            [
                query + scale * self.query_up[place] @ self.query_down[place],
                key,
                value + scale * self.value_up[place] @ self.value_down[place],
            ]
        )

    query_down: Tensor
    query_up: Tensor
    value_down: Tensor
    value_up: Tensor


@dataclass
class _Blocks:
    resblocks: Sequence[Block]


@dataclass
class _Tower:
    """A `VisualTower` put together from the parts of another."""

    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    conv1: nn.Module
    class_embedding: Tensor
    positional_embedding: Tensor
    ln_pre: nn.Module
    transformer: Transformer
    ln_post: nn.Module
    proj: Tensor


@dataclass
class _Attention:
    num_heads: int
    in_proj_weight: Tensor
    in_proj_bias: Tensor
    out_proj: nn.Linear


@dataclass
class _Block:
    """A `Block` with other attention weights; its modules are the given block's own."""

    attn: SelfAttention
    ln_1: nn.Module
    ls_1: nn.Module
    ln_2: nn.Module
    ls_2: nn.Module
    mlp: nn.Module


def _with_weight(block: Block, weight: Tensor) -> Block:
    attn = block.attn
    changed = _Attention(attn.num_heads, weight, attn.in_proj_bias, attn.out_proj)
    parts = (getattr(block, name) for name in ("ln_1", "ls_1", "ln_2", "ls_2", "mlp"))
    return _Block(changed, *parts)
