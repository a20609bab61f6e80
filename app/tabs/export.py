"""One button a tab that saves all it shows: pictures as PNG and SVG, tables as CSV, in a ZIP."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import gradio as gr
import numpy as np
from gradio.components import Component

from app.calls import user_errors
from app.export.files import Bar, archive, as_csv, as_png, as_svg, read_bars, read_cells, stem_of
from app.tabs.shared import QUIET, View, required, target_index
from app.wording.sentences import provenance_line
from drople.analysis import Analysis
from drople.errors import SettingsError


def savable(
    name: str, views: list[View], state: gr.State, *, target: gr.Dropdown, dropout: bool = True
) -> list[View]:
    """The same views, with the button under them.

    Args:
        name: what the archive is called.
        dropout: whether what they show ran with dropout.
    """
    button = gr.Button(
        "Save pictures and tables (PNG, SVG, CSV)", size="sm", elem_classes="lens-save",
        elem_id=f"save-{re.sub(r'[^a-z]+', '-', name.lower())}",
    )  # fmt: skip
    plots = gr.Textbox(visible="hidden")
    own = [part for view in views for part in view.own]
    asked = [plots, state, target, *own]
    ids = [one.elem_id for view in views for one in view.outputs if isinstance(one, gr.Plot)]
    js = f"(...values) => handOver({json.dumps(ids)}, values.slice(0, {len(asked)}))"
    download(button, partial(saved, name, tuple(views), dropout), asked, js=js)
    return views


def download(
    button: gr.Button, make: Callable[..., dict[str, str]], asked: list[Any], *, js: Any = None
) -> None:
    """Lets the browser keep the `zipped` files that `make` makes of what is asked."""
    packed = gr.JSON(visible="hidden")
    quiet = {**QUIET, "trigger_mode": "once"}
    made = button.click(make, asked, packed, js=js, **quiet)
    # Emptied again: a session keeps its last outputs.
    made.success(None, packed, None, js="file => keepZip(file)", api_visibility="private").then(
        lambda: None, None, packed, **quiet
    )


def zipped(stem: str, files: dict[str, bytes]) -> dict[str, str]:
    """Files as one ZIP: its name and, in base64, its bytes."""
    return {"name": f"{stem}.zip", "data": base64.b64encode(archive(files)).decode()}


def saved(
    name: str,
    views: Sequence[View],
    dropout: bool,
    plots: str | None,
    analysis: Analysis | None,
    target: str | None,
    *values: Any,
) -> dict[str, str]:
    """All that a tab shows as one ZIP: its name and, in base64, its bytes."""
    with user_errors():
        analysis = required(analysis)
        index = target_index(analysis, target)
        source = provenance_line(analysis, 0 if dropout else None)
        files: dict[str, bytes] = {}
        notes: dict[str, None] = {}  # in order, each once
        rest = iter(values)
        for view in views:
            drawn = view.parts(view.drawn(analysis, target, *islice(rest, len(view.own))))
            shown = _Shown([*zip(view.outputs, map(_value, drawn), strict=True)])
            notes |= dict.fromkeys([*(bar.line for bar in shown.bars), *shown.notes])
            for what, ending, content in _files(
                analysis, index, shown, plots=read_object(plots), source=source
            ):
                files[f"{stem_of(analysis, index, what)}.{ending}"] = content
        if not files:
            raise SettingsError("There is nothing to save here yet: compute it first.")
        whole = stem_of(analysis, index, f"drople-{name}")
        files[f"{whole}.txt"] = "\n\n".join([*notes, source]).encode()
        return zipped(whole, files)


@dataclass(frozen=True)
class _Shown:
    """A view as drawn, and what stands beside its pictures."""

    pairs: list[tuple[Any, Any]]  # each output with its value

    @property
    def bars(self) -> list[Bar]:
        html = [value for one, value in self.pairs if isinstance(one, gr.HTML) and value]
        return [bar for one in html for bar in read_bars(one)]

    @property
    def notes(self) -> list[str]:
        said = [value for one, value in self.pairs if isinstance(one, gr.Markdown) and value]
        return [re.sub(r"\\(.)", r"\1", one) for one in said]  # see `plain_text`


def read_object(sent: str | None) -> dict[str, Any]:
    """A JSON object that the browser sent; empty where it is none."""
    try:
        found = json.loads(sent or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _files(
    analysis: Analysis,
    target: int,
    shown: _Shown,
    *,
    plots: dict[str, dict[str, str]],
    source: str,
) -> Iterator[tuple[str, str, bytes]]:
    """What, file ending and content of each picture and table of a view."""
    notes = [*shown.notes, source]
    for one, value in shown.pairs:
        what = one.elem_id or "unnamed"
        if isinstance(one, gr.Image) and isinstance(value, np.ndarray):
            title = f"{one.label}: {analysis.classes[target]}"
            yield what, "png", as_png(value)
            yield what, "svg", as_svg(value, title, shown.bars, notes=notes).encode()
        elif isinstance(one, gr.Dataframe) and value["data"]:
            yield what, "csv", as_csv(value["headers"], value["data"]).encode()
        elif isinstance(one, gr.HTML) and (cells := read_cells(value or "")):
            yield what, "csv", as_csv((), cells).encode()
        elif isinstance(one, gr.Plot) and value is not None and what in plots:
            for ending, content in drawn_files(plots[what]):
                yield what, ending, content


def _value(shown: Any) -> Any:
    """What a callback gives to a component: the value itself, or a change that carries it."""
    return shown.constructor_args.get("value") if isinstance(shown, Component) else shown


def drawn_files(handed: Any) -> Iterator[tuple[str, bytes]]:
    """Ending and content of what the browser drew, its svg as text and its png in base64.

    What it did not send as text is left out. It goes back to its own visitor alone.
    """
    try:
        yield "svg", str(handed["svg"]).encode()
        yield "png", base64.b64decode(handed["png"], validate=True)
    except (KeyError, TypeError, binascii.Error):
        return
