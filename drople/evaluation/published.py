"""Numbers that others published for ViT-B/16, copied with their source (METHOD.md 9)."""

from __future__ import annotations

UNKNOWN = "not found"
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
CALTECH101 = (
    ("CoOp", "96.00", "89.81", "93.73", "UPrompt's Table 1 (as printed; its parts give 92.80)"),
    ("PromptSRC", "98.10", "94.03", "96.02", "UPrompt's Table 1"),
    ("UPrompt", "98.78", "95.84", "97.29", "UPrompt's Table 1"),
)
"""Base-to-novel on Caltech101."""
