"""The class names of a checkpoint, spelt from the token embeddings it stores."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from drople.models.backbone import Backbone
from drople.models.prompts import PromptPlan

HALF = 2e-3  # relative: what half precision may have rounded away


def class_names(
    state: Mapping[str, Tensor], plan: PromptPlan, backbone: Backbone
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Class names read back from the stored embeddings of their phrases, and what to note.

    `token_suffix` (K, N - 1 - P, D) holds the rows of CLIP's own token embedding that follow the
    context, so the nearest rows spell the phrase.
    """
    suffix = state.get("token_suffix")
    if suffix is None:
        return (), ("the file does not hold its class names",)
    table = backbone.text.token_embedding.weight.detach().float().cpu()  # (V, D)
    rows, place = suffix.float().reshape(-1, suffix.shape[-1]).unique(dim=0, return_inverse=True)
    nearest, gap = _nearest(rows, table)
    if float(gap.max()) > HALF:
        return (), ("the class names could not be read from its token embeddings",)
    ids = nearest[place].reshape(suffix.shape[:2])
    phrases = [_spelt(row, backbone) for row in ids.tolist()]
    start, end = plan.phrase.split("{}")
    if not all(phrase.startswith(start) and phrase.endswith(end.strip()) for phrase in phrases):
        return (), (
            f"it was trained on phrases like “{phrases[0]}”, which do not fit the phrase "
            f"“{plan.phrase}” assumed here; say what it is with --phrase",
        )
    ends = end.strip()
    return tuple(phrase.removeprefix(start).removesuffix(ends).strip() for phrase in phrases), ()


def _nearest(rows: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """For each row the index of the nearest row of a table, and their relative distance."""
    index = torch.cat([torch.cdist(part, table).argmin(dim=1) for part in rows.split(256)])
    gap = (rows - table[index]).norm(dim=1) / table[index].norm(dim=1).clamp_min(1e-12)
    return index, gap


def _spelt(ids: list[int], backbone: Backbone) -> str:
    """The words of token ids up to [EOS]."""
    end = backbone.tokenizer.eot_token_id
    return backbone.tokenizer.decode(ids[: ids.index(end)] if end in ids else ids).strip()
