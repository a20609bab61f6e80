"""What the named endpoints are given: components whose refusal is a sentence with the field's name.

They are not the page's own, whose current values would stand in for what a call leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from gradio.components import Component
from PIL import Image

from app.inputs import SafeImage
from drople.classes import parse_class_list
from drople.errors import DropleError
from drople.ranges import SEED, check_number


class AskedImage(SafeImage):
    """A picture, which has no default."""

    is_template = True  # the page then uses the built-in component

    def accept(self, value: Any) -> Any:
        with _named(self.label):
            if value is None:
                raise gr.Error("There is no picture yet. Send one as a file.")
            return super().accept(value)

    def preprocess(self, payload: Any) -> Image.Image | None:
        with _named(self.label):
            return super().preprocess(payload)


class AskedText(gr.Textbox):  # type: ignore[misc]  # gradio is not typed
    """A text."""

    is_template = True

    def accept(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        raise _refused(self.label, f"expected a text, got {value!r:.80}.")


class AskedClasses(AskedText):
    """Names as one text or as a list."""

    is_template = True

    def accept(self, value: Any) -> str:
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            if any(set(one) & set(",;\n") for one in value):
                raise _refused(self.label, "a name in the list has a comma or a line end.")
            value = "\n".join(value)
        with _named(self.label):
            parse_class_list(text := super().accept(value))
        return text


class AskedSeed(gr.Number):  # type: ignore[misc]  # gradio is not typed
    """A whole number from 0."""

    is_template = True

    def accept(self, value: Any) -> int:
        whole = isinstance(value, float) and value.is_integer()
        number = int(value) if whole else value
        with _named(self.label):
            check_number(self.label, number, SEED)
        return int(number)


class StrictBlocks(gr.Blocks):  # type: ignore[misc]  # gradio is not typed
    """Blocks that fill in what a call leaves out, and refuse in words what Gradio would without."""

    def validate_inputs(self, block_fn: Any, inputs: list[Any]) -> None:
        fields = block_fn.inputs
        for field in fields[len(inputs) :]:
            if not isinstance(field, AskedImage | AskedText | AskedSeed):
                raise gr.Error("Fewer values came than the page sends. Reload it.")
            inputs.append(field.value)
        for at, (field, value) in enumerate(zip(fields, inputs, strict=False)):
            if isinstance(field, SafeImage | AskedText | AskedSeed):
                inputs[at] = field.accept(value)


@contextmanager
def _named(field: str) -> Iterator[None]:
    """Puts the name of a field before what is wrong with it."""
    try:
        yield
    except DropleError as error:
        raise _refused(field, str(error)) from None
    except gr.Error as error:
        raise _refused(field, error.message) from None


def _refused(field: str, why: str) -> gr.Error:
    named = why if why.startswith(field) else f"{field}: {why}"
    return gr.Error(named, print_exception=False)


def asked_components(backbone: str, prompts: str) -> dict[str, Component]:
    """The fields by name, with the documented defaults; the picture and the classes have none.

    Args:
        backbone: the default one, as `prompts` are.
    """
    return {
        "image": AskedImage(label="image", visible=False),
        "classes": AskedClasses(label="classes", visible=False),
        "backbone": AskedText(backbone, label="backbone", visible=False),
        "prompts": AskedText(prompts, label="prompts", visible=False),
        "seed": AskedSeed(0, label="seed", precision=0, visible=False),
    }
