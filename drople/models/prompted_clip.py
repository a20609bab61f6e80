"""A frozen CLIP with learned prompts in both towers and, for DroPLe, the cross-modal bridge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from drople.models import towers
from drople.models.backbone import Backbone
from drople.models.lora import ImageLora, LoraPlan
from drople.models.prompts import PromptPlan, build_prompts
from drople.models.towers import LayerRecord, VisualTower, last
from drople.tokens.dropout import TokenDropout
from drople.tokens.importance import Bridge
from drople.tokens.layout import eos_rows, text_prompt_rows


class PromptedClip(nn.Module):
    """The adapted branch. `parameters()` is what is learnt, `state_dict()` what is saved.

    The CLIP is held, not registered: it is frozen and saved by nobody. Nothing here reads
    `self.training`; dropout is an argument.

    Args:
        plan: where prompts sit; its depths are capped at the backbone's.
        bridge_tokens: M, 64 in the released code; 0 for methods without a bridge.
        lora: low-rank changes of the image tower, learnt or imported; None for none.
    """

    def __init__(
        self, backbone: Backbone, plan: PromptPlan, *, bridge_tokens: int = 0,
        lora: LoraPlan | None = None,
    ):  # fmt: skip
        super().__init__()
        self.backbone = backbone
        self.plan = plan.capped(backbone.image_layer_count, backbone.text_layer_count)
        self.prompts = build_prompts(self.plan, backbone.image_width, backbone.text_width)
        words = self._first_words()
        if words is not None:
            self.prompts.start_from(words)
        widths = (backbone.joint_width, backbone.image_width, backbone.text_width)
        self.bridge = Bridge(bridge_tokens, *widths) if bridge_tokens else None
        self.lora = ImageLora(lora, backbone.image_width) if lora else None
        self.logit_scale = nn.Parameter(backbone.logit_scale.detach().clone().cpu())
        self.to(backbone.device)

    @property
    def visual(self) -> VisualTower:
        """The image tower of this branch: the backbone's, but for low-rank changes."""
        return self.lora.merged(self.backbone.visual) if self.lora else self.backbone.visual

    def _first_words(self) -> Tensor | None:
        """The embedding (P, D) the first text prompts start from; None: they stay as drawn."""
        ids = self.backbone.tokenise([self.plan.first_words])
        count, rows = self.plan.text_count, text_prompt_rows(self.plan.text_count)
        if not 0 < count <= int(eos_rows(ids)) - rows.start:  # [SOS], words, [EOS]
            return None
        words = self.backbone.text.token_embedding(ids[0, rows])
        if not self.plan.positioned:  # written after the positions were added, so they carry them
            words = words + self.backbone.text.positional_embedding[rows]
        return words.detach()

    def phrases(self, names: Sequence[str]) -> list[str]:
        """What is tokenised: placeholders for the prompts, then the class phrase."""
        slots = "x " * self.plan.text_count
        return [slots + self.plan.phrase.replace("{}", name) for name in names]

    def image_layers(
        self, pixels: Tensor, *, read_bridge: bool = False, score: bool = False,
        watched: int | None = None, dropout: TokenDropout | None = None, readout_only: bool = False,
        rows: int | None = None,
    ) -> Iterator[LayerRecord]:  # fmt: skip
        """Runs the prompted image tower on (B, 3, S, S); see `Backbone.image_layers`."""
        bridge = self.bridge.read_image if self.bridge and (read_bridge or score) else None
        return self.backbone.image_layers(
            pixels, visual=self.visual, prompts=self.prompts.image_steps(), bridge=bridge,
            score=score, watched=watched, dropout=dropout, readout_only=readout_only, rows=rows,
        )  # fmt: skip

    def text_layers(
        self, ids: Tensor, *, read_bridge: bool = False, score: bool = False,
        watched: int | None = None, dropout: TokenDropout | None = None, drop_sos: bool = False,
        readout_only: bool = False,
    ) -> Iterator[LayerRecord]:  # fmt: skip
        """Runs the prompted text tower on the ids (K, N) of `phrases`; see `run_layers`."""
        bridge = self.bridge.read_text if self.bridge and (read_bridge or score) else None
        return self.backbone.text_layers(
            ids, prompts=self.prompts.text_steps(), slots=self.plan.text_count,
            positioned=self.plan.positioned, bridge=bridge, score=score, watched=watched,
            dropout=dropout, drop_sos=drop_sos, readout_only=readout_only,
        )  # fmt: skip

    @torch.no_grad()
    def encode_image(self, pixels: Tensor) -> Tensor:
        """Adapted image features (B, E) of (B, 3, S, S), without dropout, not normalised."""
        record = last(self.image_layers(pixels, readout_only=True))
        return towers.image_features(self.backbone.visual, record)

    @torch.no_grad()
    def encode_text(self, names: Sequence[str]) -> Tensor:
        """Adapted text features (K, E) of class names, without dropout, not normalised."""

        def encode(ids: Tensor) -> Tensor:
            record = last(self.text_layers(ids, readout_only=True))
            return towers.text_features(self.backbone.text, record)

        return towers.in_batches_by_length(self.backbone.tokenise(self.phrases(names)), encode)
