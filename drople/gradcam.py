"""Class activation maps of a run that has already happened, through the grad-cam package.

The site is `ln_1` of a block: after the last attention a patch has no gradient at all, so block
outputs are not offered (METHOD.md 6.1). Only the blocks from the site on are run again, on the
very tokens that entered it and with the very drops that were drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drople.errors import SettingsError
from drople.models.attention import Block, BlockParts
from drople.models.towers import LayerRecord, VisualTower, image_features, last, run_layers
from drople.tokens.dropout import Replay, TokenDropout
from drople.tokens.layout import PromptStep


@dataclass(frozen=True)
class CamMethod:
    """One method of the package, and what a reader must know of it."""

    label: str
    package_class: str
    signed: bool  # whether negative values mean evidence against the class
    per_class: bool  # whether the map depends on the class
    caveat: str = ""  # beside its pictures


CAM_METHODS: dict[str, CamMethod] = {
    "gradcam": CamMethod("Grad-CAM", "GradCAM", signed=True, per_class=True),
    "gradcam++": CamMethod(
        "Grad-CAM++", "GradCAMPlusPlus", signed=False, per_class=True,
        caveat="Made for positive activations, which a transformer's are not.",
    ),
    "layercam": CamMethod(
        "LayerCAM", "LayerCAM", signed=False, per_class=True,
        caveat="Weighs each patch by its own positive gradient alone.",
    ),
    "eigencam": CamMethod(
        "Eigen-CAM", "EigenCAM", signed=False, per_class=False,
        caveat="First principal component: the same for every class, its sign arbitrary.",
    ),
}  # fmt: skip


def class_maps(
    visual: VisualTower, records: Sequence[LayerRecord], text: Tensor, *, classes: Sequence[int],
    layer: int | None = None, method: str = "gradcam", prompts: Sequence[PromptStep] = (),
    dropout: TokenDropout | None = None,
) -> np.ndarray:  # fmt: skip
    """Maps (B, C, G, G) of each image and class at one layer, not rectified, not rescaled.

    The target is the cosine of image and class. Grad-CAM: gradients averaged over the patches
    weigh the channels (the package's `get_cam_image`).

    Args:
        records: every layer of one run, as `run_layers` yielded them.
        text: unit class features (B, K, E), those of each row's own prediction.
        classes: C indices into the K classes.
        layer: index of the block whose `ln_1` is the site, from 0; None for the last.
        prompts, dropout: those of the run.

    Raises:
        SettingsError: no such method or layer.
    """
    if method not in CAM_METHODS:
        raise SettingsError(f"No map is called {method!r}; choose one of {', '.join(CAM_METHODS)}.")
    chosen = CAM_METHODS[method]
    layer = len(records) - 1 if layer is None else layer
    if not 0 <= layer < len(records):
        raise SettingsError(f"Layer {layer} does not exist; the tower has {len(records)}.")
    tail = CosinesFrom(visual, records, text, layer=layer, prompts=prompts, dropout=dropout)
    shown = classes if chosen.per_class else classes[:1]
    maps = _package_maps(tail, records[layer].entering.detach(), shown, method=chosen)
    return np.broadcast_to(maps, (len(text), len(classes), *maps.shape[2:])).copy()


def _package_maps(
    tail: CosinesFrom, tokens: Tensor, classes: Sequence[int], *, method: CamMethod
) -> np.ndarray:
    """Maps (B, C, G, G) of tokens (B, N, D): one pass forward, one backward a class."""
    # Imported here: the package takes a second, and a visitor may never ask for a map.
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    cam = getattr(pytorch_grad_cam, method.package_class)(
        tail, [tail.site], reshape_transform=tail.patch_grid
    )
    seen = cam.activations_and_grads
    maps = []
    try:
        with torch.enable_grad():
            # The frozen network gives hooks no gradient unless the input asks for one.
            outputs = seen(tokens.requires_grad_(True))  # (B, K)
            activations = seen.activations[0].float().numpy()
            for index in classes:
                slopes = None
                if cam.uses_gradients:
                    outputs[:, index].sum().backward(retain_graph=True)
                    slopes = seen.gradients.pop().float().numpy()
                targets = [ClassifierOutputTarget(index)] * len(tokens)
                maps.append(
                    cam.get_cam_image(tokens, tail.site, targets, activations, slopes, False)
                )
    finally:
        seen.release()
    return np.stack(maps, axis=1).astype(np.float32)


class CosinesFrom(nn.Module):
    """Tokens entering a block in, cosines with the classes out: what the package expects.

    The site is a fresh module around the block's `ln_1`, so its hooks are seen by this call only:
    two visitors' maps may be worked out at once.
    """

    def __init__(
        self, visual: VisualTower, records: Sequence[LayerRecord], text: Tensor,
        *, layer: int, prompts: Sequence[PromptStep], dropout: TokenDropout | None,
    ):  # fmt: skip
        super().__init__()
        block = visual.transformer.resblocks[layer]
        assert isinstance(block.ln_1, nn.Module)
        self.site = nn.Sequential(block.ln_1)
        self._visual = [visual]  # in a list: held, not registered
        self._blocks: list[Block] = [*visual.transformer.resblocks]
        self._blocks[layer] = replace(BlockParts.of(block), ln_1=self.site)
        # Detached: the backward pass is the map's own, and leaves no gradient on the prompts.
        self._prompts = [replace(step, inserted=step.inserted.detach()) for step in prompts]
        self._record = records[layer]
        self._text = text  # (B, K, E)
        self._dropout = None
        if dropout is not None:
            drawn = {record.depth: record.drop for record in records if record.drop}
            self._dropout = Replay.of_records(dropout, drawn)

    def patch_grid(self, tokens: Tensor) -> Tensor:
        """Patch tokens as the picture the package works on: (B, N, D) -> (B, D, G, G)."""
        layout = self._record.layout
        assert layout.grid is not None
        return tokens[:, layout.patches].mT.unflatten(-1, layout.grid)

    def forward(self, tokens: Tensor) -> Tensor:
        record = self._record
        records = run_layers(
            self._blocks, tokens, record.layout, start=record.depth, prompts=self._prompts,
            hidden=record.hidden, dropout=self._dropout, readout_only=True,
        )  # fmt: skip
        left = last(records)
        features = F.normalize(image_features(self._visual[0], left), dim=-1)  # (B, E)
        return torch.einsum("be,bke->bk", features, self._text)
