"""Prompt plans: where learned prompts sit, what becomes of the old ones, and what is learnt.

Every plan ends in one `PromptStep` a layer and branch, so the forward knows a single mechanism.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from drople.errors import SettingsError
from drople.ranges import COUNT, check_number
from drople.tokens.layout import PromptStep

PromptKind = Literal["replace", "coupled", "modular"]
PROMPT_KINDS: tuple[PromptKind, ...] = get_args(PromptKind)
FIRST_WORDS = "a photo of a"  # what the first text prompts of all but MPL start from


@dataclass(frozen=True)
class PromptPlan:
    """A prompt plan in plain values, as a checkpoint stores it. The defaults are DroPLe's.

    `replace`: independent prompts in both towers, fresh ones at each of the first layers
    (METHOD.md 1.2, 1.3; CoOp and KgCoOp are text only with depth 1).
    `coupled`: image prompts are linear images of the text prompts (MaPLe, METHOD.md 8).
    `modular`: image prompts are added, removed and carried (MPL, METHOD.md 8.1).

    Raises:
        SettingsError: a count is out of its range, or they contradict one another.
    """

    kind: PromptKind = "replace"
    image_count: int = 4
    image_depth: int = 6
    text_count: int = 4
    text_depth: int = 9
    phrase: str = "{}"  # what stands after the prompts, with the class name for {}
    positioned: bool = False  # first text prompts get the positional embedding (CoOp's style)
    n_add: int = 2  # modular: groups of `text_count` prompts added at each layer
    n_rm: int = 1  # modular: prompts removed at each layer

    def __post_init__(self) -> None:
        if self.kind not in PROMPT_KINDS:
            raise SettingsError(f"Prompt kind {self.kind!r}; choose one of {PROMPT_KINDS}.")
        for name in ("image_count", "image_depth", "text_count", "text_depth", "n_add", "n_rm"):
            check_number(f"plan.{name}", vars(self)[name], COUNT)
        if not (self.text_count or self.image_count):
            raise SettingsError("Neither tower has prompts; give image_count or text_count.")
        if self.text_count and not self.text_depth:
            raise SettingsError("Text prompts need a text_depth of at least 1, got 0.")
        if "{}" not in self.phrase:
            raise SettingsError(f"The phrase {self.phrase!r} has no {{}} for the class name.")
        # Else the vision prompts would run out (METHOD.md 8.1).
        if self.kind == "modular" and self.n_rm >= self.n_add * self.text_count + 1:
            raise SettingsError(
                f"Modular prompts need n_rm < n_add * n_ctx + 1, got n_rm={self.n_rm}, "
                f"n_add={self.n_add}, n_ctx={self.text_count}."
            )
        # The second layer has only the first layer's prompts to remove: else patches would go.
        if self.kind == "modular" and self.n_rm > self.text_count:
            raise SettingsError(
                f"Modular prompts need n_rm <= n_ctx, got n_rm={self.n_rm}, "
                f"n_ctx={self.text_count}: more would remove patches. Lower plan.n_rm or raise "
                "plan.text_count."
            )

    @property
    def first_words(self) -> str:
        """The words whose embedding the first text prompts start from; too few: drawn at random.

        MPL starts from an X a prompt (trainers/mpl.py, ModularPromptLearner), the others from the
        beginning of "a photo of a" (METHOD.md 1.3, 8; trainers/maple.py of MaPLe).
        """
        return "X " * self.text_count if self.kind == "modular" else FIRST_WORDS

    def capped(self, image_layers: int, text_layers: int) -> PromptPlan:
        """The plan with its depths capped at the towers' depths."""
        image, text = min(self.image_depth, image_layers), min(self.text_depth, text_layers)
        if self.kind != "replace":  # image prompts are made from the text prompts of their layer
            image = text = min(image, text)
        return replace(self, image_depth=image, text_depth=text)


def _replacing(layers: Tensor) -> tuple[PromptStep, ...]:
    """Prompts (L, P, D) that replace one another layer by layer."""
    return tuple(
        PromptStep(0 if depth == 0 else len(prompt), prompt) for depth, prompt in enumerate(layers)
    )


