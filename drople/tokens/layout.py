"""Which row of a token sequence is what: the only place that knows a token's index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def patch_rows(grid: tuple[int, int]) -> slice:
    """Rows of an image's sequence that hold the patches of a grid (rows, columns), row-major."""
    return slice(1, 1 + grid[0] * grid[1])


def patch_row(grid: tuple[int, int], row: int, column: int) -> int:
    """The row of an image's sequence that holds one patch; all count from 0."""
    return 1 + row * grid[1] + column


def patch_values(values: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """The patches of an image's values (N,) as a picture (G, G)."""
    return values[patch_rows(grid)].reshape(grid)


def text_prompt_rows(count: int) -> slice:
    """Rows of a text's sequence that hold its first prompts."""
    return slice(1, 1 + count)


def eos_rows(ids: Tensor) -> Tensor:
    """The row (K,) of [EOS], the highest id of the vocabulary, in token ids (K, N)."""
    return ids.argmax(dim=-1)


@dataclass(frozen=True)
class PromptStep:
    """What happens to the prompt rows on entering one layer: the newest go, fresh ones come.

    Deep prompts replace all their rows (METHOD.md 1.2); modular prompts remove a few and carry
    the rest (METHOD.md 8.1).
    """

    removed: int  # how many of the last prompt rows are taken out
    inserted: Tensor  # (P, D), written where those rows ended


@dataclass(frozen=True)
class TokenLayout:
    """Names the rows of a token sequence (B, N, D). Masks broadcast over B.

    Image rows are [CLS], G*G patches (row-major), prompts. Text rows are [SOS], prompts, the
    class phrase, [EOS], padding.
    """

    readout: Tensor  # (B,) row the tower is read at: [CLS], or each class's [EOS]
    content: Tensor  # (B | 1, N) bool, rows that receive an importance
    droppable: Tensor  # (B | 1, N) bool, rows a dropout may touch
    prompts: slice  # rows holding learned prompts
    grid: tuple[int, int] | None = None  # (rows, columns) of patches; None for text

    @classmethod
    def of_image(cls, batch: int, grid: tuple[int, int], device: torch.device) -> TokenLayout:
        """Of [CLS] and the patches of a grid, before any prompt."""
        N = patch_rows(grid).stop
        content = torch.ones(1, N, dtype=torch.bool, device=device)
        content[:, 0] = False
        readout = torch.zeros(batch, dtype=torch.long, device=device)
        return cls(readout, content, content, slice(N, N), grid)

    @classmethod
    def of_text(cls, ids: Tensor, *, slots: int, drop_sos: bool) -> TokenLayout:
        """Of token ids (K, N) with so many slots for prompts; see `embed_text`."""
        position = torch.arange(ids.shape[1], device=ids.device)
        readout = eos_rows(ids)
        content = position < readout[:, None]  # (K, N)
        droppable = content & (position > 0) & (position <= slots)  # never the class phrase
        if drop_sos:
            droppable = droppable | (content & (position == 0))
        return cls(readout, content, droppable, text_prompt_rows(slots))

    def read(self, tokens: Tensor) -> Tensor:
        """Picks the readout row: (B, N, D) -> (B, D)."""
        return tokens[torch.arange(len(tokens), device=tokens.device), self.readout]

    def real(self, batch: int) -> Tensor:
        """Rows that are not padding, (B, N) bool: the content and the readout row."""
        return self.content.expand(batch, -1).scatter(1, self.readout[:, None], True)

    def eligible(self, hidden: Tensor | None, *, batch: int) -> Tensor:
        """Rows (B, N) bool that may be dropped now: droppable, and not among `hidden` (B, N)."""
        droppable = self.droppable.expand(batch, -1)
        return droppable if hidden is None else droppable & ~hidden

    @property
    def patches(self) -> slice:
        """Rows holding image patches; empty for text."""
        return patch_rows(self.grid or (0, 0))

    def splice(self, rows: Tensor, removed: int, inserted: Tensor) -> Tensor:
        """Takes out the last `removed` prompt rows of (B, N, ...) and puts `inserted` there."""
        stop = self.prompts.stop
        return torch.cat([rows[:, : stop - removed], inserted, rows[:, stop:]], dim=1)

    def write_prompts(self, tokens: Tensor, step: PromptStep) -> Tensor:
        """Carries a prompt step out on tokens (B, N, D)."""
        fresh = step.inserted.to(tokens.dtype).expand(len(tokens), -1, -1)
        return self.splice(tokens, step.removed, fresh)

    def after(self, step: PromptStep) -> TokenLayout:
        """The layout of what `write_prompts` returns."""
        added = len(step.inserted) - step.removed
        if added == 0:
            return self

        def spliced(mask: Tensor) -> Tensor:
            return self.splice(mask, step.removed, mask.new_ones(len(mask), len(step.inserted)))

        start, stop = self.prompts.start, self.prompts.stop
        readout = torch.where(self.readout >= stop, self.readout + added, self.readout)
        content, droppable = spliced(self.content), spliced(self.droppable)
        return TokenLayout(readout, content, droppable, slice(start, stop + added), self.grid)

    def readout_only(self) -> TokenLayout:
        """The layout of tokens (B, 1, D) that hold nothing but the readout row."""
        nothing = self.content[:, :1] & False
        return TokenLayout(torch.zeros_like(self.readout), nothing, nothing, slice(1, 1))
