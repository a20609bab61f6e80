"""One button that saves the analysis itself: its numbers, a page, a figure and the words for it."""

from __future__ import annotations

import gradio as gr

from app.calls import user_errors
from app.export.files import stem_of
from app.export.standalone import standalone_page
from app.figures.paper import FORMATS, figure_bytes, paper_figure
from app.tabs.export import download, zipped
from app.tabs.shared import View, required, target_index
from app.wording.paper import caption, methods_text
from drople.analysis import Analysis
from drople.storage.analyses import analysis_bytes

README = """{stem}.npz   every number, setting, seed and weight hash; python -m drople replay FILE
                recomputes it, drople.load_analysis reads it
{stem}.html  the pictures with their numbers; opens in a browser with no network
{stem}.pdf, {stem}.svg  a figure for a paper; words.txt holds its caption and a methods text
"""


def build(state: gr.State, target: gr.Dropdown, views: list[View]) -> None:
    """Lays the button out; its figure shows the layer chosen on the tab of token importance."""
    (layer,) = {one for view in views for one in view.controls if one.elem_id == "layer"}
    button = gr.Button(
        "Save this analysis (numbers, page, figure, words)", size="sm", elem_id="take-away",
        elem_classes="lens-save",
    )  # fmt: skip
    download(button, taken_away, [state, target, layer])


def taken_away(analysis: Analysis | None, target: str | None, layer: float) -> dict[str, str]:
    """All files of an analysis as one ZIP: its name and, in base64, its bytes."""
    with user_errors():
        analysis = required(analysis)
        wanted, shown = target_index(analysis, target), analysis.maps.classes
        index = shown.index(wanted) if wanted in shown else 0  # only these have maps
        depth = min(int(layer), len(analysis.images["frozen"].layers)) - 1
        stem = stem_of(analysis, shown[index], "drople-analysis")
        figure = paper_figure(analysis, depth, index)
        words = f"{caption(analysis, depth, index)}\n\n{methods_text(analysis)}"
        files = {
            "README.txt": README.format(stem=stem).encode(),
            f"{stem}.npz": analysis_bytes(analysis),
            f"{stem}.html": standalone_page(analysis, depth, index).encode(),
            "words.txt": words.encode(),
            **{f"{stem}.{kind}": figure_bytes(figure, kind) for kind in FORMATS},
        }
        return zipped(stem, files)