def _uniform(shape: tuple[int, int, int]) -> nn.Parameter:
    """kaiming_uniform_(a=sqrt(5)) on the 3-D tensor, as the released code does (METHOD.md 1.2)."""
    bound = (shape[1] * shape[2]) ** -0.5 if min(shape) else 0.0
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


class _TextPrompts(nn.Module):
    """Text prompts (L, P, D) that replace one another; what makes image prompts is a subclass's."""

    text: nn.Parameter

    def start_from(self, words: Tensor) -> None:
        """Sets the first text prompts (P, D) to the embedding of words."""
        with torch.no_grad():
            self.text[0].copy_(words)

    def text_steps(self) -> tuple[PromptStep, ...]:
        """A step a layer; the first replace the placeholders of the tokenised phrase."""
        return tuple(PromptStep(len(p), p) for p in self.text) if self.text.shape[1] else ()


def _normal_text(plan: PromptPlan, width: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(plan.text_depth, plan.text_count, width).normal_(std=0.02))


class DeepPrompts(_TextPrompts):
    """Independent prompts in both towers: image (L, P, D) and text (L, P, D)."""

    def __init__(self, plan: PromptPlan, image_width: int, text_width: int):
        super().__init__()
        self.image = _uniform((plan.image_depth, plan.image_count, image_width))
        bound = text_width**-0.5  # the released code initialises each layer by itself
        text = torch.empty(plan.text_depth, plan.text_count, text_width).uniform_(-bound, bound)
        self.text = nn.Parameter(text)

    def image_steps(self) -> tuple[PromptStep, ...]:
        return _replacing(self.image) if self.image.shape[1] else ()


class CoupledPrompts(_TextPrompts):
    """Text prompts (L, P, D) and one linear map a layer that makes the image prompts (MaPLe).

    The first map is drawn by itself; those of the deeper layers start as clones of one
    (trainers/maple.py, `_get_clones`).
    """

    def __init__(self, plan: PromptPlan, image_width: int, text_width: int):
        super().__init__()
        self.text = _normal_text(plan, text_width)
        first, deeper = (nn.Linear(text_width, image_width) for _ in range(2))
        clones = [deepcopy(deeper) for _ in range(1, plan.image_depth)]
        self.couple = nn.ModuleList([first, *clones][: plan.image_depth])

    def image_steps(self) -> tuple[PromptStep, ...]:
        made = [couple(self.text[depth]) for depth, couple in enumerate(self.couple)]
        return _replacing(torch.stack(made))


class ModularPrompts(_TextPrompts):
    """MPL: text prompts replace one another; image prompts are added, removed and carried.

    Image prompts entering layer l number n_ctx + (l - 1)(n_add n_ctx - n_rm) (METHOD.md 8.1).
    The first map is drawn by itself; all deeper ones, of every layer and group, start as clones of
    one (trainers/mpl.py, `_get_clones`).
    """

    def __init__(self, plan: PromptPlan, image_width: int, text_width: int):
        super().__init__()
        self.n_rm = plan.n_rm
        self.text = _normal_text(plan, text_width)
        self.first = nn.Linear(text_width, image_width)
        deeper = nn.Linear(text_width, image_width)
        self.add = nn.ModuleList(
            nn.ModuleList(deepcopy(deeper) for _ in range(plan.n_add))
            for _ in range(1, plan.image_depth)
        )

    def image_steps(self) -> tuple[PromptStep, ...]:
        steps = [PromptStep(0, self.first(self.text[0]))]
        for depth, maps in enumerate(self.add, start=1):
            assert isinstance(maps, nn.ModuleList)
            added = torch.cat([make(self.text[depth]) for make in maps])  # (n_add n_ctx, D)
            steps.append(PromptStep(self.n_rm, added))
        return tuple(steps)


Prompts = DeepPrompts | CoupledPrompts | ModularPrompts
_MODULES: dict[PromptKind, type[Prompts]] = {
    "replace": DeepPrompts,
    "coupled": CoupledPrompts,
    "modular": ModularPrompts,
}


def build_prompts(plan: PromptPlan, image_width: int, text_width: int) -> Prompts:
    """The module a plan describes, freshly initialised from torch's global generator."""
    return _MODULES[plan.kind](plan, image_width, text_width)
