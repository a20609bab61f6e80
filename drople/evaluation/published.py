"""Numbers that others published for ViT-B/16, copied with their source (METHOD.md 9)."""

from __future__ import annotations

UNKNOWN = "not found"
_UPROMPT = "UPrompt's Table 1"
AVERAGES = (
    # method, base, novel, harmonic mean, source; base-to-novel over 11 data sets, 16 shots
    ("CLIP", "69.34", "74.22", "71.70", "PromptSRC's README"),
    ("CoOp", "82.69", "63.22", "71.66", "PromptSRC's README"),
    ("CoCoOp", "80.47", "71.69", "75.83", "PromptSRC's README"),
    ("ProDA", "81.56", "75.83", "76.65", "PromptSRC's README (as printed; its parts give 78.59)"),
    ("MaPLe", "82.28", "75.14", "78.55", "PromptSRC's README"),
    ("IVLP", "84.21", "71.79", "77.51", "PromptSRC's README"),
    ("PromptSRC", "84.26", "76.10", "79.97", "PromptSRC's README"),
    ("KgCoOp", UNKNOWN, UNKNOWN, "77.00", "DroPLe's 82.10 less its abstract's +5.10"),
    ("DroPLe", UNKNOWN, UNKNOWN, "82.10", "PromptSRC's 79.97 plus DroPLe's abstract's +2.13"),
    ("UPrompt", "86.35", "78.29", "82.12", "UPrompt, the same group's successor"),
)


def _row(method: str, figures: str, note: str = "") -> tuple[str, str, str, str, str]:
    base, novel, harmonic = figures.split("/")
    return method, base, novel, harmonic, _UPROMPT + note


def _of(coop: str, promptsrc: str, uprompt: str, *, note: str = "") -> tuple[tuple[str, ...], ...]:
    return _row("CoOp", coop, note), _row("PromptSRC", promptsrc), _row("UPrompt", uprompt)


BASE_TO_NOVEL = {  # method, base, novel, harmonic mean, source
    "imagenet": _of("76.47/67.88/71.92", "77.60/70.73/74.01", "78.65/71.24/74.76"),
    "caltech101": _of(
        "96.00/89.81/93.73", "98.10/94.03/96.02", "98.78/95.84/97.29",
        note=" (as printed; its parts give 92.80)",
    ),
    "oxford_pets": _of("93.67/95.29/94.47", "95.33/97.30/96.30", "96.41/97.92/97.16"),
    "stanford_cars": _of("78.12/60.40/68.13", "78.27/74.97/76.58", "83.58/74.57/78.82"),
    "flowers102": _of("97.60/59.67/74.06", "98.07/76.50/85.95", "98.54/78.43/87.34"),
    "food101": _of("88.33/82.26/85.19", "90.67/91.53/91.10", "91.20/92.16/91.68"),
    "fgvc_aircraft": _of("40.44/22.30/28.75", "42.73/37.87/40.15", "49.33/39.25/43.72"),
    "sun397": _of("80.60/65.89/72.51", "82.67/78.47/80.52", "83.77/80.05/81.87"),
    "dtd": _of("79.44/41.18/54.24", "83.37/62.97/71.75", "85.60/67.23/75.31"),
    "eurosat": _of(
        "93.19/54.74/68.69", "92.90/73.90/82.32", "94.82/82.68/88.33",
        note=" (as printed; its parts give 68.97)",
    ),
    "ucf101": _of("84.69/56.05/67.46", "87.10/78.80/82.74", "89.21/81.83/85.36"),
}  # fmt: skip
"""Base-to-novel by data set."""
CALTECH101 = BASE_TO_NOVEL["caltech101"]

ACROSS_ORDER = (
    "caltech101", "oxford_pets", "stanford_cars", "flowers102", "food101", "fgvc_aircraft",
    "sun397", "dtd", "eurosat", "ucf101",
)  # fmt: skip
CROSS_DATASET = (
    # method, accuracy on each of ACROSS_ORDER, their mean as printed, source
    ("CoOp", "93.70 89.14 64.51 68.71 85.30 18.47 64.15 41.92 46.39 66.55", "63.88",
     "UPrompt's Table 9"),
    ("PromptSRC", "93.60 90.25 65.70 70.25 86.15 23.90 67.10 46.87 45.50 68.75", "65.81",
     "UPrompt's Table 9"),
)  # fmt: skip
"""Learnt on ImageNet. MPL's mean, "about 66.25", is a summary's; no table of it was found."""

DOMAINS_ORDER = ("source", "imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
DOMAINS = (
    # method, accuracy on each of DOMAINS_ORDER, the mean of the four as printed, source
    ("CoOp", "71.51 64.44 47.61 49.53 74.98", "59.14", "UPrompt's Table 3"),
    ("PromptSRC", "71.27 64.35 49.55 50.90 77.80", "60.65", "UPrompt's Table 3"),
)

LONG_TAIL_ORDER = (
    "eurosat", "caltech101", "dtd", "oxford_pets", "fgvc_aircraft", "stanford_cars", "flowers102",
    "sun397", "ucf101", "food101",
)  # fmt: skip
_RADAR = "tools/radar_plot.py of DroPLe's code, where no unit is named: taken for harmonic means"
LONG_TAIL = (
    # method, harmonic mean on each of LONG_TAIL_ORDER, their mean (worked out here), source
    ("CoOp", "54.42 91.78 54.88 94.10 32.12 69.23 71.86 72.15 64.74 89.25", "69.45", _RADAR),
    ("CoCoOp", "60.28 95.09 65.11 96.69 33.71 71.91 77.61 77.99 76.78 91.20", "74.64", _RADAR),
    ("LFA", "69.56 95.69 67.43 94.09 34.27 72.72 84.38 78.39 82.71 90.44", "76.97", _RADAR),
    ("Candle", "80.51 95.89 68.13 95.99 37.78 74.30 85.03 79.26 83.17 90.80", "79.09", _RADAR),
    ("DroPLe", "80.26 96.39 67.39 96.41 39.39 75.41 86.85 80.32 82.63 91.24", "79.63", _RADAR),
)
"""Base-to-novel at an imbalance of 10; ImageNet is not among them."""
