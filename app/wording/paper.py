"""The words that belong under a figure in a paper: its caption, and a methods text."""

from __future__ import annotations

from collections.abc import Sequence

from app.figures.cams import mapped
from app.figures.paper import count_of, depth_of
from app.wording.sentences import inside
from drople.analysis import Analysis
from drople.gradcam import CAM_METHODS
from drople.paired_draws import DrawBatch, rate_setter
from drople.tokens.dropout import DROP_MODES


def caption(analysis: Analysis, draws: Sequence[DrawBatch], *, layer: int, index: int) -> str:
    """What a reader must know to read `paper_figure`, which takes the same."""
    maps, dropout, drops, applied = analysis.maps, analysis.settings.dropout, "", ""
    if draws:
        (a, b), count, depth = map(inside, draws[0].pair), count_of(draws), depth_of(draws)
        drops = f"; what {a} and {b} drop there"
        applied = f" Under dropout: {_told(draws)}"
        if count > 1:
            drops = (
                f"; p of {a} less p of {b} there, mean over the draws in which both could still "
                "drop the patch; in which share of the draws exactly one of them drops it, above "
                f"0 where more often {a} keeps it"
            )
            applied += (
                f"; p is their mean, and so is a map over the first {mapped(draws)}, patch by "
                "patch of those that did not drop it"
            )
        if layer >= depth:
            drops = f"; dropout acts after the first {depth} layers only"
        elif layer and DROP_MODES[dropout.mode].hides:
            drops += "; dark grey: hidden by earlier layers" + " in every draw" * (count > 1)
        applied += (
            ". Hatched: dropped. Dropout is applied now, to fixed weights; it is not how models "
            "trained with each dropout differ."
        )
    return (
        "Top: the photograph as the model sees it; token importance of the "
        f"{analysis.branch} branch after layer {layer + 1}, in multiples of an even share, on the "
        "overview's scale: one for all layers, cut at Q3 + 3 (Q3 − Q1) but not below 2"
        f"{drops}. Bottom: {CAM_METHODS[maps.method].label} of the cosine with "
        f"“{analysis.classes[maps.classes[index]]}” at the input of block {maps.layer + 1}, all on "
        "one colour scale; p is the probability of that class among "
        f"{len(analysis.classes)} classes.{applied}"
    )


def _told(draws: Sequence[DrawBatch]) -> str:
    """How many there are, and their seeds."""
    count, first, last = count_of(draws), draws[0].seeds[0], draws[-1].seeds[-1]
    return f"one draw (seed {first})" if count == 1 else f"{count} draws (seeds {first} to {last})"


def methods_text(analysis: Analysis, draws: Sequence[DrawBatch] = ()) -> str:
    """How an analysis and its draws were made, for the methods section of a paper."""
    known, settings, dropout = analysis.provenance, analysis.settings, analysis.settings.dropout
    lines = [
        f"We used the frozen CLIP {known['backbone']} (weights {known['backbone_hash']}) through "
        f"open_clip {known['open_clip']}, PyTorch {known['torch']} and DroPLe Lens "
        f"{known['drople']} on {known['device']}. Images were resized and cropped to "
        f"{analysis.pixels.shape[0]} pixels. The frozen branch read the classes as "
        f"“{settings.template}”; the classes were {', '.join(analysis.classes)}."
    ]
    if analysis.adapted:
        lines.append(
            f"The adapted branch carried the prompts {known['prompts']} (weights "
            f"{known['prompts_hash']})."
        )
    method = CAM_METHODS[analysis.maps.method]
    lines.append(
        f"Class activation maps are {method.label} of the cosine between image and class features "
        f"at the input of block {analysis.maps.layer + 1}."
    )
    if draws:
        pair, with_maps = draws[0].pair, mapped(draws)
        signals = analysis.images[analysis.branch].layers[0].shares
        weights = [f"{name} {w:g}" for name, w in vars(dropout.weights).items() if name in signals]
        rate = "each at its own rate"
        if settings.matched and "none" not in pair:
            rate = f"both at the mean rate of {inside(rate_setter(pair))}, layer by layer"
        elif "vanilla" in pair:
            rate += f", vanilla dropout at p = {dropout.p:g}"
        lines.append(
            f"We made {_told(draws)} of {' and '.join(map(inside, pair))} on the {analysis.branch} "
            f"branch, {rate}, after each of the first {depth_of(draws)} layers of the image tower"
            + (" and on the text prompts" if settings.drop_text else "")
            + f", mode {dropout.mode}, placement {dropout.placement}, importance-weighted p from "
            f"{dropout.p_min:g} to {dropout.p_max:g} with {dropout.normalisation} normalisation "
            f"and signal weights {', '.join(weights)}. The two of a draw share one uniform number "
            "a token and layer."
            + f" Maps under dropout are means over the first {with_maps} draws, patch by patch of "
            "those that did not drop it." * (with_maps > 1)
        )
    return "\n\n".join(lines) + "\n"
