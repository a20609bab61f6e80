"""One button that saves the analysis itself: its numbers, a page, a figure and the words for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import gradio as gr

from app.calls import user_errors
from app.export.files import stem_of
from app.export.standalone import standalone_page
from app.figures.paper import FORMATS, figure_bytes, paper_figure
from app.overview.payload import Overview
from app.tabs.export import download, drawn_files, read_object, zipped
from app.tabs.shared import required, target_index
from app.wording.paper import caption
from drople.analysis import Analysis
from drople.paired_draws import DrawBatch
from drople.storage.analyses import analysis_bytes

INTRO = (
    "One ZIP with all of this analysis: the numbers (.npz, .json), the overview as a page that "
    "opens without network, its four panels (SVG, PNG), a figure for a paper (PDF, SVG) and the "
    "words for it."
)
README = """{stem}.npz   every number, setting, seed and weight hash; python -m drople replay FILE
                recomputes it, drople.load_analysis reads it
{stem}.json  what the overview shows, its draws included
{stem}.html  the overview with its draws; opens in a browser with no network
{stem}.pdf, {stem}.svg  a figure for a paper; words.txt holds its caption and a methods text
"""
PANELS = ("says", "matters", "dropped", "looks")
# Where the visitor looks, and the panels there, as the overview's renderer draws them.
LOOKED_AT = """async (analysis, draws) => {
    const [state, panels] = [window.lens?.state(), await window.lens?.pictures()]
    return [analysis, draws, JSON.stringify(state ?? {}), JSON.stringify(panels ?? {})]
}"""


def build(state: gr.State, draws: gr.State) -> None:
    """Lays the button out; what it saves shows the layer and class that the overview shows."""
    gr.Markdown(INTRO, elem_classes="lens-intro")
    with gr.Row():
        button = gr.Button("Save this analysis", elem_id="take-away", scale=0, min_width=220)
    looked, panels = gr.Textbox(visible="hidden"), gr.Textbox(visible="hidden")
    download(button, taken_away, [state, draws, looked, panels], js=LOOKED_AT)


def taken_away(
    analysis: Analysis | None,
    drawn: tuple[Overview, tuple[DrawBatch, ...]] | None,
    looked: str | None,
    panels: str | None,
) -> dict[str, str]:
    """All files of an analysis as one ZIP: its name and, in base64, its bytes.

    Args:
        drawn: the overview and its draws so far; None before any.
        looked: the overview's state as JSON, as the browser says it.
        panels: its panels as JSON, each as `drawn_files` takes it.
    """
    with user_errors():
        analysis = required(analysis)
        state = read_state(looked)
        wanted, shown = target_index(analysis, state.get("class")), analysis.maps.classes
        index = shown.index(wanted) if wanted in shown else 0  # only these have maps
        layers = len(analysis.images["frozen"].layers)
        depth = min(max(state.get("layer", 0), 0), layers - 1)
        stem = stem_of(analysis, shown[index], "drople-analysis")
        overview, batches = drawn or (Overview(analysis), ())
        draws = one_draw(overview.shown(batches), state.get("draw", 0))
        figure = paper_figure(analysis, draws, layer=depth, index=index)
        payload = overview.payload(batches)
        described = caption(analysis, draws, layer=depth, index=index)
        told = payload["sentences"]
        here = [" ".join(told[kind][depth : depth + 1]) for kind in ("dropped", "reason")]
        said = " ".join(filter(None, (told["answer"], *here)))
        words = "\n\n".join((described, said, payload["methods"]))
        first = state | {"layer": depth, "class": analysis.classes[shown[index]]}
        drawn_there = read_object(panels)
        pictures = {
            f"panel-{name}.{ending}": content
            for name in PANELS
            for ending, content in drawn_files(drawn_there.get(name))
        }
        readme = README.format(stem=stem)
        if pictures:
            readme += f"{', '.join(pictures)}  the panels of the overview, where you looked\n"
        files = {
            "README.txt": readme.encode(),
            f"{stem}.npz": analysis_bytes(analysis),
            f"{stem}.json": json.dumps(payload).encode(),
            f"{stem}.html": standalone_page(payload, first).encode(),
            "words.txt": words.encode(),
            **{f"{stem}.{kind}": figure_bytes(figure, kind) for kind in FORMATS},
            **pictures,
        }
        return zipped(stem, files)


def one_draw(draws: Sequence[DrawBatch], number: int) -> Sequence[DrawBatch]:
    """The draw of this number, from 1; all where there is none of it."""
    single = [one.part(slice(i, i + 1)) for one in draws for i in range(len(one.seeds))]
    return single[number - 1 : number] if 1 <= number <= len(single) else draws


def read_state(text: str | None) -> dict[str, Any]:
    """Layer (from 0), class and draw (from 1) of a state, where they are what they should be."""
    known, kinds = read_object(text), {"layer": int, "class": str, "draw": int}
    return {name: known[name] for name, kind in kinds.items() if type(known.get(name)) is kind}
