"""What a visitor asks in the lab, and a result with the question it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

from PIL import Image

from app.studio import Loaded, Studio
from drople.analysis import Analysis, AnalysisSettings, same_question
from drople.class_texts import ClassTexts
from drople.errors import SettingsError
from drople.models.prompted_clip import PromptedClip

T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """What a view computes about: a class of an analysis, and the model that made it."""

    studio: Studio
    analysis: Analysis
    target: int  # index of the class looked at
    backbone: str  # as the form names it now
    prompts: str

    @cached_property
    def loaded(self) -> Loaded:
        """The model the analysis was made with.

        Raises:
            SettingsError: the form names another model by now.
            BackboneError, CheckpointError: see `Studio.load`.
        """
        loaded = self.studio.load(self.backbone, self.prompts)
        if not loaded.made(self.analysis):
            raise SettingsError(
                "The backbone or the prompts in the form are no longer those of this analysis. "
                "Press Analyse first."
            )
        return loaded

    @property
    def prompted(self) -> PromptedClip:
        """The model of an analysis with trained prompts."""
        assert isinstance(self.loaded.model, PromptedClip)
        return self.loaded.model

    @cached_property
    def texts(self) -> ClassTexts:
        """The classes, described by this model."""
        settings = self.analysis.settings
        return self.studio.texts(self.loaded, self.analysis.classes, settings.template)

    def again(self, settings: AnalysisSettings) -> Analysis:
        """The same picture and classes with other settings."""
        image = Image.fromarray(self.analysis.pixels)
        return self.studio.analyse(self.loaded, image, self.analysis.classes, settings)

    def mapped(self) -> Analysis:
        """The analysis, worked out again where it holds no map of the class looked at."""
        if self.target in self.analysis.maps.classes:
            return self.analysis
        name = self.analysis.classes[self.target]
        return self.again(replace(self.analysis.settings, target=name))


@dataclass(frozen=True)
class Result(Generic[T]):
    """A result, complete or so far, and the question it answers."""

    analysis: Analysis
    target: int | None  # index of the class it is about; None where it is about all
    value: T
    controls: tuple[Any, ...] = ()  # values of the controls that are part of the question
    done: bool = False

    def answers(
        self,
        analysis: Analysis,
        target: int,
        *,
        controls: tuple[Any, ...] = (),
        same: Callable[[Analysis, Analysis], bool] = same_question,
    ) -> bool:
        """Whether this is the answer to a question asked now."""
        return (
            self.target in (None, target)
            and self.controls == controls
            and same(self.analysis, analysis)
        )
