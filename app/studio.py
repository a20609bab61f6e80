"""The one owner of models and of what was computed with them; knows no Gradio."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from drople.analysis import Analysis, AnalysisSettings, analyse
from drople.class_texts import ClassTexts, describe_classes
from drople.devices import pick_device
from drople.errors import BackboneError, CheckpointError, ClassListError
from drople.models.backbone import BUNDLED, Backbone, hash_weights, load_backbone
from drople.models.prompted_clip import PromptedClip
from drople.storage.hub import fetch_prompts, is_hub_id
from drople.storage.prompts import PromptCard, load_prompts, read_card, shipped_prompts
from drople.tokens.dropout import DropoutSettings

NO_PROMPTS = "none"  # the frozen branch alone
# Offered by name; all that a public page loads.
BACKBONES = (
    *BUNDLED,
    "ViT-B-16/openai",
    "ViT-B-32/openai",
    "ViT-L-14/openai",
    "ViT-B-16/laion2b_s34b_b88k",
)
MAX_TEXT_TOKENS = 40_000  # names times tokens of the longest
Value = TypeVar("Value")


def digest_of(image: Image.Image) -> str:
    """What tells a picture from any other: its size and pixels, hashed."""
    pixels = np.asarray(image)
    return blake2b(pixels.tobytes(), digest_size=16, key=repr(pixels.shape).encode()).hexdigest()


def own_file(name: str) -> Path:
    """A file of this machine that a visitor named.

    Raises:
        CheckpointError: there is none.
    """
    try:
        path = Path(name).expanduser()
        if path.is_file():
            return path
    except (OSError, RuntimeError):  # too long, or the home of an unknown user
        pass
    raise CheckpointError(
        f"There are no prompts {name[:80]!r}. Give the path of a .safetensors file."
    )


def _file_of(prompts: str) -> Path:
    """A file of this machine, or the Hub's, which is fetched."""
    return fetch_prompts(prompts) if is_hub_id(prompts) else own_file(prompts)


def _check_length(model: Backbone | PromptedClip, classes: tuple[str, ...], template: str) -> None:
    """Refuses a class list that would fill the memory: every name is padded to the longest."""
    backbone = model.backbone
    rows, longest = backbone.tokenise([template.replace("{}", name) for name in classes]).shape
    if rows * longest > MAX_TEXT_TOKENS:
        raise ClassListError(
            f"The class list has {rows:,} names and the longest has {longest} tokens with its "
            f"template; together at most {MAX_TEXT_TOKENS:,} tokens are read. Shorten the list or "
            "its longest names."
        )


@dataclass(frozen=True)
class Loaded:
    """A backbone with or without prompts, ready to analyse."""

    model: Backbone | PromptedClip
    card: PromptCard | None
    name: str  # of the prompts; NO_PROMPTS without
    key: Hashable  # what was loaded; an id() would be given again to another model

    @property
    def dropout(self) -> DropoutSettings:
        """What the prompts were trained with; the defaults without prompts."""
        return self.card.dropout if self.card else DropoutSettings()

    def made(self, analysis: Analysis) -> bool:
        """Whether an analysis is of this very backbone and these very prompts."""
        model, known = self.model, analysis.provenance
        hashed = hash_weights(model.state_dict()) if isinstance(model, PromptedClip) else None
        hashes = (model.backbone.weights_hash, hashed)
        return hashes == (known["backbone_hash"], known.get("prompts_hash"))


@dataclass
class _Recent:
    """The newest few values by key."""

    size: int
    values: OrderedDict[Hashable, object] = field(default_factory=OrderedDict)

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        if key not in self.values:
            self.values[key] = make()
            while len(self.values) > self.size:
                self.values.popitem(last=False)
        self.values.move_to_end(key)
        return self.values[key]  # type: ignore[return-value]

    def keep(self, wanted: Callable[[Any], bool]) -> None:
        """Lets go of the values whose key is not wanted."""
        for key in [key for key in self.values if not wanted(key)]:
            del self.values[key]


