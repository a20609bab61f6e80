"""Method: the method drawn, its formulas, its limits, and where each statement is known from."""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr

from app.figures.method_diagram import NARROW, WIDE, diagram
from app.glossary import listed
from app.wording.formulas import formulas_text

DOCUMENT = Path(__file__).parents[2] / "docs" / "METHOD.md"
FINE_PRINT = "Fine print"  # what is known from where, and what differs
ABSTRACT = "The abstract, sentence by sentence"
DRAWN = """
## The method, drawn
Drawn from the code, not from the paper. Each box opens the view that shows it; the small words are the function that computes it.
"""
TEXT = r"""
## What importance weighted token dropout does
At each of the first layers of the adapted branch, while training, every droppable token *j* (patches and
learned prompts; never the class token) gets a probability of being dropped:

1. three signals, each divided by its sum over the tokens:
   **s_self**, its strongest attention to another token (mean over heads);
   **s_cls**, the attention the class token pays to it; **s_cross**, the strongest claim one of 64 learned bridge tokens lays on it;
2. their mean **I**, brought to 0 … 1 over the tokens of the layer (min–max);
3. **p = p_max − Ĩ (p_max − p_min)**: what matters is dropped rarely;
4. a token is dropped where a random number **u < p**.

## Residual entropy and the objective
Dropped features may drift. Training compares them with the frozen branch's: what is left once a little of the frozen feature is taken out, the
*residual*, is to say as little of its own as it can, so the entropy of its answer is maximised. The lab's *Residual entropy* computes all of it on your picture.

## Formulas
"""
LIMITS = r"""
## What to keep in mind
* DroPLe is Chen et al., *Dropout Prompt Learning*, arXiv 2512.07234. Its released code drops nothing: it multiplies
  chosen tokens by 1 + 0.03 · noise (choose *official code* in the settings). Zeroing and hiding are our reading of the figure in its repository.
* **A and B are two questions.** A: the same weights, dropout applied now. B: models trained with each dropout. The dropout
  panels here show A.
* One seed is **one draw**. Another seed drops other tokens: what the overview says rests on 32 draws of each dropout.
* "After layer n" in *Says* is a logit lens: the class token after that layer, read through the final norm and projection,
  which were trained for the last layer only.
* Vanilla dropout has IWTD's mean p in each layer by default: otherwise the amount of dropout would be compared, not the choice.
* One very important token (a *sink*) can push every other token to p_max; then IWTD is vanilla dropout in disguise. The
  overview marks such layers with ◎ and says how much of the range one token takes.
* Grad-CAM is taken at the first layer norm of a block, for the cosine of picture and class, and is signed. Zeroed tokens refill
  from their neighbours in later layers.
* **mini**, the CLIP that comes with the app, is small, and its prompts were learnt on 64-pixel pictures. Use it to try and to
  teach; load ViT-B/16 for results.
* A patch token of mini sees more than its 16 x 16 pixels, since its patch embedding is a convolutional stem: dropping it hides less
  than in a plain ViT, and maps are smoother.
"""
# Opens the tab, the tab of the lab, or the panel that a box names.
OPEN = """
element.addEventListener("click", event => {
    const box = event.target.closest("[data-view]")
    if (!box) return
    event.preventDefault()
    const [first, second] = box.dataset.view.split(" / ")
    const open = name => [...document.querySelectorAll("button[role=tab]")]
        .find(tab => tab.textContent.trim() === name)?.click()
    open(first)
    scrollTo(0, 0)
    if (second) setTimeout(() => {
        const panel = document.querySelector(`.drople-lens .panel[aria-label="${second}"]`)
        if (first === "Overview") panel?.scrollIntoView({ block: "nearest" })
        else open(second)
    }, 100)
})
"""


def build() -> None:
    """Lays the tab out."""
    gr.Markdown(DRAWN, elem_classes="lens-method")
    gr.HTML(
        diagram(WIDE) + diagram(NARROW), js_on_load=OPEN, elem_id="method-diagram", padding=False
    )
    quoted = [f"## {title}\n{section(title)}" for title in (FINE_PRINT, ABSTRACT)]
    words = f"## Words\n{listed()}"
    gr.Markdown(
        "\n".join([TEXT, formulas_text(), LIMITS, *quoted, words]), elem_classes="lens-method"
    )


def section(title: str, document: Path = DOCUMENT) -> str:
    """What the document of the method has under one of its headings."""
    text = document.read_text(encoding="utf-8") if document.is_file() else ""
    found = re.search(rf"^## \d+ {title}$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return found[1].strip() if found else "docs/ is not in this copy of the app."
