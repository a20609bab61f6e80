"""The words a visitor may not know, each in one sentence: as tooltips, and as a list."""

from __future__ import annotations

import re
from html import escape

import gradio as gr

WORDS = {
    "frozen": "The frozen branch is CLIP as it came, asked with plain text.",
    "adapted": "The adapted branch is the same CLIP with the learned prompts in both encoders.",
    "prompt": "A token without a word or a patch of its own, learned for a task.",
    "token": "What a layer works on: a patch, a piece of a word, or a learned prompt.",
    "patch": "One of the squares that CLIP cuts the picture into.",
    "class token": "The token that gathers the picture; CLIP reads its answer there.",
    "cosine": "How far a picture's and a class's features point the same way, from -1 to 1.",
    "logit": "A class's score before the softmax: its cosine times the logit scale.",
    "logit scale": "What cosines are multiplied by before the softmax makes probabilities of them.",
    "IWTD": "Importance weighted token dropout: what matters is dropped less often.",
    "vanilla dropout": "Dropout that treats all tokens alike.",
    "attention": "How much one token reads from another; not why the model answers as it does.",
    "draw": "One random number a token; a token is dropped where its number lies below its p.",
    "seed": "The number that all random numbers of a draw follow from.",
    "s_cross": "The strongest claim that one of the learned bridge tokens lays on a token.",
    "Grad-CAM": "Per patch, how a small change of its features would move the class's cosine.",
    "flip": "An answer flips where a draw gives another class than no dropout.",
    "rollout": "Attention multiplied up layer by layer, to trace it back to the picture.",
    "residual": "The adapted feature less lambda times the frozen one, divided by 1 - lambda.",
    "entropy": "How undecided probabilities are: 0 for one sure class, ln K for K alike.",
    "MPL": "Modular prompt learning: from layer to layer prompts are added, removed, carried on.",
    "norm": "The length of a token's features.",
    "rate": "The mean p over the tokens that can be dropped.",
}
_NAMES = "|".join(re.escape(word) for word in sorted(WORDS, key=len, reverse=True))
_ANY = re.compile(rf"(?<![\w-])({_NAMES})(?:e?s)?(?![\w-])")


def with_tooltips(text: str) -> str:
    """Markdown where the first use of each word says what it means, if pointed at or tabbed to."""
    seen = set()

    def explained(found: re.Match[str]) -> str:
        word = found.group(1)
        if word in seen:
            return found.group()
        seen.add(word)
        return f'<abbr tabindex="0" title="{escape(WORDS[word])}">{found.group()}</abbr>'

    return _ANY.sub(explained, text)


def intro(text: str) -> gr.Markdown:
    """What a tab shows, in a sentence or two above it."""
    return gr.Markdown(with_tooltips(text), elem_classes="lens-intro")


def listed() -> str:
    """All words, as a list in Markdown."""
    return "\n".join(f"* **{word}**: {WORDS[word]}" for word in sorted(WORDS, key=str.lower))
