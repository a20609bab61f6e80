"""What the lab's views cost with the settings the page starts with: python -m tests.benchmarks.lab.

Calls what each view's button calls, on the first example with the first shipped prompts, and prints
the seconds to the first output and to the last (targets: 2 and 30).
"""

from __future__ import annotations

import os
import time

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
        inputs = [*fn.inputs]
        if fn.concurrency_id != "model" or not isinstance(inputs[0], gr.State):
            continue
        # The state is the analysis; every other input is as the page starts.
        given = [_start(one, name) for one in inputs[1:]]
        began = time.perf_counter()
        steps = fn.fn(gr.Progress(), analysis, *given)
        next(steps)
        first = time.perf_counter() - began
        for _ in steps:
            pass
        whole = time.perf_counter() - began
        label = next(one.elem_id for one in fn.outputs if one.elem_id)
        print(f"  {label:24s} {first:6.1f} {whole:6.1f}", flush=True)


def _start(component: gr.components.Component, prompts: str) -> object:
    """The value a component starts with; the class looked at is the answer."""
    return prompts if component.elem_id == "prompts" else component.value


if __name__ == "__main__":
    main()
