"""Frozen CLIPs: loading them through open_clip, and what belongs to them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from hashlib import blake2b
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import httpx
import numpy as np
import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer, get_clean_fn
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchvision.transforms import Compose, Normalize, ToTensor

from drople.errors import BackboneError, ClassListError
from drople.images import as_rgb
from drople.models import towers
from drople.models.coverage import refusal, refuse_uncovered, uncovered_part
from drople.models.stem import Stem, has_stem, load_with_stem
from drople.models.towers import LayerRecord, ReadBridge, TextTower, VisualTower, last
from drople.tokens.dropout import TokenDropout
from drople.tokens.layout import PromptStep, eos_rows

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
BUNDLED = ("mini",)  # backbones that travel with the project, in checkpoints/<name>
EARLIER_MINI = {"b454d4c554683269": "0.1"}  # weights hash -> the versions that shipped them


@dataclass(frozen=True)
class Backbone:
    """A frozen open_clip model whose towers our forward covers, and what belongs to it."""

    name: str
    clip: nn.Module = field(repr=False)
    tokenizer: SimpleTokenizer = field(repr=False)
    crop: Callable[[Image.Image], Image.Image] = field(repr=False)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights_hash: str  # 16 hex digits over names, shapes and values of all weights

    @classmethod
    def of_clip(
        cls, name: str, clip: nn.Module, preprocess: Compose, tokenizer: SimpleTokenizer, *,
        weights_hash: str | None = None,
    ) -> Backbone:  # fmt: skip
        """Wraps an open_clip model and freezes it.

        Raises:
            BackboneError: the model holds parts the forward does not cover.
        """
        refuse_uncovered(name, clip, tokenizer)
        clip.eval().requires_grad_(False)
        digest = weights_hash or hash_weights(clip.state_dict())  # of the weights as stored
        visual: Any = clip.visual
        if isinstance(visual.conv1, Stem):
            visual.conv1 = visual.conv1.optimised()
        steps = preprocess.transforms
        assert isinstance(steps[-1], Normalize), "open_clip normalises last"
        crop = Compose([step for step in steps[:-1] if not isinstance(step, ToTensor)])
        mean, std = (tuple(float(v) for v in part) for part in (steps[-1].mean, steps[-1].std))
        return cls(name, clip, tokenizer, crop, mean, std, digest)

    # The towers' own types are open_clip's; ours name the parts the forward relies on.
    @cached_property
    def visual(self) -> VisualTower:
        return cast(VisualTower, self.clip.visual)

    @cached_property
    def text(self) -> TextTower:
        return cast(TextTower, self.clip.text if "text" in self.clip._modules else self.clip)

    @property
    def backbone(self) -> Backbone:
        """Itself, so that a model with prompts and one without are asked alike."""
        return self

    @property
    def device(self) -> torch.device:
        return self.visual.class_embedding.device

    @property
    def image_width(self) -> int:
        return len(self.visual.class_embedding)

    @property
    def text_width(self) -> int:
        return self.text.token_embedding.embedding_dim

    @property
    def joint_width(self) -> int:
        return self.visual.proj.shape[1]

    @property
    def image_layer_count(self) -> int:
        return len(self.visual.transformer.resblocks)

    @property
    def text_layer_count(self) -> int:
        return len(self.text.transformer.resblocks)

    @property
    def image_size(self) -> int:
        """S, pixels a side of what the model sees."""
        return self.visual.image_size[0]

    @property
    def patch_size(self) -> int:
        """Pixels a side of the cell that a patch token stands for."""
        return self.visual.patch_size[0]

    @property
    def grid_size(self) -> int:
        """G, patches a side."""
        return self.image_size // self.patch_size

    @property
    def has_stem(self) -> bool:
        """Whether a patch token sees more of the picture than its own cell (see `Stem`)."""
        return isinstance(self.visual.conv1, Stem)

    @property
    def context_length(self) -> int:
        return len(self.text.positional_embedding)

    @property
    def logit_scale(self) -> Tensor:
        """The learned log of the factor between cosines and logits, a scalar."""
        return cast(Tensor, self.clip.logit_scale).reshape(())

    def pixels(self, image: Image.Image) -> np.ndarray:
        """What the model sees of a picture: upright, resized, centre-cropped, (S, S, 3) uint8 RGB.

        Raises:
            ImageError: it is no picture, or its file is damaged.
        """
        return np.asarray(self.crop(as_rgb(image)))

    def normalise(self, pixels: np.ndarray | Tensor) -> Tensor:
        """(B, S, S, 3) uint8 -> (B, 3, S, S) float on the backbone's device, normalised."""
        if isinstance(pixels, np.ndarray):
            pixels = torch.from_numpy(pixels.copy())  # a picture's array may be read-only
        return self.standardise(pixels.to(self.device).permute(0, 3, 1, 2).float() / 255)

    def standardise(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] with the mean and deviation of the training pictures taken out."""
        mean, std = (
            torch.tensor(part, device=pixels.device).view(3, 1, 1) for part in (self.mean, self.std)
        )
        return (pixels - mean) / std

    def tokenise(self, phrases: Sequence[str]) -> Tensor:
        """Token ids (K, N), [SOS] phrase [EOS], zero-padded to the longest phrase only.

        Under the causal mask what follows [EOS] cannot change it, so nothing more is needed.

        Raises:
            ClassListError: a phrase does not fit the context.
        """
        start, end = self.tokenizer.sot_token_id, self.tokenizer.eot_token_id
        rows = [[start, *_word_pieces(self.tokenizer, phrase), end] for phrase in phrases]
        for phrase, row in zip(phrases, rows, strict=True):
            if len(row) > self.context_length:
                short = phrase if len(phrase) < 60 else phrase[:57] + "..."
                raise ClassListError(
                    f"“{short}” is {len(row)} tokens long with its template; {self.name} reads "
                    f"{self.context_length}. Shorten the class name or the template."
                )
        return pad_sequence([torch.tensor(row) for row in rows], batch_first=True).to(self.device)

    def words(self, ids: Tensor) -> list[str]:
        """The word pieces of one row of ids (N,), up to and with [EOS]; for display."""
        names = {self.tokenizer.sot_token_id: "[SOS]", self.tokenizer.eot_token_id: "[EOS]"}
        decoder, real = self.tokenizer.decoder, ids[: int(eos_rows(ids)) + 1].tolist()
        return [names.get(i) or decoder[i].removesuffix("</w>") for i in real]

    def image_layers(
        self, pixels: Tensor, *, visual: VisualTower | None = None,
        prompts: Sequence[PromptStep] = (), bridge: ReadBridge | None = None, score: bool = False,
        watched: int | None = None, dropout: TokenDropout | None = None, readout_only: bool = False,
        rows: int | None = None,
    ) -> Iterator[LayerRecord]:  # fmt: skip
        """Runs the image tower, or `visual` in its place, on (B, 3, S, S), normalised.

        See `run_layers`, and `embed_image` for `rows`.
        """
        visual = visual or self.visual
        tokens, layout = towers.embed_image(visual, pixels, prompts, rows=rows)
        return towers.run_layers(
            visual.transformer.resblocks, tokens, layout, prompts=prompts, bridge=bridge,
            score=score, watched=watched, dropout=dropout, readout_only=readout_only,
        )  # fmt: skip

    def text_layers(
        self, ids: Tensor, *, prompts: Sequence[PromptStep] = (), slots: int = 0,
        positioned: bool = False, bridge: ReadBridge | None = None, score: bool = False,
        watched: int | None = None, dropout: TokenDropout | None = None, drop_sos: bool = False,
        readout_only: bool = False,
    ) -> Iterator[LayerRecord]:  # fmt: skip
        """Runs the text tower on token ids (K, N); see `embed_text` and `run_layers`."""
        text, N = self.text, ids.shape[1]
        tokens, layout = towers.embed_text(
            text, ids, prompts, slots=slots, positioned=positioned, drop_sos=drop_sos
        )
        return towers.run_layers(
            text.transformer.resblocks, tokens, layout, prompts=prompts,
            mask=text.attn_mask[:N, :N], bridge=bridge, score=score, watched=watched,
            dropout=dropout, readout_only=readout_only,
        )  # fmt: skip

    @torch.no_grad()
    def encode_image(self, pixels: Tensor) -> Tensor:
        """Frozen image features (B, E) of (B, 3, S, S); equal to open_clip's, not normalised."""
        record = last(self.image_layers(pixels, readout_only=True))
        return towers.image_features(self.visual, record)

    @torch.no_grad()
    def encode_text(self, phrases: Sequence[str]) -> Tensor:
        """Frozen text features (K, E) of whole phrases; equal to open_clip's, not normalised."""

        def encode(ids: Tensor) -> Tensor:
            return towers.text_features(self.text, last(self.text_layers(ids, readout_only=True)))

        return towers.in_batches_by_length(self.tokenise(phrases), encode)


