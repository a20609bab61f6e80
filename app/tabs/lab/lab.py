"""Lab: the comparisons, each a tab of its own."""

from __future__ import annotations

import gradio as gr

from app.tabs.lab import duel
from app.tabs.lab.bench import Bench
from app.tabs.shared import View


def build(bench: Bench) -> list[View]:
    """Lays the tab out."""
    with gr.Tabs(elem_id="lab"):
        with gr.Tab("Duel", id="lab-duel"):
            views = duel.build(bench)
    return views
