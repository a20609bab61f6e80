"""Where the logit difference between adapted and frozen branch comes from, on the direct path.

The class token's residual stream is a sum of what attention and MLP of every layer wrote into it,
and the read-out (`ln_post` with its scale held at the actual one, then `proj`, then the dot
product with a unit text feature) is linear in it. What a layer writes into other tokens, for later
layers to fetch, counts where it is fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from drople.branches import ADAPTED, FROZEN
from drople.class_texts import ClassTexts
from drople.lab.branch import Records
from drople.models.attention import Block
from drople.models.prompted_clip import PromptedClip
from drople.models.towers import LayerRecord, VisualTower, image_features


@dataclass(frozen=True)
class DirectPath:
    """A logit (or a lead over another class) in one branch, or the difference of two branches."""

    patches: np.ndarray  # (L, G, G) what attention fetches from each patch
    prompts: np.ndarray  # (L,) from the learned prompts
    cls: np.ndarray  # (L,) from the class token itself
    bias: np.ndarray  # (L,) attention's output bias
    mlp: np.ndarray  # (L,)
    start: float  # the class token as it enters the first layer
    constant: float  # the bias of ln_post

    @property
    def layers(self) -> np.ndarray:
        """What each layer adds, (L,)."""
        return self.patches.sum(axis=(1, 2)) + self.prompts + self.cls + self.bias + self.mlp

    @property
    def total(self) -> float:
        return float(self.start + self.constant + self.layers.sum())

    def minus(self, other: DirectPath) -> DirectPath:
        return DirectPath(**{part: own - vars(other)[part] for part, own in vars(self).items()})


@dataclass(frozen=True)
class Explained:
    """Adapted minus frozen, in parts that sum to it.

    With c = <u, t> the cosine and s the scale of each branch and a bar for the mean of the two,
    s_a c_a - s_f c_f = s̄ <u_a - u_f, t̄> + s̄ <ū, t_a - t_f> + (s_a - s_f) c̄: no order of
    exchange has to be chosen. The first term is split along the direct path.
    """

    difference: float  # of the logits themselves
    image: DirectPath
    text: float  # the text features differ
    scale: float  # the logit scales differ

    @property
    def remainder(self) -> float:
        """What the parts miss: rounding alone."""
        return self.difference - (self.image.total + self.text + self.scale)


@torch.no_grad()
def explain_difference(
    model: PromptedClip,
    records: Records,
    classes: ClassTexts,
    *,
    target: int,
    against: int | None = None,
) -> Explained:
    """Adapted minus frozen logit of a class.

    Args:
        records: of both branches, from `run_branches`.
        target: index of the class.
        against: where given, the lead of `target` over this class instead of its logit.
    """
    backbone = model.backbone
    scales = {FROZEN: backbone.logit_scale.exp(), ADAPTED: model.logit_scale.exp()}
    images = {
        branch: F.normalize(image_features(backbone.visual, own[-1]), dim=-1)[0]
        for branch, own in records.items()
    }  # (E,)
    texts = {branch: classes.features[branch][target] for branch in records}  # (E,)
    if against is not None:
        texts = {name: text - classes.features[name][against] for name, text in texts.items()}
    cosines = {branch: images[branch] @ texts[branch] for branch in records}
    scale = (scales[ADAPTED] + scales[FROZEN]) / 2
    text = (texts[ADAPTED] + texts[FROZEN]) / 2
    adapted, frozen = (
        direct_path(tower, records[branch], scale * text)
        for branch, tower in ((ADAPTED, model.visual), (FROZEN, backbone.visual))
    )
    image = (images[ADAPTED] + images[FROZEN]) / 2
    logits = {branch: float(scales[branch] * cosines[branch]) for branch in records}
    return Explained(
        difference=logits[ADAPTED] - logits[FROZEN],
        image=adapted.minus(frozen),
        text=float(scale * (image @ (texts[ADAPTED] - texts[FROZEN]))),
        scale=float((scales[ADAPTED] - scales[FROZEN]) * (cosines[ADAPTED] + cosines[FROZEN]) / 2),
    )


@torch.no_grad()
def direct_path(
    visual: VisualTower, records: Sequence[LayerRecord], direction: Tensor
) -> DirectPath:
    """The parts of <u, direction>, u the unit feature of the first image; no dropout acted.

    Args:
        records: every layer of one run.
        direction: (E,), a unit text feature times the logit scale, or a difference of two.
    """
    final = records[-1].layout.read(records[-1].tokens)[0]  # (D,)
    length = image_features(visual, records[-1])[0].norm()
    ln = visual.ln_post
    assert isinstance(ln, torch.nn.LayerNorm)
    back = visual.proj @ direction / length  # (D,)
    weighed = ln.weight * back
    sigma = (final.var(correction=0) + ln.eps).sqrt()
    functional = (weighed - weighed.mean()) / sigma  # (D,), applied to the residual stream
    parts = [
        _layer_parts(block, record, functional)
        for block, record in zip(visual.transformer.resblocks, records, strict=True)
    ]
    first, grid = records[0], records[0].layout.grid
    assert grid is not None
    tokens = [(one.tokens, record.layout) for one, record in zip(parts, records, strict=True)]
    return DirectPath(
        patches=np.stack([t[layout.patches].reshape(grid).cpu().numpy() for t, layout in tokens]),
        prompts=np.array([float(t[layout.prompts].sum()) for t, layout in tokens]),
        cls=np.array([float(t[layout.readout[0]]) for t, layout in tokens]),
        bias=np.array([one.bias for one in parts]),
        mlp=np.array([one.mlp for one in parts]),
        start=float(first.layout.read(first.entering)[0] @ functional),
        constant=float(ln.bias @ back),
    )


@dataclass(frozen=True)
class _LayerParts:
    """What one layer adds to the read-out."""

    tokens: Tensor  # (N,) attention, by the token it was fetched from
    bias: float
    mlp: float


def _layer_parts(block: Block, record: LayerRecord, functional: Tensor) -> _LayerParts:
    attn, readout = block.attn, int(record.layout.readout[0])
    entering = record.entering[:1]  # (1, N, D)
    N, D = entering.shape[1:]
    heads = attn.num_heads
    weight, bias = attn.in_proj_weight[2 * D :], attn.in_proj_bias[2 * D :]
    values = F.linear(block.ln_1(entering), weight, bias)[0]
    values = values.view(N, heads, D // heads).transpose(0, 1)  # (H, N, D/H)
    attention = record.attention[0, :, readout]  # (H, N)
    scaled = block.ls_1(functional)  # a factor a channel, or nothing: its own transpose
    wanted = (attn.out_proj.weight.T @ scaled).view(heads, D // heads)  # (H, D/H)
    tokens = (attention * torch.einsum("hnd,hd->hn", values, wanted)).sum(dim=0)
    mixed = torch.einsum("hn,hnd->hd", attention, values).reshape(1, 1, D)
    middle = entering[:, readout : readout + 1] + block.ls_1(attn.out_proj(mixed))  # (1, 1, D)
    written = block.ls_2(block.mlp(block.ln_2(middle)))[0, 0]  # (D,)
    return _LayerParts(tokens, float(attn.out_proj.bias @ scaled), float(written @ functional))
