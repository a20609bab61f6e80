"""The words that belong under a figure in a paper: its caption, and a methods text."""

from __future__ import annotations

from app.figures.theme import CONDITION_NAMES
from drople.analysis import Analysis
from drople.gradcam import CAM_METHODS
from drople.tokens.importance import SIGNALS


def caption(analysis: Analysis, layer: int, index: int) -> str:
    """What a reader must know to read `paper_figure`."""
    maps, hiding = analysis.maps, analysis.conditions[2:]
    drawn = applied = ""
    if analysis.adapted:
        drawn = (
            "; the patches that each dropout drops there in one draw (seed "
            f"{analysis.settings.seed})"
        )
        if any(analysis.images[c].layers[layer].hidden_patches().any() for c in hiding):
            drawn += "; dark grey: hidden by earlier layers"
        applied = (
            " Dropout is applied now, to fixed weights; it is not how models trained with each "
            "dropout differ."
        )
    return (
        "Top: the photograph as the model sees it; token importance of the "
        f"{analysis.branch} branch after layer {layer + 1}, in multiples of an even share"
        f"{drawn}. Bottom: {CAM_METHODS[maps.method].label} of the cosine with "
        f"“{analysis.classes[maps.classes[index]]}” at the input of block {maps.layer + 1}, all on "
        "one colour scale; p is the probability of that class among "
        f"{len(analysis.classes)} classes.{applied}"
    )


def methods_text(analysis: Analysis) -> str:
    """How an analysis was made, from its settings, for the methods section of a paper."""
    known, settings, dropout = analysis.provenance, analysis.settings, analysis.settings.dropout
    lines = [
        f"We used the frozen CLIP {known['backbone']} (weights {known['backbone_hash']}) through "
        f"open_clip {known['open_clip']}, PyTorch {known['torch']} and DroPLe Lens "
        f"{known['drople']} on {known['device']}. Images were resized and cropped to "
        f"{analysis.pixels.shape[0]} pixels. The frozen branch read the classes as "
        f"“{settings.template}”; the classes were {', '.join(analysis.classes)}."
    ]
    if analysis.adapted:
        strategies = ", ".join(CONDITION_NAMES[name] for name in analysis.conditions[2:])
        rate = (
            "vanilla dropout at IWTD's mean rate, layer by layer"
            if settings.matched
            else f"vanilla dropout at p = {dropout.p:g}"
        )
        lines.append(
            f"The adapted branch carried the prompts {known['prompts']} (weights "
            f"{known['prompts_hash']}). The dropouts of the one draw were {strategies}, after "
            f"each of the first {dropout.image_depth} layers of the image tower"
            + (" and on the text prompts" if settings.drop_text else "")
            + f", mode {dropout.mode}, placement {dropout.placement}, IWTD's p from "
            f"{dropout.p_min:g} to {dropout.p_max:g} with {dropout.normalisation} normalisation "
            f"and signal weights {', '.join(f'{w:g}' for w in vars(dropout.weights).values())} "
            f"({', '.join(SIGNALS)}); {rate}. Both shared one "
            f"uniform number a token and layer (seed {settings.seed})."
        )
    method = CAM_METHODS[analysis.maps.method]
    lines.append(
        f"Class activation maps are {method.label} of the cosine between image and class features "
        f"at the input of block {analysis.maps.layer + 1}."
    )
    return "\n\n".join(lines) + "\n"
