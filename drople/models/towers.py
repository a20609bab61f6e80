"""The one forward: analysis keeps every record, inference the last, training what it needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from drople.models.attention import Block, run_block
from drople.tokens.dropout import TokenDrop, TokenDropout
from drople.tokens.importance import BridgeReading, TokenImportance, score_tokens
from drople.tokens.layout import PromptStep, TokenLayout, eos_rows
from drople.tokens.strategies import Evidence

TEXT_BATCH = 256  # class phrases in one forward of the text tower

ReadBridge = Callable[[Tensor, TokenLayout], BridgeReading]


class Transformer(Protocol):
    """A stack of blocks."""

    resblocks: Sequence[Block]


class VisualTower(Protocol):
    """`CLIP.visual`, a VisionTransformer read at its class token."""

    image_size: tuple[int, int]
    patch_size: tuple[int, int]  # pixels of the cell a patch token stands for
    conv1: nn.Module  # the patch embedding: (B, 3, S, S) -> (B, D, G, G)
    class_embedding: Tensor  # (D,)
    positional_embedding: Tensor  # (1 + G*G, D)
    ln_pre: nn.Module
    transformer: Transformer
    ln_post: nn.Module
    proj: Tensor  # (D, E)


class TextTower(Protocol):
    """`CLIP`, which carries its text tower's parts at top level, or `CustomTextCLIP.text`."""

    token_embedding: nn.Embedding
    positional_embedding: Tensor  # (N, D)
    attn_mask: Tensor  # (N, N), -inf above the diagonal
    transformer: Transformer
    ln_final: nn.Module
    text_projection: Tensor | nn.Linear  # (D, E)


@dataclass(frozen=True)
class LayerRecord:
    """All that happened in one layer. Nothing is hidden in a module attribute."""

    depth: int
    layout: TokenLayout
    entering: Tensor  # (B, N, D) as the block saw them, fresh prompts in place, drops carried out
    hidden: Tensor | None  # (B, N) bool, rows no other row attends to; None: no row is hidden
    tokens: Tensor  # (B, N, D) leaving the layer, before any are dropped
    attention: Tensor  # (B, H, N, N)
    bridge: BridgeReading | None
    importance: TokenImportance | None
    drop: TokenDrop | None  # the decision taken after this layer

    @property
    def eligible(self) -> Tensor:
        """Rows (B, N) bool that the decision might touch."""
        return self.layout.eligible(self.hidden, batch=len(self.tokens))

    def without_attention(self) -> LayerRecord:
        """The same with neither attention nor the bridge's reading: most of a record's memory."""
        return replace(self, attention=self.attention.new_empty(0), bridge=None)


def run_layers(
    blocks: Sequence[Block],
    tokens: Tensor,
    layout: TokenLayout,
    *,
    start: int = 0,
    prompts: Sequence[PromptStep] = (),
    mask: Tensor | None = None,
    hidden: Tensor | None = None,
    bridge: ReadBridge | None = None,
    score: bool = False,
    watched: int | None = None,
    dropout: TokenDropout | None = None,
    readout_only: bool = False,
) -> Iterator[LayerRecord]:
    """Walks the tower, yielding every layer. What to keep is the caller's choice.

    Args:
        tokens: (B, N, D) as they enter block `start`, that layer's prompts already in place.
        prompts: what happens on entering layer 0, 1, ...; later layers change nothing.
        mask: added to the attention logits, (N, N).
        hidden: (B, N) rows hidden before `start`.
        bridge: reads the tokens leaving each watched layer.
        score: fills `importance` of each watched layer.
        watched: how many first layers the bridge reads and are scored; None for all.
        dropout: draws after each of its layers.
        readout_only: the last block works out nothing but the readout row, so its record holds
            tokens (B, 1, D) and attention (B, H, 1, N), and no importance.
    """
    pending: TokenDrop | None = None
    for depth in range(start, len(blocks)):
        if depth > start:
            early = dropout is not None and dropout.placement == "post"
            if dropout and pending and early:
                tokens, hidden = dropout.erase(tokens, hidden, pending, depth=depth - 1)
            if depth < len(prompts):
                step = prompts[depth]
                if hidden is not None:
                    fresh = hidden.new_zeros(len(hidden), len(step.inserted))
                    hidden = layout.splice(hidden, step.removed, fresh)
                if pending and not early:
                    pending = _follow(pending, layout, step)
                tokens, layout = layout.write_prompts(tokens, step), layout.after(step)
            if dropout and pending and not early:
                tokens, hidden = dropout.erase(tokens, hidden, pending, depth=depth - 1)
        entering = tokens
        watch = watched is None or depth < watched
        last = readout_only and depth == len(blocks) - 1
        seen = _attention_mask(mask, hidden, tokens)
        rows = layout.readout if last else None
        tokens, attention = run_block(blocks[depth], entering, seen, rows=rows)
        if last:
            layout, hidden, watch = layout.readout_only(), None, False
        reading = bridge(tokens, layout) if bridge and watch else None
        importance = None
        if score and watch:
            claims = reading.attention if reading else None
            importance = score_tokens(attention, claims, layout)
        pending = None
        if dropout and depth < dropout.depth and not last:
            batch = len(tokens)
            eligible = layout.eligible(hidden, batch=batch)
            content = layout.content.expand(batch, -1)
            pending = dropout.draw(Evidence(depth, importance, content, eligible))
        yield LayerRecord(
            depth, layout, entering, hidden, tokens, attention, reading, importance, pending
        )


