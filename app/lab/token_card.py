"""Token card: why one token is kept or dropped, as a sum a reader can check."""

from __future__ import annotations

from typing import Any, Literal

import gradio as gr

from app.figures.token_card import chosen_patch, grid_of, patch_at
from app.glossary import intro
from app.lab.bench import NO_DROPOUT_HERE, Bench, numbers, table_of
from app.markdown import plain_text
from app.tabs.shared import QUIET, View, picture
from app.wording.sentences import stem_sentence
from app.wording.token_card import HEADERS, card_rows, card_sentence
from drople.analysis import Analysis
from drople.branches import ADAPTED
from drople.lab.token_card import token_card
from drople.tokens.layout import patch_row

INTRO = (
    "Click a patch, or choose a token: its signals, what they add up to, how likely that makes a "
    "drop under IWTD, and what the draw decided, layer by layer."
)
PATCH, PROMPT, TEXT = "patch", "prompt among the patches", "text of the class looked at"


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row():
        with gr.Column(scale=2, min_width=260):
            photo = picture("Click a patch", "card-photo")
        with gr.Column(scale=3, min_width=260):
            kind = gr.Radio([PATCH, PROMPT, TEXT], value=PATCH, label="Token", elem_id="card-kind")
            with gr.Row():
                row = gr.Slider(1, 14, 7, step=1, label="Row", elem_id="card-row", min_width=120)
                column = gr.Slider(
                    1, 14, 7, step=1, label="Column", elem_id="card-column", min_width=120
                )
            word = gr.Dropdown(
                [("–", 0)], value=0, label="Prompt or text token", elem_id="card-word",
                interactive=True, filterable=False,
            )  # fmt: skip
            said = gr.Markdown(elem_id="card-note", elem_classes="lens-note")
    table = numbers("card-table", HEADERS, (65, 220, 160, 150, 110, 75, 110))
    photo.select(chosen, bench.state, [kind, row, column], **{**QUIET, "trigger_mode": "once"})
    return [
        View(draw, [kind, row, column, word], [photo, said, table]),
        View(draw_choices, [kind], [row, column, word]),
    ]


def chosen(analysis: Analysis | None, event: gr.SelectData) -> tuple[Any, Any, Any]:
    """The patch that was clicked."""
    if analysis is None:
        return gr.skip(), gr.skip(), gr.skip()
    row, column = patch_at(event.index[0], event.index[1], grid_of(analysis))
    return PATCH, row + 1, column + 1


def tokens_of(analysis: Analysis, kind: str, target: int) -> list[tuple[str, int]]:
    """The tokens to choose from, by name, with their place in the sequence."""
    if kind == TEXT:
        words = analysis.texts[ADAPTED].words[target]
        return [(f"{i}: {word}", i) for i, word in enumerate(words)]
    start, stop = analysis.images["iwtd"].layers[0].prompts
    return [(f"P{i - start + 1}", i) for i in range(start, stop)]


def draw_choices(analysis: Analysis, target: int, kind: str) -> tuple[Any, Any, Any]:
    """The sliders' reach and the tokens there are."""
    rows, columns = grid_of(analysis)
    sliders = [gr.Slider(maximum=n, interactive=kind == PATCH) for n in (rows, columns)]
    tokens = tokens_of(analysis, kind, target) if analysis.adapted and kind != PATCH else []
    first = min(1, len(tokens) - 1) if kind == TEXT else 0
    value = tokens[first][1] if tokens else 0
    named = gr.Dropdown(tokens or [("–", 0)], value=value, interactive=bool(tokens))
    return sliders[0], sliders[1], named


def draw(
    analysis: Analysis, target: int, kind: str, row: float, column: float, word: int | None
) -> tuple[Any, str, dict[str, Any]]:
    """The photograph with the patch, the verdict in words, and the sums."""
    if not analysis.adapted:
        return None, NO_DROPOUT_HERE, table_of(HEADERS)
    rows, columns = grid_of(analysis)
    at = min(int(row), rows) - 1, min(int(column), columns) - 1
    if kind == PATCH:
        name, token = (
            f"the patch at row {at[0] + 1}, column {at[1] + 1}",
            patch_row((rows, columns), *at),
        )
    else:
        known = {place: label for label, place in tokens_of(analysis, kind, target)}
        if not known:
            return gr.skip(), "These prompts add no tokens to the patches.", table_of(HEADERS)
        token = word if word in known else min(known)
        name = f"“{known[token]}”" if kind == TEXT else f"prompt {known[token]}"
    branch: Literal["image", "text"] = "text" if kind == TEXT else "image"
    steps = token_card(analysis, branch, token, row=target if kind == TEXT else 0)
    dropout = analysis.settings.dropout
    minmax = dropout.normalisation in ("minmax", "minmax_eligible")
    data = card_rows(steps, dropout.p_min, dropout.p_max, minmax)
    sentence = card_sentence(name, steps, analysis.settings.seed, text=kind == TEXT)
    if kind == PATCH:
        sentence = f"{sentence} {stem_sentence(analysis)}".strip()
    photo = chosen_patch(analysis, *at) if kind == PATCH else gr.skip()
    shown = gr.Image(photo, alt_text=sentence) if kind == PATCH else photo
    return shown, plain_text(sentence), table_of(HEADERS, data)
