"""The figure for a paper, and the words that belong to it."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from analysed import OTHERS, PAIR, analysed, drawn
from decoding import decoded

from app.figures.paper import figure_bytes, paper_figure
from app.figures.theme import CONDITION_NAMES
from app.overview.payload import Overview
from app.wording.paper import caption, methods_text

ONE_DROPS = "exactly one drops it,\nthe other keeps it"


def panel(figure, title):
    """The one panel that is called so."""
    (cell,) = [one for one in figure.axes if one.get_title() == title]
    return cell


def covered(cell, *, hatched):
    """(row, column) of the patches that a panel hatches, or covers in dark grey."""
    return {(p.get_y(), p.get_x()) for p in cell.patches if bool(p.get_hatch()) == hatched}


def places(marked):
    return {(*place,) for place in np.argwhere(marked)}


@pytest.mark.parametrize("count", [0, 1, 6])
@pytest.mark.parametrize("kind", ["ordinary", "frozen only", "odd names", "another map"])
def test_the_figure_is_a_vector_file_that_says_whose_it_is(kind, count):
    draws = drawn(analysed(kind), count, pair=OTHERS)
    figure = paper_figure(analysed(kind), draws, layer=0, index=0)
    root = ElementTree.fromstring(figure_bytes(figure, "svg"))
    assert root.tag.endswith("svg")
    assert figure_bytes(figure, "pdf").startswith(b"%PDF")
    titles = [cell.get_title() for cell in figure.axes]
    names = ["Frozen", "Adapted"][: 1 + analysed(kind).adapted]
    names += ["Inverse IWTD", "s_cls alone"] if count else []
    assert [title.partition(", p = ")[0] for title in titles if ", p = " in title] == names


@pytest.mark.parametrize("pair", [PAIR, OTHERS])
def test_the_figure_of_one_draw_hatches_exactly_what_each_of_the_pair_drops(pair):
    analysis = analysed("hidden tokens")
    (draw,) = drawn(analysis, 1, pair=pair)
    figure = paper_figure(analysis, [draw], layer=1, index=0)
    for name in pair:
        cell = panel(figure, f"dropped by {CONDITION_NAMES[name]}")
        dropped, gone = draw.dropped[name][0, 1, :16], ~draw.eligible[name][0, 1, :16]
        assert covered(cell, hatched=True) == places(dropped.reshape(4, 4))
        assert covered(cell, hatched=False) == places(gone.reshape(4, 4))
        assert dropped.any()
        assert gone.any()


def test_the_figure_of_many_draws_shows_where_the_two_differ():
    analysis = analysed("hidden tokens")
    draws = drawn(analysis, 6, pair=OTHERS)
    figure = paper_figure(analysis, draws, layer=1, index=0)
    (gap,) = panel(figure, "p(Inverse IWTD)\n\N{MINUS SIGN} p(s_cls alone)").collections
    differ = panel(figure, ONE_DROPS)
    (lean,) = differ.collections
    told = Overview(analysis, pair=OTHERS).payload(draws)["draws"]["summary"]
    np.testing.assert_allclose(
        gap.get_array().filled(np.nan).ravel(), decoded(told["difference"])[1, :16], atol=1e-6
    )
    for token, share in enumerate(lean.get_array().filled(np.nan).ravel()):
        decisions = [
            [batch.dropped[name][draw, 1, token] for name in OTHERS]
            for batch in draws
            for draw in range(len(batch.seeds))
            if all(batch.eligible[name][draw, 1, token] for name in OTHERS)
        ]
        only_first = decisions.count([False, True])  # keeps it
        only_second = decisions.count([True, False])
        sign = -1 if only_first < only_second else 1
        assert share == pytest.approx(sign * (only_first + only_second) / 6)
    assert np.abs(lean.get_array()).max() > 0
    hidden = np.isnan(gap.get_array().filled(np.nan))
    assert covered(
        panel(figure, "exactly one drops it,\nthe other keeps it"), hatched=False
    ) == places(hidden)


def test_the_figure_tells_the_means_of_the_draws_and_shows_the_maps_of_the_page():
    analysis = analysed()
    draws = drawn(analysis, 6, pair=OTHERS)
    figure = paper_figure(analysis, draws, layer=0, index=1)
    told = Overview(analysis, pair=OTHERS).payload(draws)["draws"]["summary"]
    assert told["map_draws"] == 4
    for name in OTHERS:
        p = np.concatenate([one.probabilities(name)[:, 1] for one in draws]).mean()
        cell = panel(figure, f"{CONDITION_NAMES[name]}, p = {p:.2f}")
        shown = decoded(told["mean_maps"][name])[1].reshape(4, 4)
        known = np.isfinite(shown)
        assert covered(cell, hatched=True) == places(~known)
        step = np.ptp(shown[known]) / 100
        np.testing.assert_allclose(cell.collections[0].get_array().filled(np.nan), shown, atol=step)


def test_a_draw_without_maps_has_none_in_the_figure():
    analysis, last = analysed(), drawn(analysed(), 2, maps_for=1)[1:]
    figure = paper_figure(analysis, last, layer=0, index=0)
    without = [one for one in figure.axes if [t for t in one.texts if "no map" in t.get_text()]]
    names = [one.get_title().partition(",")[0] for one in without]
    assert names == ["IWTD", "Vanilla dropout"]


def test_after_the_dropout_s_layers_the_figure_has_no_drops():
    analysis = analysed("shallow dropout")
    draws = drawn(analysis, 2)
    titles = {
        layer: [one.get_title() for one in paper_figure(analysis, draws, layer=layer, index=0).axes]
        for layer in (1, 2)
    }
    assert ONE_DROPS in titles[1]
    assert ONE_DROPS not in titles[2]
    assert "after the first 2 layers only" in caption(analysis, draws, layer=2, index=0)


def spread(analysis, values):
    """The analysis where each layer's tokens have this importance, as far as there are some."""
    trace = analysis.images["adapted"]
    shares = [np.zeros_like(one.blend) for one in trace.layers]
    for share, one in zip(shares, trace.layers, strict=True):
        share[one.content] = np.resize(values, one.content.sum()) / one.content.sum()
    layers = [replace(one, blend=s) for one, s in zip(trace.layers, shares, strict=True)]
    trace = replace(trace, layers=(*layers,))
    return replace(analysis, images=analysis.images | {"adapted": trace})


