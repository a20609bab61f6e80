"""Low-rank changes of the image tower (LoRA), which the released code learns beside prompts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import cast

import torch
from torch import Tensor, nn

from drople.models.attention import Block, BlockParts, SelfAttention
from drople.models.towers import VisualTower


@dataclass(frozen=True)
class LoraPlan:
    """Where low-rank changes sit, in plain values."""

    layers: tuple[int, ...]  # from 0
    rank: int


class ImageLora(nn.Module):
    """Changes dW = (16 / rank) B A of the query and value projections (METHOD.md 7; peft's LoRA).

    They belong to the adapted branch: the frozen branch keeps the backbone's weights, unless
    training is told otherwise. A starts as peft's, B at 0, so that nothing is changed at first.
    """

    ALPHA = 16.0  # of the released code; its checkpoints do not tell

    def __init__(self, plan: LoraPlan, width: int):
        super().__init__()
        self.plan = plan
        count = len(plan.layers)

        def down() -> nn.Parameter:  # A
            bound = width**-0.5  # Kaiming with a = sqrt(5)
            return nn.Parameter(torch.empty(count, plan.rank, width).uniform_(-bound, bound))

        def up() -> nn.Parameter:  # B
            return nn.Parameter(torch.zeros(count, width, plan.rank))

        self.query_down, self.query_up = down(), up()
        self.value_down, self.value_up = down(), up()

    def merged(self, visual: VisualTower) -> VisualTower:
        """The tower with the changes in its weights; all else is shared with the given one.

        Gradients reach A and B where they are learnt.
        """
        blocks = list(visual.transformer.resblocks)
        for place, layer in enumerate(self.plan.layers):
            parts = BlockParts.of(blocks[layer])
            weight = self._weight(parts, place)
            attn = _instead(SelfAttention, parts.attn, {"in_proj_weight": weight})
            blocks[layer] = replace(parts, attn=cast(SelfAttention, attn))
        transformer = SimpleNamespace(resblocks=blocks)
        return cast(VisualTower, _instead(VisualTower, visual, {"transformer": transformer}))

    @torch.no_grad()
    def merged_weights(self, visual: VisualTower) -> dict[str, Tensor]:
        """What `merged` changes, (3 D, D) each, by open_clip's names.

        `clip.load_state_dict(..., strict=False)` makes a CLIP of its own of them.
        """
        blocks = visual.transformer.resblocks
        return {
            f"visual.transformer.resblocks.{layer}.attn.in_proj_weight": self._weight(
                BlockParts.of(blocks[layer]), place
            )
            for place, layer in enumerate(self.plan.layers)
        }

    def _weight(self, block: Block, place: int) -> Tensor:
        """in_proj_weight (3 D, D) of one block: query, key and value rows, two of them changed."""
        query, key, value = block.attn.in_proj_weight.chunk(3)
        scale = self.ALPHA / self.plan.rank
        query = query + scale * self.query_up[place] @ self.query_down[place]
        value = value + scale * self.value_up[place] @ self.value_down[place]
        return torch.cat([query, key, value])


def _instead(protocol: type, original: object, parts: dict[str, object]) -> SimpleNamespace:
    """What a protocol names, from an original but for some parts."""
    own = {name: getattr(original, name) for name in protocol.__annotations__}
    return SimpleNamespace(**own | parts)