class Studio:
    """Loads models, keeps at most two backbones, and lets one visitor compute at a time."""

    def __init__(self, device: str = "auto", *, own_files: bool = True, prompts: str | None = None):
        """Prompts of the host's own are a file or user/repo@revision; the page starts with them.

        Raises:
            CheckpointError: there are none, or prompts of the app have that name.
        """
        self.device = pick_device(device)
        self.own_files = own_files  # whether visitors may name files of this machine
        self._offered = shipped_prompts()
        self.host_prompts: str | None = None  # their name
        if prompts:
            path = _file_of(prompts)
            name = prompts if is_hub_id(prompts) else path.stem
            if name in self._offered:
                raise CheckpointError(
                    f"Prompts called {name!r} come with the app. Give {path.name} another name."
                )
            self._offered |= {name: path}
            self.host_prompts = name
        self._turn = threading.RLock()
        self._backbones = _Recent(2)
        self._prompts = _Recent(8)
        self._texts = _Recent(8)
        self._analyses = _Recent(16)

    def device_name(self) -> str:
        """What to call the device on the page."""
        return torch.cuda.get_device_name() if self.device == "cuda" else "CPU"

    @property
    def start(self) -> tuple[str, str]:
        """Backbone and prompts that the page starts with."""
        if self.host_prompts:
            return read_card(self._offered[self.host_prompts]).backbone, self.host_prompts
        return "mini", next(iter(self.prompts_for("mini")), NO_PROMPTS)

    def prompts_for(self, backbone: str) -> dict[str, PromptCard]:
        """The offered prompts made for a backbone, by name: the app's, and the host's own."""
        cards = {name: read_card(path) for name, path in self._offered.items()}
        return {name: card for name, card in cards.items() if card.backbone == backbone}

    def trained_dropout(self, backbone: str, prompts: str) -> DropoutSettings:
        """What prompts were trained with; the defaults without prompts.

        Raises:
            CheckpointError: see `card`.
        """
        card = self.card(backbone, prompts)
        return card.dropout if card else DropoutSettings()

    def card(self, backbone: str, prompts: str) -> PromptCard | None:
        """What offered prompts, or a file of the visitor's, say of themselves.

        None for others, and without prompts.

        Raises:
            CheckpointError: the file is not there, or holds no prompts.
        """
        known = self.prompts_for(backbone).get(prompts)
        if known or not self.own_files or not prompts or prompts in (NO_PROMPTS, *self._offered):
            return known
        return read_card(_file_of(prompts))

    def load(self, backbone: str = "mini", prompts: str = NO_PROMPTS) -> Loaded:
        """A backbone and prompts, by offered name, by path or as user/repo@revision of the Hub.

        Raises:
            BackboneError, CheckpointError: see `load_backbone` and `load_prompts`.
        """
        if not self.own_files and backbone not in BACKBONES:
            raise BackboneError(
                f"On this page only {', '.join(BACKBONES)} can be used. Start the app on your own "
                "machine to load another."
            )
        if not self.own_files and prompts and prompts not in (NO_PROMPTS, *self._offered):
            raise CheckpointError(
                "On this page only the prompts in the list can be used. Start the app on your own "
                "machine to load a file of yours."
            )
        with self._turn:
            clip = self._backbones.get(backbone, lambda: load_backbone(backbone, self.device))
            # A backbone that left would be kept by its prompts.
            self._prompts.keep(lambda key: key[0] in self._backbones.values)
            if not prompts or prompts == NO_PROMPTS:
                return Loaded(clip, None, NO_PROMPTS, backbone)
            path = self._offered.get(prompts) or _file_of(prompts)
            key = (backbone, str(path), path.stat().st_mtime_ns)
            model, card = self._prompts.get(key, lambda: load_prompts(path, clip))
            return Loaded(model, card, prompts if is_hub_id(prompts) else path.stem, key)

    def warm_up(self, backbone: str, prompts: str) -> None:
        """Does what only the first analysis pays for: loading models and the package of maps."""
        loaded = self.load(backbone, prompts)
        self.analyse(loaded, Image.new("RGB", (64, 64)), ("thing",), AnalysisSettings())

    def in_turn(self, work: Callable[[], Value]) -> Value:
        """Does one piece of work while no other visitor computes; long work comes in pieces."""
        with self._turn:
            return work()

    def texts(self, loaded: Loaded, classes: tuple[str, ...], template: str) -> ClassTexts:
        """A class list as the model reads it, kept for the next picture.

        Raises:
            ClassListError: the list is too long, or a name does not fit the context.
            SettingsError: the template has no {} for the class name.
        """
        key = (loaded.key, classes, template)
        _check_length(loaded.model, classes, template)
        with self._turn:
            return self._texts.get(key, lambda: describe_classes(loaded.model, classes, template))

    def analyse(
        self,
        loaded: Loaded,
        image: Image.Image,
        classes: tuple[str, ...],
        settings: AnalysisSettings,
    ) -> Analysis:
        """An analysis, computed or, for the very same question, remembered.

        Raises:
            DropleError: see `drople.analyse`.
        """
        texts = self.texts(loaded, classes, settings.template)
        key = (loaded.key, digest_of(image), classes, settings)
        with self._turn:
            return self._analyses.get(
                key, lambda: analyse(loaded.model, image, texts, settings, prompts_name=loaded.name)
            )