@pytest.mark.parametrize(
    ("values", "top"),
    [
        ([0.5, 0.5, 1, 1.5], "2.00"),  # far below twice an even share nothing looks important
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 6], "≥ 2.00"),  # a sink, outside the fence
        ([0, 1, 2, 2, 3], "3.00"),  # Q1 is 1, Q3 is 2: the fence is at 5
        ([0, 1, 2, 2, 3, 0, 1, 2, 2, 3, 0, 1, 2, 2, 3, 9], "≥ 3.00"),
    ],
)
def test_importance_has_the_page_s_scale_in_the_figures_of_all_layers(values, top):
    analysis = spread(analysed(), values)
    for layer in range(4):
        figure = paper_figure(analysis, (), layer=layer, index=0)
        (bar,) = [one for one in figure.axes if "even share" in one.get_xlabel()]
        assert [one.get_text() for one in bar.get_xticklabels()] == ["0", top]
        (shown,) = panel(figure, f"importance, layer {layer + 1}").collections
        assert shown.get_clim() == (0, pytest.approx(float(top.removeprefix("≥ "))))


def test_the_same_figure_is_the_same_file():
    draws = drawn(analysed())
    pdfs = [
        figure_bytes(paper_figure(analysed(), draws, layer=0, index=0), "pdf") for _ in range(2)
    ]
    assert pdfs[0] == pdfs[1]


def test_the_words_say_what_was_done():
    analysis = analysed("hidden tokens")
    draws = drawn(analysis, 6, pair=OTHERS)
    said = methods_text(analysis, draws)
    known = analysis.provenance
    for fact in (
        known["backbone_hash"],
        known["prompts_hash"],
        "mode hide",
        "0.1 to 0.5",
        "6 draws (seeds 0 to 5) of inverse IWTD and s_cls alone on the adapted branch",
        "both at the mean rate of inverse IWTD",
        "first 4 draws",
    ):
        assert fact in said
    assert Overview(analysis, pair=OTHERS).payload(draws)["methods"] == said
    assert "draw" not in methods_text(analysis)
    words = caption(analysis, draws, layer=1, index=0)
    for fact in (
        "not how models trained",
        "6 draws (seeds 0 to 5)",
        "layer 2",
        "p of inverse IWTD less p of s_cls",
        "the first 4,",
        "hidden by earlier layers in every draw",
    ):
        assert fact in words
    one = caption(analysis, drawn(analysis, 1), layer=0, index=0)
    assert "one draw (seed 0)" in one
    assert "earlier layers" not in one
    assert "dropout" not in caption(analysed("frozen only"), (), layer=0, index=0).lower()


@pytest.mark.parametrize(
    ("kind", "fact"),
    [
        ("text dropped too", "and on the text prompts"),
        ("ordinary", "signal weights s_self 1, s_cls 1, s_cross 1."),
        ("coupled prompts, no bridge", "signal weights s_self 1, s_cls 1."),
        ("scaled tokens", "vanilla dropout at p = 0.3"),
        ("ordinary", "We made one draw (seed 0) of IWTD and vanilla dropout on the adapted branch"),
    ],
)
def test_before_any_draw_the_words_tell_of_the_analysis_s_own(kind, fact):
    assert fact in Overview(analysed(kind)).payload()["methods"]
