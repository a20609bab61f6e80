"""What the named endpoints are given: components whose refusal is a sentence with the field's name.

They are not the page's own, whose current values would stand in for what a call leaves out.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component

from app.inputs import SafeImage
from drople.errors import SettingsError
from drople.ranges import SEED, check_number


class AskedText(gr.Textbox):  # type: ignore[misc]  # gradio is not typed
    """A text; of names also a list of them. Its label names the field."""

    is_template = True  # the page then uses the built-in component

    def preprocess(self, payload: Any) -> str:
        if isinstance(payload, list) and all(isinstance(one, str) for one in payload):
            if any(set(one) & set(",;\n") for one in payload):
                raise _refused(self.label, "a name in the list has a comma or a line end.")
            return "\n".join(payload)
        if not isinstance(payload, str):
            raise _refused(self.label, f"expected a text, got {payload!r:.80}.")
        return payload


class AskedSeed(gr.Number):  # type: ignore[misc]  # gradio is not typed
    """A whole number from 0."""

    is_template = True

    def preprocess(self, payload: Any) -> int:
        whole = isinstance(payload, float) and payload.is_integer()
        number = int(payload) if whole else payload
        try:
            check_number(self.label, number, SEED)
        except SettingsError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return int(number)


def _refused(name: Any, why: str) -> gr.Error:
    return gr.Error(f"{name}: {why}", print_exception=False)


def asked_components(prompts: str) -> dict[str, Component]:
    """The fields by name, with the documented defaults; the picture and the classes have none.

    Args:
        prompts: the default ones.
    """
    return {
        "image": SafeImage(label="image", visible=False),
        "classes": AskedText(label="classes", visible=False),
        "backbone": AskedText("mini", label="backbone", visible=False),
        "prompts": AskedText(prompts, label="prompts", visible=False),
        "seed": AskedSeed(0, label="seed", visible=False),
    }
