"""The parts of the report beside accuracies: choices, methods, costs, what others printed."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from statistics import mean, median

from drople.evaluation import markdown
from drople.evaluation.bootstrap import difference
from drople.evaluation.choice import ChoiceResult
from drople.evaluation.cost import StepCost
from drople.evaluation.protocols import PROTOCOLS
from drople.evaluation.published import AVERAGES, CALTECH101
from drople.evaluation.runs import FROZEN
from drople.evaluation.tables import Table, command, resampled, shared_seeds, shown
from drople.training.config import METHODS

CORE = ("drople-none", "drople-vanilla", "drople", "mpl")
SEEDS = 3  # fewer are named as missing

_CHOOSING = (
    "Why IWTD and vanilla dropout may train alike: on test images of the base half, in the image",
    "branch, with dropout off. Percent, means over images and layers.",
    "",
    "- *mean p*: of all tokens, *of patches* and *of* learned *prompts*.",
    "- *decisions that differ*: to keep or drop a token, between IWTD and vanilla dropout at the",
    "  same rate and with one random number a token; then the same for each layer, from the first.",
    "- *overlap*: of the sets that the two then drop (Jaccard, of the means).",
    "- *spread of protection*: over how many of the tokens (exponential of the entropy of",
    "  p_max - p, as a share).",
    "- *one token stands out*: layers in which the importance of one is more than twice the next,",
    "  which flattens min-max.",
    "- *lead of the first*: the share of the range between the least and the most important token",
    "  that lies above the second, for each layer; all others share the rest of min-max's range.",
    "- *normalisation*: `minmax` is the released code's, the others are ours.",
)
_COSTING = (
    "Median step of each method; their steps took turns in one run, so that slow spells of the",
    "machine fall on all about alike. The ratio to `drople-none` is the median over turns (least",
    "to most), at equal depths only. Memory is the most that the process of a run held, mean over",
    "seeds.",
)


def other_protocols(tested: Sequence[Table]) -> list[str]:
    """The deciding column of every protocol but base-to-novel, and IWTD minus vanilla dropout."""
    methods = (FROZEN, *CORE)
    rows = []
    for table in (t for t in tested if t.one.protocol != "base-to-novel"):
        column, reference = table.columns[-1], table.reference()
        own = [table.partner(reference, name) if reference else None for name in methods]
        means = [f"{row.figures(column).mean():.2f}" if row else "" for row in own]
        pair = table.pair("drople", "drople-vanilla")
        gain = str(difference(*resampled(*pair), column)) if pair else ""
        seeds = ", ".join(map(str, shared_seeds(*pair))) if pair else ""
        what = f"{table.one.protocol}, {table.one.data}: {column.title}"
        rows.append([what, *means, gain, seeds])
    head = ["", *methods, "drople minus drople-vanilla", "seeds"]
    return markdown.table(head, rows) if rows else ["Not run."]


def _made_so(one: ChoiceResult) -> str:
    settings = [f"{k} {shown(v)}" for k, v in one.settings.items() if k != "precision"]
    return f"{one.method} ({', '.join([*settings, f'seed {one.seed}'])})"


def difference_of_dropouts(measured: Sequence[ChoiceResult]) -> list[str]:
    """How far IWTD under min-max differs from vanilla dropout: after the verdict, if measured."""
    published = [
        one
        for run in _of_test(measured)
        for one in run.choices
        if (run.method, one.normalisation) == ("drople", "minmax")
        and not any(name.startswith("dropout.") for name in run.settings)
    ]
    if not published:
        return []
    shares = [one.differing for one in published]
    overlaps = [one.overlap for one in published]
    return [
        "**How much do the two dropouts differ?** With the settings we train with, at the same",
        "rate and given the same random numbers, IWTD and vanilla dropout decide differently in",
        f"{min(shares):.2f} to {max(shares):.2f} % of their decisions, and the sets of image",
        f"tokens they drop overlap by {min(overlaps):.0f} to {max(overlaps):.0f} %.",
    ]


def choices(measured: Sequence[ChoiceResult]) -> list[str]:
    """How far IWTD chooses, a row a model and normalisation."""
    rows = [
        {
            "data": f"{one.data}, {one.on}",
            "method": _made_so(one),
            "normalisation": choice.normalisation,
            "mean p": _figures(choice.mean_p),
            "decisions that differ": _figures(choice.differing),
            "by layer": _figures(*choice.differing_by_layer),
            "overlap": _figures(choice.overlap),
            "spread of protection": _figures(choice.protected),
            "one token stands out": _figures(choice.one_token),
            "lead of the first": _figures(*choice.top_gap_by_layer),
            "p of patches": _figures(choice.p_patches),
            "p of prompts": _figures(choice.p_prompts),
            "images": str(one.images),
        }
        for one in _of_test(measured)
        for choice in one.choices
    ]
    if not rows:
        return ["Not measured."]
    made = [f"- `{command('choice', one, [one.seed])}`" for one in _of_test(measured)]
    return markdown.blocks(_CHOOSING, markdown.table_of(rows), made)


def _figures(*values: float) -> str:
    return ", ".join("" if isnan(value) else f"{value:.2f}" for value in values)


def _of_test(measured: Sequence[ChoiceResult]) -> list[ChoiceResult]:
    return [one for one in measured if one.split == "test"]


def methods_as_declared(tables: Sequence[Table]) -> list[str]:
    """What the methods of the report are: prompts, text, objective and dropout."""
    ran = dict.fromkeys(row.method for table in tables for row in table.rows)
    rows = []
    for name in (method for method in METHODS if method in ran and method != FROZEN):
        config = METHODS[name]
        plan, dropout = config.plan, config.dropout
        terms = [f"{term} {weight:g}" for term, weight in vars(config.losses).items() if weight]
        image = f"{plan.image_count} x {plan.image_depth}"
        text = f"{plan.text_count} x {plan.text_depth}"
        does = f"{dropout.strategy}, {dropout.normalisation}, {dropout.mode}"
        does += f", p {dropout.p_min:g} to {dropout.p_max:g}"
        single = config.teacher == "single"
        cells = {
            "method": name,
            "prompts": plan.kind + (f", LoRA {config.lora.rank}" if config.lora.rank else ""),
            "image: count x depth": image if plan.image_count else "none",
            "text: count x depth": text if plan.text_count else "none",
            "text": f"“{plan.phrase}”",
            "frozen text": f"“{config.template}”" if single else "80 templates",
            "terms beside cross entropy": ", ".join(terms) or "none",
            "logit scale": "learnt" if config.learn_logit_scale else "fixed",
            "token dropout": "none" if dropout.strategy == "none" else does,
        }
        rows.append(cells)
    return markdown.blocks(_AS_DECLARED, markdown.table_of(rows))


_AS_DECLARED = (
    "As declared in drople/training/config.py; depths end at the tower's. All learn with AdamW,",
    "one learning rate, one batch size and flips, for few epochs, in the precision that a command",
    "names: these are not the published recipes, which differ from method to method (METHODS'",
    "comments and docstrings cite them), and prompts, depths, frozen text and logit scale differ",
    "between methods. Only DroPLe was tuned on `mini`: its drop mode and range of p were chosen on",
    "validation images, novel half included (docs/results/README.md). `drople` has no LLM-written",
    "prompts, LoRA or patch augmentation (`--augment patch`), which the released code also has.",
    "PromptSRC's prompts are a weighted mean over the epochs. Settings that a row names replace",
    "those declared.",
)


def costs(measured: Sequence[Sequence[StepCost]], tested: Sequence[Table]) -> list[str]:
    """What a step of each method takes, and the memory of its runs."""
    rows, made = [], []
    for together in measured:
        base = next((one for one in together if one.method == "drople-none"), None)
        for one in together:
            ratio = ""
            if base and METHODS[one.method].plan == METHODS["drople-none"].plan:
                turns = zip(one.seconds, base.seconds, strict=True)
                ratios = [mine / other for mine, other in turns]
                ratio = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            figures = [f"{median(one.seconds):.2f}", ratio, str(len(one.seconds))]
            where = f"{one.data}, {one.on}"
            rows.append([where, one.method, *figures, _peak(one, tested), one.machine])
        first = together[0]
        methods = [one.method for one in together]
        made.append(f"- `{command('cost', first, [first.seed], methods=methods)}`")
    if not rows:
        return ["Not measured; `evaluate cost` does."]
    head = ["data", "method", "seconds a step", "relative to drople-none", "turns"]
    head += ["peak memory, MiB", "machine"]
    return markdown.blocks(_COSTING, markdown.table(head, rows), made)


def _peak(one: StepCost, tested: Sequence[Table]) -> str:
    """Memory of the base-to-novel runs with the same settings, or nothing."""
    peaks = [
        result.cost["peak_mib"]
        for table in tested
        for row in table.rows
        for result in row.results
        if (result.protocol, result.data, result.method) == ("base-to-novel", one.data, one.method)
        and (result.weights, result.settings) == (one.weights, one.settings)
        and "peak_mib" in result.cost
    ]
    return f"{mean(peaks):.0f}" if peaks else ""


def published() -> list[str]:
    """The numbers that others printed."""
    head = ["method", "base", "novel", "harmonic mean", "source"]
    opening = (
        "ViT-B/16 with OpenAI's weights, as printed by others; not comparable with the rows above,",
        "which use other weights, sizes and test sets. Base-to-novel, average over 11 data sets:",
    )
    return markdown.blocks(
        opening, markdown.table(head, AVERAGES),
        "Base-to-novel on Caltech101:", markdown.table(head, CALTECH101),
    )  # fmt: skip


def missing(tested: Sequence[Table]) -> list[str]:
    """What has not been run, or with too few seeds."""
    lines = []
    for table in tested:
        name = f"{table.one.protocol} on {table.one.data}, {table.one.on}"
        present = {row.method for row in table.rows}
        absent = [method for method in CORE if method not in present]
        if absent:
            lines.append(f"- {name}: no run of {', '.join(absent)}.")
        for row in table.rows:
            if row.method != FROZEN and len(row.seeds) < SEEDS:
                count = "a single seed" if len(row.seeds) == 1 else f"{len(row.seeds)} seeds"
                lines.append(f"- {name}: {row.label} has {count}.")
    protocols = [name for name in PROTOCOLS if name not in {t.one.protocol for t in tested}]
    if protocols:
        lines.append(f"- No test of the protocols {', '.join(protocols)}.")
    ran = {row.method for table in tested for row in table.rows}
    methods = [name for name in METHODS if name not in ran]
    if methods:
        lines.append(f"- No test of the methods {', '.join(methods)}.")
    return lines or ["Nothing: every method and protocol has at least three seeds."]
