"""What a method is: one small declaration over shared parts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from drople.classes import check_template
from drople.devices import PRECISIONS, Precision
from drople.errors import SettingsError
from drople.models.lora import LoraPlan
from drople.models.prompts import PromptPlan
from drople.ranges import COUNT, FACTOR, SEED, SHARE, Range, check_number, check_ranges
from drople.tokens.dropout import OFFICIAL_CODE, DropoutSettings
from drople.tokens.importance import SignalWeights


@dataclass(frozen=True)
class LossWeights:
    """Factors of the terms added to the cross entropy; the defaults are the released code's.

    METHOD.md 5.1; models/drople.py, run().
    """

    text_l1: float = 25.0
    image_l1: float = 10.0
    distillation: float = 2.5
    residual_entropy: float = 0.05  # subtracted: the entropy is maximised
    alignment: float = 30.0
    knowledge: float = 0.0  # KgCoOp's distance to the frozen text features (METHOD.md 8)

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            check_number(f"weight of the loss {name}", weight, FACTOR)


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank changes of the image tower that are learnt beside the prompts (METHOD.md 7).

    Rank 8 in the released code, in blocks 6 to 11 of 12; 0 is none. Not here: peft's dropout of
    0.1 before A, since the change is merged into the weights for each forward.
    """

    rank: int = 0
    layers: int = 6  # the last so many blocks
    lr: float = 2e-4  # a tenth of the prompts', as released
    lr_floor: float = 0.25  # of lr
    lr_warm: float = 5e-6
    # What the frozen image branch runs through: the CLIP as it came, or, as in the released code,
    # the changed weights, so that the target moves with what is learnt.
    frozen: Literal["apart", "code"] = "apart"

    def __post_init__(self) -> None:
        check_ranges(self, _LORA_RANGES)

    def plan(self, layers: int) -> LoraPlan | None:
        """Where the changes sit in a tower of so many blocks; None of rank 0."""
        changed = tuple(range(max(layers - self.layers, 0), layers))
        return LoraPlan(changed, self.rank) if self.rank else None


_LORA_RANGES = {
    **dict.fromkeys(("rank", "layers"), COUNT),
    **dict.fromkeys(("lr", "lr_warm"), Range(0, 1e3)),
    "lr_floor": SHARE,
}
CROSS_ENTROPY_ONLY = LossWeights(0, 0, 0, 0, 0)
PAPER_MIN = LossWeights(text_l1=0, image_l1=0, distillation=0)
"""The objective without the terms that are in the code but not known to be in the paper."""
NO_DROPOUT = DropoutSettings(strategy="none")
OUR_DROPOUT = DropoutSettings(mode="hide", p_min=0.1, p_max=0.3)
"""What we train with: the widest range that cost `mini` nothing on validation data, where hiding
tokens did better than zeroing them (docs/results/README.md)."""
RELEASED_RANGE = DropoutSettings(mode="zero", p_min=0.1, p_max=0.5)


@dataclass(frozen=True)
class TrainConfig:
    """Everything a training run depends on but the data and the backbone.

    The defaults here and of the parts never change, since a run's name leaves out what is at them
    (`named` in overrides.py); what we train with today is in `METHODS`.

    Raises:
        SettingsError: a number is out of its range.
    """

    method: str = "drople"
    plan: PromptPlan = field(default_factory=PromptPlan)
    losses: LossWeights = field(default_factory=LossWeights)
    dropout: DropoutSettings = field(default_factory=DropoutSettings)
    lora: LoraSettings = field(default_factory=LoraSettings)
    bridge_tokens: int = 64
    learn_logit_scale: bool = True
    template: str = "a photo of a {}."  # of the frozen text branch
    teacher: Literal["single", "ensemble"] = "single"  # that template, or open_clip's 80
    residual_lambda: float = 0.1
    # PromptSRC's mean over epochs: its weights' peak, as a share of the run, and their sd in epochs
    gaussian_epochs: tuple[float, float] | None = None
    optimiser: Literal["adamw", "sgd"] = "adamw"
    lr: float = 2e-3
    lr_floor: float = 0.05  # of lr
    lr_warm: float = 1e-5  # at first, see `warm_up`
    # For 10 % of the first epoch, as DroPLe's code has it; or for all of it, and the cosine starts
    # from the second, as Dassl has it.
    warm_up: Literal["tenth", "epoch"] = "tenth"
    cosine_epochs: int | None = None  # that the cosine spans; None: those that are run
    weight_decay: float = 5e-5
    epochs: int = 8
    batch: int = 16
    shots: int = 16
    seed: int = 1
    augment: Literal["none", "flip", "patch"] = "flip"
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        check_ranges(self, _RANGES)
        if self.gaussian_epochs is not None:
            if len(self.gaussian_epochs) != 2:
                raise SettingsError(f"gaussian_epochs is {self.gaussian_epochs}; expected two.")
            for name, value in zip(("peak", "sd"), self.gaussian_epochs, strict=True):
                check_number(f"gaussian_epochs' {name}", value, Range(1e-3, 1e6))
        if self.cosine_epochs is not None:
            check_number("cosine_epochs", self.cosine_epochs, Range(1, 1e6, whole=True))
        check_template(self.template)
        if self.precision not in PRECISIONS:
            raise SettingsError(
                f"precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}."
            )

    def learns(self) -> bool:
        return self.method != "zero-shot"


