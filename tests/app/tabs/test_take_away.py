"""What leaves the app with a visitor: the page, the gallery, the figure and its words."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import gradio as gr
import numpy as np
import pytest
from analysed import KINDS, ODD_NAMES, analysed, tiny
from decoding import decoded
from tiny import prompted

from app.export.standalone import ASSETS, standalone_page
from app.figures.paper import figure_bytes, paper_figure
from app.figures.theme import CONDITION_NAMES
from app.gallery import main, page_of, write_gallery
from app.overview.payload import PAIR, Overview
from app.tabs.take_away import read_state, taken_away
from app.wording.paper import caption, methods_text
from drople.class_texts import describe_classes
from drople.paired_draws import run_paired
from drople.storage.analyses import load_analysis, save_analysis


class Tags(HTMLParser):
    """Collects what a browser would find in a page."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def attributes(self, name):
        return [attrs[name] or "" for _, attrs in self.found if name in attrs]


def data_of(page: str):
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text[1])


def drawn(analysis, count=3, *, pair=PAIR, maps_for=4):
    """Draws of two dropouts on an analysis of the tiny model, the first ones with maps."""
    model = prompted(tiny()) if analysis.adapted else tiny()
    return (*run_paired(
        model, analysis.pixels, describe_classes(model, analysis.classes),
        settings=analysis.settings, pair=pair, seeds=range(count),
        map_classes=analysis.maps.classes, maps_for=maps_for,
    ),)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_holds_the_numbers_of_the_analysis(kind):
    analysis = analysed(kind)
    told = data_of(page_of(analysis))["payload"]
    assert tuple(told["classes"]) == analysis.classes
    for branch in ("frozen", "adapted")[: 1 + analysis.adapted]:
        layers = analysis.images[branch].layers
        shares = decoded(told["importance"][branch]["blend"])
        for row, layer in zip(shares, layers, strict=True):
            np.testing.assert_array_equal(row[: layer.blend.shape[1] - 1], layer.blend[0, 1:])
        maps = np.where(
            analysis.maps.unavailable[branch], np.nan, analysis.maps.values[branch]
        ).reshape(len(analysis.maps.classes), -1)
        step = np.ptp(maps[np.isfinite(maps)]) / 254
        np.testing.assert_allclose(decoded(told["maps"]["values"][branch]), maps, atol=step)


def test_the_page_opens_where_the_visitor_was():
    payload = Overview(analysed()).payload()
    state = {"layer": 2, "class": analysed().classes[1]}
    assert data_of(standalone_page(payload, state)) == {"payload": payload, "state": state}


def test_the_page_of_the_gallery_opens_with_the_answer():
    analysis = analysed()
    best = analysis.classes[analysis.predictions["adapted"].cosines.argmax()]
    assert data_of(page_of(analysis))["state"] == {"class": best}
    assert data_of(page_of(analysis, 2))["state"] == {"class": analysis.classes[2]}


def test_class_names_are_never_markup():
    page = page_of(analysed("odd names"))
    tags = Tags(page)
    assert "img" not in [tag for tag, _ in tags.found]
    assert tuple(data_of(page)["payload"]["classes"]) == ODD_NAMES
    assert sum(tag == "script" for tag, _ in tags.found) == 2


def test_the_page_is_drawn_by_the_overviews_own_renderer():
    page = page_of(analysed())
    for part in ("overview.js", "overview.css"):
        assert (ASSETS / part).read_text() in page


def test_the_page_asks_the_network_for_nothing():
    page = page_of(analysed())
    tags = Tags(page)
    addresses = {*re.findall(r"https?://[^\"'\s)]+", page)} - {"http://www.w3.org/2000/svg"}
    assert not addresses
    assert not re.findall(r"\b(?:fetch|XMLHttpRequest|WebSocket|import)\(|@import|url\(", page)
    assert not tags.attributes("src")
    assert not tags.attributes("href")
    (policy,) = [a["content"] for _, a in tags.found if "http-equiv" in a]
    assert policy.startswith("default-src 'none'")


@pytest.mark.slow
def test_the_page_of_a_real_analysis_is_under_two_megabytes(mini, picture):
    from drople.analysis import AnalysisSettings, analyse
    from drople.models.prompted_clip import PromptedClip
    from drople.models.prompts import PromptPlan

    model = PromptedClip(mini, PromptPlan(), bridge_tokens=64)
    names = [f"thing {i}" for i in range(12)]
    page = page_of(analyse(model, picture, names, AnalysisSettings()))
    assert len(page.encode()) < 2 * 2**20


# --- the gallery ---


def test_a_gallery_links_a_page_for_each_analysis(tmp_path):
    save_analysis(tmp_path / 'my "cat".npz', analysed())
    save_analysis(tmp_path / "frozen.npz", analysed("frozen only"))
    write_gallery(tmp_path / "out", [tmp_path / 'my "cat".npz', tmp_path / "frozen.npz"], "A & <b>")
    index = Tags((tmp_path / "out" / "index.html").read_text())
    links = index.attributes("href")
    assert len(links) == 2
    assert all((tmp_path / "out" / link).is_file() for link in links)
    assert all(link.startswith("data:image/jpeg") for link in index.attributes("src"))
    assert index.attributes("alt") == ['my "cat"', "frozen"]
    assert "b" not in [tag for tag, _ in index.found]
    assert "sdk: static" in (tmp_path / "out" / "README.md").read_text()


