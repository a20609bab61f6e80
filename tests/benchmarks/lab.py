"""What the lab's views cost with the settings the page starts with: python -m tests.benchmarks.lab.

Calls what each view's button calls, on the first example with the first shipped prompts, and prints
the seconds to the first output and to the last (targets: 2 and 30).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import gradio as gr
import torch
from PIL import Image

from app.demo import build_demo
from app.examples import EXAMPLES
from app.studio import Studio
from drople.analysis import AnalysisSettings
from drople.classes import parse_class_list


def main() -> None:
    studio = Studio("cpu")
    _, name = studio.start
    loaded = studio.load("mini", name)
    assert loaded.card is not None
    example = EXAMPLES[0]
    analysis = studio.analyse(
        loaded,
        Image.open(example.photo).convert("RGB"),
        parse_class_list(example.classes),
        AnalysisSettings(dropout=loaded.card.dropout),
    )
    print(f"torch {torch.__version__}, CPU, {torch.get_num_threads()} threads, ", end="")
    print(f"load {os.getloadavg()[0]:.1f}; seconds to the first output, to the last")
    for fn in build_demo(studio).fns.values():
        if fn.concurrency_id != "model" or not isinstance(next(iter(fn.inputs), None), gr.State):
            continue
        # The state given first is the analysis; every other input is as the page starts.
        given = [analysis, *(_start(one, name) for one in fn.inputs[1:])]
        began = time.perf_counter()
        found = fn.fn(*given)
        first = None
        if isinstance(found, Iterator):
            for shown in found:
                if first is None and any(one is not gr.skip() for one in shown):
                    first = time.perf_counter() - began
        whole = time.perf_counter() - began
        label = next((one.elem_id for one in fn.outputs if one.elem_id), "a state")
        print(f"  {label:24s} {first or whole:6.1f} {whole:6.1f}", flush=True)


def _start(component: gr.components.Component, prompts: str) -> object:
    """The value a component starts with; the class looked at is the answer."""
    return prompts if component.elem_id == "prompts" else component.value


if __name__ == "__main__":
    main()