_RANGES = {
    **dict.fromkeys(("epochs", "batch", "shots"), Range(1, 1e6, whole=True)),
    **dict.fromkeys(("lr", "lr_warm", "weight_decay"), Range(0, 1e3)),
    **dict.fromkeys(("lr_floor", "residual_lambda"), SHARE),
    "bridge_tokens": COUNT,
    "seed": SEED,
}
_DROPLE = TrainConfig(dropout=OUR_DROPOUT)
_IVLP = replace(
    _DROPLE, method="ivlp", losses=CROSS_ENTROPY_ONLY, dropout=NO_DROPOUT,
    bridge_tokens=0, learn_logit_scale=False,
)  # fmt: skip
_COOP = replace(
    _IVLP,
    method="coop",
    plan=PromptPlan(image_count=0, image_depth=0, text_depth=1, phrase="{}.", positioned=True),
)
_MAPLE = PromptPlan(
    "coupled", image_count=2, image_depth=9, text_count=2, phrase="of a {}.", positioned=True
)
_MPL = PromptPlan(
    "modular", image_count=1, image_depth=9, text_count=1, phrase="a photo of a {}.",
    positioned=True,
)  # fmt: skip


def _drople(method: str, **changes: object) -> TrainConfig:
    return replace(_DROPLE, method=method, **changes)  # type: ignore[arg-type]


def _dropout(method: str, **changes: object) -> TrainConfig:
    return _drople(method, dropout=replace(_DROPLE.dropout, **changes))  # type: ignore[arg-type]


def _without(method: str, term: str) -> TrainConfig:
    return _drople(method, losses=replace(_DROPLE.losses, **{term: 0.0}))


METHODS: dict[str, TrainConfig] = {
    config.method: config
    for config in (
        replace(_IVLP, method="zero-shot"),
        _COOP,
        replace(_COOP, method="kgcoop", losses=replace(CROSS_ENTROPY_ONLY, knowledge=8.0)),
        replace(_IVLP, method="maple", plan=_MAPLE),
        _IVLP,
        replace(
            _IVLP,
            method="promptsrc",
            plan=PromptPlan(image_depth=9, phrase="{}.", positioned=True),
            losses=replace(CROSS_ENTROPY_ONLY, text_l1=25.0, image_l1=10.0, distillation=1.0),
            teacher="ensemble",
            gaussian_epochs=(0.75, 1.0),  # N(15, 1) in 20 epochs
        ),
        replace(_IVLP, method="mpl", plan=_MPL),
        _DROPLE,
        _dropout("drople-none", strategy="none"),
        _dropout("drople-vanilla", strategy="vanilla-matched"),
        _dropout("drople-self", strategy="self"),
        _dropout("drople-cls", strategy="cls"),
        _dropout("drople-cross", strategy="cross"),
        _dropout("drople-inverse", strategy="inverse"),
        _dropout("drople-rank", normalisation="rank"),
        _dropout("drople-robust", normalisation="robust"),
        _dropout("drople-zero", mode="zero"),
        _dropout("drople-zero-scaled", mode="zero_scaled"),
        _dropout("drople-noise", mode="noise"),
        _drople("drople-released-range", dropout=RELEASED_RANGE),
        _drople("drople-code", dropout=OFFICIAL_CODE),
        _drople("drople-lora", lora=LoraSettings(rank=8)),
        _without("drople-no-entropy", "residual_entropy"),
        replace(  # nothing trains a bridge there, so there is none, and no s_cross
            _without("drople-no-alignment", "alignment"),
            dropout=replace(OUR_DROPOUT, weights=SignalWeights(s_cross=0.0)),
            bridge_tokens=0,
        ),
        _drople("drople-paper-min", losses=PAPER_MIN),
    )
}
"""Every method by name. `drople-X` is DroPLe with one thing changed (METHOD.md 8)."""