def test_what_is_no_analysis_is_one_line(tmp_path, capsys):
    (tmp_path / "a.npz").write_bytes(b"nothing")
    assert main([str(tmp_path / "out"), str(tmp_path / "a.npz")]) == 2
    assert "is no analysis" in capsys.readouterr().err


# --- the figure and its words ---


ONE_DROPS = "exactly one drops it,\nthe other keeps it"
OTHERS = ("inverse", "cls")  # on the page "Inverse IWTD" and "s_cls alone"


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


# --- the button ---
DRAWN = {"svg": "<svg>1</svg>", "png": base64.b64encode(b"png").decode()}
PANELS = json.dumps({"says": DRAWN, "looks": DRAWN, "other": DRAWN})


def unpacked(packed):
    """File name -> content of what the button gave."""
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(packed["data"]))) as files:
        return {name: files.read(name) for name in files.namelist()}


def test_the_button_packs_numbers_draws_page_figure_and_words(tmp_path):
    analysis = analysed()
    overview, batches = Overview(analysis), drawn(analysis)
    looked = json.dumps({"layer": 1, "class": analysis.classes[1], "draw": 2, "opacity": 0.5})
    files = unpacked(taken_away(analysis, (overview, batches), looked, panels=None))
    kinds = {name.rpartition(".")[2]: file for name, file in files.items() if name != "README.txt"}
    assert {"npz", "json", "html", "pdf", "svg", "txt"} == {*kinds}
    (tmp_path / "a.npz").write_bytes(kinds["npz"])
    assert load_analysis(tmp_path / "a.npz").classes == analysis.classes
    payload = json.loads(kinds["json"])
    assert payload == json.loads(json.dumps(overview.payload(batches)))
    assert payload["draws"]["count"] == 3
    state = {"layer": 1, "class": analysis.classes[1], "draw": 2}
    assert data_of(kinds["html"].decode()) == {"payload": payload, "state": state}
    assert f"“{analysis.classes[1]}”" in kinds["txt"].decode()
    assert "after layer 2" in kinds["txt"].decode()


@pytest.mark.parametrize(
    ("draw", "said"),
    [("2", "one draw (seed 1)"), ("4", "3 draws"), ("-1", "3 draws"), ('"all"', "3 draws")],
)
def test_the_figure_shows_the_draw_that_is_looked_at(draw, said):
    overview = Overview(analysed(), pair=OTHERS)
    shown = (overview, drawn(analysed(), pair=OTHERS))
    files = unpacked(taken_away(analysed(), shown, f'{{"draw": {draw}}}', panels=None))
    figure, found, methods = files["words.txt"].decode().split("\n\n", 2)
    assert f"Under dropout: {said}" in figure
    told = overview.payload(shown[1])["sentences"]
    assert found == " ".join(filter(None, (told["answer"], told["dropped"][0], told["reason"][0])))
    assert "3 draws (seeds 0 to 2) of inverse IWTD and s_cls alone" in methods
    (picture,) = [file.decode() for name, file in files.items() if name.endswith(".svg")]
    assert "Inverse IWTD" in picture
    assert "Vanilla" not in picture


def test_the_readme_names_every_file_and_no_other():
    files = unpacked(taken_away(analysed(), None, None, panels=PANELS))
    assert all(name.isascii() and "/" not in name for name in files)
    readme = files.pop("README.txt").decode()
    named = re.findall(r"[\w.-]+\.(?:npz|json|html|pdf|svg|png|txt)\b", readme)
    assert {*named} == {*files}


def test_panels_are_packed_as_the_browser_drew_them():
    files = unpacked(taken_away(analysed(), None, None, panels=PANELS))
    panels = {name.rpartition("-")[2]: file for name, file in files.items() if "-says" in name}
    assert panels == {"says.svg": b"<svg>1</svg>", "says.png": b"png"}
    assert not any("other" in name for name in files)


@pytest.mark.parametrize("sent", [None, "{", "[1]", '{"says": 3}', '{"looks": {"png": ""}}'])
def test_a_browser_that_draws_nothing_gets_the_rest_and_no_word_of_it(sent):
    files = unpacked(taken_away(analysed(), None, None, panels=sent))
    assert "panels" not in files["README.txt"].decode()
    assert len(files) == 7


def test_before_any_draw_the_analysis_alone_is_saved():
    files = unpacked(taken_away(analysed("frozen only"), None, None, panels=None))
    (told,) = [json.loads(file) for name, file in files.items() if name.endswith("json")]
    assert told == json.loads(json.dumps(Overview(analysed("frozen only")).payload()))


@pytest.mark.parametrize(
    ("looked", "expected"),
    [
        ('{"layer": 3, "class": "cat", "wipe": null}', {"layer": 3, "class": "cat"}),
        ('{"draw": 2, "layer": "3", "class": 4}', {"draw": 2}),
        ('{"draw": "all", "layer": true, "class": null}', {}),
        ("[1]", {}),
        ("{", {}),
        ("", {}),
        (None, {}),
    ],
)
def test_only_what_the_browser_says_rightly_is_read(looked, expected):
    assert read_state(looked) == expected


@pytest.mark.parametrize(("asked", "layer"), [(-4, 1), (99, 4)])
def test_a_layer_that_does_not_exist_becomes_the_nearest(asked, layer):
    files = unpacked(taken_away(analysed(), None, json.dumps({"layer": asked}), panels=None))
    assert f"after layer {layer}" in files["words.txt"].decode()


def test_without_an_analysis_the_button_says_so():
    with pytest.raises(gr.Error, match="no analysis yet"):
        taken_away(None, None, None, panels=None)