def last(records: Iterator[LayerRecord]) -> LayerRecord:
    """Runs a tower to its end and keeps nothing else."""
    return deque(records, maxlen=1).pop()


def _follow(drop: TokenDrop, layout: TokenLayout, step: PromptStep) -> TokenDrop:
    """A decision as the next layer's rows see it.

    Prompt rows that are replaced hand their decision to the fresh prompt in their place, so that
    dropping prompts has an effect (METHOD.md 3.5, `next`); further fresh rows have none.
    """
    count = len(step.inserted)

    def spliced(rows: Tensor) -> Tensor:
        stop = layout.prompts.stop
        heirs = rows[:, stop - step.removed : stop][:, :count]
        fresh = rows.new_zeros(len(rows), count - heirs.shape[1])
        return layout.splice(rows, step.removed, torch.cat([heirs, fresh], dim=1))

    return TokenDrop(**{name: spliced(rows) for name, rows in vars(drop).items()})


def _attention_mask(mask: Tensor | None, hidden: Tensor | None, tokens: Tensor) -> Tensor | None:
    """The causal mask (N, N) joined with the hidden rows: (N, N) or (B, 1, N, N)."""
    if hidden is None:
        return mask
    N = tokens.shape[1]
    own = torch.eye(N, dtype=torch.bool, device=tokens.device)
    unseen = hidden[:, None, None, :] & ~own  # (B, 1, N, N)
    base = tokens.new_zeros(N, N) if mask is None else mask
    return base.masked_fill(unseen, -torch.inf)


# --- image tower ------------------------------------------------------------------------------


def embed_image(
    visual: VisualTower,
    pixels: Tensor,
    prompts: Sequence[PromptStep] = (),
    *,
    rows: int | None = None,
) -> tuple[Tensor, TokenLayout]:
    """(B, 3, S, S) -> tokens (B, 1 + G*G + P, D), ordered [CLS], patches, prompts.

    Prompts get no positional embedding, but pass ln_pre (METHOD.md 1.2).

    Args:
        rows: B of the tokens, where one picture (1, 3, S, S) is to be run as several rows.
    """
    grid = visual.conv1(pixels)  # (B, D, G, G)
    patches = grid.flatten(2).mT  # (B, G*G, D)
    patches = patches.expand(rows or len(patches), -1, -1)
    cls = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
    tokens = torch.cat([cls, patches], dim=1) + visual.positional_embedding.to(patches.dtype)
    layout = TokenLayout.of_image(
        len(tokens), (grid.shape[-2], grid.shape[-1]), device=tokens.device
    )
    if prompts:
        tokens, layout = layout.write_prompts(tokens, prompts[0]), layout.after(prompts[0])
    return visual.ln_pre(tokens), layout


def image_features(visual: VisualTower, record: LayerRecord) -> Tensor:
    """Final image feature (B, E), not normalised."""
    return visual.ln_post(record.layout.read(record.tokens)) @ visual.proj


# --- text tower -------------------------------------------------------------------------------


def embed_text(
    text: TextTower, ids: Tensor, prompts: Sequence[PromptStep] = (), *, slots: int = 0,
    positioned: bool = False, drop_sos: bool = False,
) -> tuple[Tensor, TokenLayout]:  # fmt: skip
    """(K, N) token ids -> tokens (K, N, D), ordered [SOS], prompts, class phrase, [EOS], padding.

    Args:
        ids: those of `text_prompt_rows(slots)` are placeholders that the first prompts replace.
        positioned: add the positional embedding to the first prompts (CoOp); else they are
            written after it was added, as DroPLe's are (METHOD.md 1.3).
        drop_sos: [SOS] may be dropped, as in the released code (METHOD.md 3.2).
    """
    layout = TokenLayout.of_text(ids, slots=slots, drop_sos=drop_sos)
    tokens = text.token_embedding(ids)
    places = text.positional_embedding[: ids.shape[1]].to(tokens.dtype)
    if not prompts:
        return tokens + places, layout
    if positioned:
        return layout.write_prompts(tokens, prompts[0]) + places, layout
    return layout.write_prompts(tokens + places, prompts[0]), layout


def text_features(text: TextTower, record: LayerRecord) -> Tensor:
    """Final text feature (K, E), not normalised."""
    features = text.ln_final(record.layout.read(record.tokens))
    if isinstance(text.text_projection, nn.Linear):
        return text.text_projection(features)
    return features @ text.text_projection


def in_batches_by_length(ids: Tensor, encode: Callable[[Tensor], Tensor]) -> Tensor:
    """Encodes ids (K, N) in batches of like length, so that short phrases pay for no padding."""
    lengths = eos_rows(ids) + 1
    order = lengths.argsort(stable=True)
    parts = [encode(ids[rows, : int(lengths[rows].max())]) for rows in order.split(TEXT_BATCH)]
    return torch.cat(parts)[order.argsort()]
