"""Method: what is shown, with its formulas and its limits, for a reader in a hurry."""

from __future__ import annotations

import gradio as gr

from app.glossary import listed

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

## What to keep in mind
* DroPLe is Chen et al., *Dropout Prompt Learning*, arXiv 2512.07234. Its released code drops nothing: it multiplies
  chosen tokens by 1 + 0.03 · noise (choose *official code* in the settings). Zeroing is our reading of the paper.
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


def build() -> None:
    """Lays the tab out."""
    gr.Markdown(f"{TEXT}\n## Words\n{listed()}", elem_classes="lens-method")
