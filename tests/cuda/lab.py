"""What the lab and the command line compute besides analyses, on both devices."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from drople import AnalysisSettings, PromptedClip
from drople.class_texts import ClassTexts
from drople.explain import explain
from drople.lab.attention_maps import attention_layers
from drople.lab.branch import Branch, run_branches
from drople.lab.direct_path import explain_difference
from drople.lab.modes import mode_effect
from drople.lab.rate_curve import run_rates
from drople.lab.sanity import with_blocks_randomised
from drople.lab.sinks import find_sinks
from drople.lab.uncertainty import run_draws
from tests.cuda.pairs import RELATIVE, Pair, Row, apart, failed, photographs


def lab(pair: Pair) -> Iterator[Row]:
    """What the lab and the command line compute besides analyses."""
    image = pair.images[0]
    settings = AnalysisSettings()

    def path(model: PromptedClip, texts: ClassTexts) -> object:
        return explain_difference(model, run_branches(model, image), texts, target=0, against=1)

    def many(model: PromptedClip, texts: ClassTexts) -> object:
        plain = Branch.of(model, texts).answers(image[None])
        found = last_of(
            run_draws(
                model, image, texts, settings=settings,
                target=0, plain=int(plain.cosines[0].argmax()), most=2, width=0.1,
            )
        )  # fmt: skip
        return {name: (one.probabilities, one.cam.mean) for name, one in found.items()}

    def rates(model: PromptedClip, texts: ClassTexts) -> object:
        _, curves = next(
            islice(run_rates(model, image, texts, settings=settings, target=0, draws=1), 1, None)
        )
        return {f"{k}": (p.cosine, p.kept) for k, p in curves.points.items()}

    def modes(model: PromptedClip, texts: ClassTexts) -> object:
        found = mode_effect(model, image, texts, settings=settings, target=0, mode="hide")
        return [one.probability for one in found]

    def sinks(model: PromptedClip, texts: ClassTexts) -> object:
        found = find_sinks(model, image)
        return {k: [(one.norms, one.received) for one in v] for k, v in found.items()}

    def attention(model: PromptedClip, texts: ClassTexts) -> object:
        found = attention_layers(model, image)
        return {k: [one.rollout for one in v] for k, v in found.items()}

    def redrawn(model: PromptedClip, texts: ClassTexts) -> object:
        # A little of the tower only: each layer drawn anew multiplies what rounding began.
        return Branch.of(with_blocks_randomised(model, 1, seed=0), texts).answers(image[None])

    def attacked(model: PromptedClip, texts: ClassTexts) -> object:
        branch = Branch.of(model, texts)
        # Where a gradient is near zero its sign may differ, so the answers alone are compared.
        moved = branch.attacked(image, 0, 1 / 255)
        return float(np.abs(moved.astype(int) - image).max())

    def table(model: PromptedClip, texts: ClassTexts) -> object:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for i, one in enumerate(photographs()):
                one.save(folder / f"{i}.png")
            rows = explain(
                model,
                folder,
                sorted(folder.iterdir()),
                classes=texts,
                settings=settings,
                draws=2,
                batch=2,
            )
            return [one for part in rows for one in part]

    views = {
        "direct path": path, "many draws": many, "rate curve": rates, "modes": modes,
        "sinks": sinks, "attention rollout": attention, "sanity check": redrawn,
        "attack": attacked, "explain a folder": table,
    }  # fmt: skip
    for name, view in views.items():
        label = f"{name}, {pair.name}"
        try:
            cpu, other = (
                view(model, texts)
                for model, texts in zip((pair.cpu, pair.other), pair.texts, strict=True)
            )
            far = apart(cpu, other)
            yield Row(label, "fp32", f"{far:.1e}", f"{RELATIVE:.1e}", far <= RELATIVE)
        except Exception as error:
            yield failed(label, "fp32", error)


def last_of(values: Iterator[Any]) -> Any:
    """The last of an iterator."""
    return [*values][-1]
