"""The method's formulas, each with where it is known from and the function that computes it."""

from __future__ import annotations

from dataclasses import dataclass

from drople.training.config import LossWeights

TAGS = {
    "paper": "stated by the paper's abstract, the figure in its repository, or a page quoting it",
    "code": "read in the released code",
    "ours": "neither: our own",
}
W = LossWeights()


@dataclass(frozen=True)
class Formula:
    """One formula."""

    name: str
    tags: tuple[str, ...]  # of TAGS
    tex: str
    says: str
    function: str  # module:name
    section: str  # of the document of the method


FORMULAS = (
    Formula(
        "Importance", ("code",),
        r"I=\tfrac13\left(\hat s_\mathrm{self}+\hat s_\mathrm{cls}+\hat s_\mathrm{cross}\right)",
        "The plain mean of three signals, each divided by its sum over the tokens. A public review "
        "of the paper quotes s_self; the other two and the mean are the code's.",
        "drople.tokens.importance:TokenImportance.blend", "2.2",
    ),
    Formula(
        "Probability of a drop", ("code",),
        r"p_j=p_\mathrm{max}-\tilde I_j\,(p_\mathrm{max}-p_\mathrm{min})",
        "Ĩ is I brought to 0 … 1 over the tokens of the layer; dropped where a random u < p.",
        "drople.tokens.strategies:ImportanceWeighted.probability", "3.1",
    ),
    Formula(
        "What a drop does", ("code",), r"x_j\leftarrow x_j\,(1+0.03\,n),\quad n\sim N(0,1)",
        "Released: noise; nothing is removed.",
        "drople.tokens.dropout:TokenDropout.erase", "3.4",
    ),
    Formula(
        "What a drop does here", ("ours",), r"x_j\leftarrow 0\quad\text{or no token attends to }j",
        "The figure in the paper's repository hatches dropped tokens and does not say more.",
        "drople.tokens.dropout:TokenDropout.erase", "3.5",
    ),
    Formula(
        "Residual", ("paper", "code"),
        r"Z^r_v=\frac{Z^d_v-\lambda Z^o_v}{1-\lambda},\qquad "
        r"Z^r_t=\frac{Z^d_t-\lambda Z^o_t}{1-\lambda}",
        "Of unit features, adapted (d) and frozen (o), of image (v) and text (t); not normalised "
        "again.",
        "drople.training.losses:residual", "4.1",
    ),
    Formula(
        "What the residuals say", ("code",),
        r"p(y|Z^r_v)=\mathrm{softmax}(s\,Z^r_v\cdot Z^o_t),\qquad "
        r"p(y|Z^r_t)=\mathrm{softmax}(s\,Z^o_v\cdot Z^r_t)",
        "Each against the frozen branch's other side; s is the logit scale.",
        "drople.training.losses:residual_logits", "4.1",
    ),
    Formula(
        "Their entropy, maximised", ("paper", "code"),
        r"\max\;H(p(y|Z^r_v))+H(p(y|Z^r_t)),\qquad H(p)=-\sum_y p_y\log(p_y+10^{-5})",
        "The figure prints the maximised entropies; the small number is the code's.",
        "drople.training.losses:residual_entropy", "4.1",
    ),
    Formula(
        "Lambda", ("code",), r"\lambda(e)=0.1-0.1\,(1+10\,e/E)^{-0.75}",
        "In epoch e of E, from 0: it rises from 0 to 0.083 in the last of 20.",
        "drople.training.losses:lambda_at", "4.2",
    ),
    Formula(
        "Alignment", ("code",),
        r"\mathcal L_\mathrm{align}=\mathrm{mean}\;\tfrac12\left(1-\cos(F_v,F_t)\right)",
        "F is what a bridge token gathers in an image and in its class; it trains the bridge.",
        "drople.training.losses:alignment", "2.3",
    ),
    Formula(
        "Objective", ("code",),
        rf"L=\mathrm{{CE}}+{W.text_l1:g}\,\overline{{|Z^d_t-Z^o_t|}}+{W.image_l1:g}\,"
        rf"\overline{{|Z^d_v-Z^o_v|}}+{W.distillation:g}\,\mathrm{{KL}}"
        rf"-{W.residual_entropy:g}\,(H_v+H_t)+{W.alignment:g}\,\mathcal L_\mathrm{{align}}",
        "KL from the frozen to the adapted answer, over the number of classes too. Whether the "
        "paper's objective has the distances and KL is unknown.",
        "drople.training.objective:Objective.terms", "5.1",
    ),
    Formula(
        "Where the entropy pulls", ("ours",),
        r"Z\leftarrow Z+0.01\,\frac{\nabla_Z H}{\lVert\nabla_Z H\rVert}",
        "The arrows of the lab's Residual entropy.",
        "drople.lab.residual:read_step", "4.4",
    ),
)  # fmt: skip


def formulas_text() -> str:
    """All formulas as Markdown."""
    known = "; ".join(f"{_tag(tag)} {meaning}" for tag, meaning in TAGS.items())
    parts = [f"{known}."]
    for one in FORMULAS:
        tags = " ".join(_tag(tag) for tag in one.tags)
        parts.append(f"**{one.name}** {tags}\n\n$$\n{one.tex}\n$$\n\n{one.says}")
    return "\n\n".join(parts)


def _tag(tag: str) -> str:
    return f'<span class="lens-tag">{tag}</span>'