def _word_pieces(tokenizer: SimpleTokenizer, phrase: str) -> list[int]:
    """What the tokenizer's `encode` gives; faster for plain ASCII, which needs no repair.

    Repairing costs a third of `encode`; words come again, so each is split once and remembered.
    """
    plain = phrase.isascii() and phrase.isprintable() and "&" not in phrase  # no HTML entity
    if not plain or tokenizer.clean_fn is not get_clean_fn("lower"):
        return list(tokenizer.encode(phrase))
    words = tokenizer.pat.findall(phrase.lower())
    return [piece for word in words for piece in _pieces_of(tokenizer, word)]


@lru_cache(maxsize=2**15)
def _pieces_of(tokenizer: SimpleTokenizer, word: str) -> tuple[int, ...]:
    return tuple(tokenizer.encoder[piece] for piece in tokenizer.bpe(word).split(" "))


def load_backbone(name: str = "mini", device: str | torch.device = "cpu") -> Backbone:
    """Loads a frozen CLIP.

    Args:
        name: "mini", which travels with the project; "architecture/weights" as open_clip lists
            them, such as "ViT-B-16/openai"; "hf-hub:user/repo"; or "local-dir:FOLDER" with
            open_clip's two files. The second and third come from the local cache or the Hub.

    Raises:
        BackboneError: no such model, no network, or a model the forward does not cover.
    """
    source = f"local-dir:{CHECKPOINTS / name}" if name in BUNDLED else name
    weights, quick = None, False
    if source.startswith("local-dir:"):
        folder = Path(source.removeprefix("local-dir:"))
        if has_stem(folder):
            clip, preprocess = load_with_stem(folder)
            return Backbone.of_clip(name, clip.to(device), preprocess, SimpleTokenizer())
    elif not source.startswith("hf-hub:"):
        source, _, weights = name.partition("/")
        if (source, weights) not in open_clip.list_pretrained(as_str=False):
            raise BackboneError(
                f"No backbone is called {name!r}. Use 'mini', 'hf-hub:user/repo', or "
                "'architecture/weights' from open_clip.list_pretrained(), e.g. 'ViT-B-16/openai'."
            )
        part = uncovered_part(open_clip.get_model_config(source))
        if part is not None:
            raise refusal(name, part)
        quick = open_clip.get_pretrained_cfg(source, weights).get("quick_gelu", False)
    try:
        clip, _, preprocess = open_clip.create_model_and_transforms(
            source, pretrained=weights, force_quick_gelu=quick, require_pretrained=True
        )
        tokenizer = open_clip.get_tokenizer(source)
    except (SafetensorError, UnpicklingError) as error:
        raise BackboneError(
            f"The weights of the backbone {name} are damaged ({error}). Delete their file and "
            "fetch it again."
        ) from error
    except ImportError as error:  # of a repository on the Hub whose config asks for it
        raise refusal(name, f"a part that needs another package ({error.name})") from error
    except (OSError, RuntimeError, ValueError, httpx.HTTPError) as error:
        logging.getLogger(__name__).info("loading %s failed", name, exc_info=error)
        raise BackboneError(
            f"The weights of the backbone {name} are not in the local cache and could not be "
            f"downloaded ({type(error).__name__}). Connect once to fetch them, or use 'mini', "
            "which needs no network."
        ) from error
    return Backbone.of_clip(name, clip.to(device), preprocess, tokenizer)


def other_weights(made_with: str, weights_hash: str, backbone: Backbone) -> str:
    """Why something made with other weights cannot be used with a backbone, and what to do."""
    version = EARLIER_MINI.get(weights_hash)
    if version:
        return (
            f"made for the {made_with} of {version} (weights {weights_hash}); install {version}.0 "
            f"to recompute. This version's {backbone.name} has the weights {backbone.weights_hash}."
        )
    return (
        f"made with {made_with} (weights {weights_hash}), but the backbone loaded is "
        f"{backbone.name} (weights {backbone.weights_hash}). Choose the one it was made with."
    )


def hash_weights(state: dict[str, Tensor]) -> str:
    """16 hex digits over names, shapes and fp32 values of a state dict."""
    digest = blake2b(digest_size=8)
    for name in sorted(state):
        tensor = state[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
