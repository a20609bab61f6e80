"""What leaves the app with a visitor: the page, the gallery, the figure and its words."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from html.parser import HTMLParser
from xml.etree import ElementTree

import gradio as gr
import numpy as np
import pytest
from analysed import KINDS, ODD_NAMES, analysed

from app.export.standalone import standalone_page
from app.figures.paper import figure_bytes, paper_figure
from app.gallery import main, page_of, write_gallery
from app.tabs.take_away import taken_away
from app.wording.paper import caption, methods_text
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


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_holds_the_numbers_of_the_analysis(kind):
    analysis = analysed(kind)
    data = data_of(standalone_page(analysis, 0, 0))
    assert tuple(data["classes"]) == analysis.classes
    for condition, trace in analysis.images.items():
        for layer, told in zip(trace.layers, data["layers"][condition], strict=True):
            share = layer.patches(layer.blend) * layer.content.sum()
            np.testing.assert_allclose(told["blend"], share.ravel(), rtol=1e-3)
            if layer.dropped is not None:
                assert told["dropped"] == layer.patches(layer.dropped).ravel().tolist()
        np.testing.assert_allclose(
            data["maps"][condition], analysis.maps.values[condition].reshape(
                len(analysis.maps.classes), -1), rtol=1e-3,
        )  # fmt: skip


def test_the_page_opens_where_the_visitor_was_and_says_what_it_shows():
    data = data_of(standalone_page(analysed(), 2, 1))
    assert (data["layer"], data["looked_at"]) == (3, 1)
    assert "one draw (seed 0)" in data["about"]
    assert "draw" not in data_of(standalone_page(analysed("frozen only"), 0, 0))["about"]


def test_a_p_that_does_not_exist_is_no_number_on_the_page():
    data = data_of(standalone_page(analysed("shallow dropout"), 0, 0))
    assert all(value is None for value in data["layers"]["adapted"][3]["p"])
    assert any(value is not None for value in data["layers"]["adapted"][0]["p"])


def test_class_names_are_never_markup():
    page = page_of(analysed("odd names"))
    tags = Tags(page)
    assert "img" not in [tag for tag, _ in tags.found]
    assert tuple(data_of(page)["classes"]) == ODD_NAMES
    assert sum(tag == "script" for tag, _ in tags.found) == 2


def test_the_page_asks_the_network_for_nothing():
    page = page_of(analysed())
    tags = Tags(page)
    assert not re.findall(r"(?:https?:)?//[a-z]", page.replace("// The values", ""))
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
    assert all(link.startswith("data:image/png") for link in index.attributes("src"))
    assert index.attributes("alt") == ['my "cat"', "frozen"]
    assert "b" not in [tag for tag, _ in index.found]
    assert "sdk: static" in (tmp_path / "out" / "README.md").read_text()


def test_what_is_no_analysis_is_one_line(tmp_path, capsys):
    (tmp_path / "a.npz").write_bytes(b"nothing")
    assert main([str(tmp_path / "out"), str(tmp_path / "a.npz")]) == 2
    assert "is no analysis" in capsys.readouterr().err


# --- the figure and its words ---


@pytest.mark.parametrize(
    "kind", ["ordinary", "frozen only", "odd names", "three dropouts", "another map"]
)
def test_the_figure_is_a_vector_file_that_says_whose_it_is(kind):
    figure = paper_figure(analysed(kind), 0, 0)
    root = ElementTree.fromstring(figure_bytes(figure, "svg"))
    assert root.tag.endswith("svg")
    assert figure_bytes(figure, "pdf").startswith(b"%PDF")
    titles = [cell.get_title() for cell in figure.axes]
    shown = [title for title in titles if ", p = " in title]
    assert len(shown) == len(analysed(kind).conditions)


def test_the_figure_hatches_exactly_the_dropped_patches():
    analysis = analysed()
    figure = paper_figure(analysis, 0, 0)
    for condition, name in (("vanilla", "Vanilla dropout"), ("iwtd", "IWTD")):
        (cell,) = [one for one in figure.axes if one.get_title() == f"dropped by {name}"]
        hatched = {(int(p.get_y()), int(p.get_x())) for p in cell.patches if p.get_hatch()}
        layer = analysis.images[condition].layers[0]
        assert hatched == {(int(r), int(c)) for r, c in np.argwhere(layer.patches(layer.dropped))}


def test_the_same_figure_is_the_same_file():
    pdfs = [figure_bytes(paper_figure(analysed(), 0, 0), "pdf") for _ in range(2)]
    assert pdfs[0] == pdfs[1]


def test_the_words_say_what_was_done():
    analysis = analysed("hidden tokens")
    said = methods_text(analysis)
    known = analysis.provenance
    for fact in (
        known["backbone_hash"],
        known["prompts_hash"],
        "mode hide",
        "0.1 to 0.5",
        "seed 0",
    ):
        assert fact in said
    assert "not how models trained" in caption(analysis, 1, 0)
    assert "one draw (seed 0)" in caption(analysis, 1, 0)
    assert "layer 2" in caption(analysis, 1, 0)
    assert "dropout" not in caption(analysed("frozen only"), 0, 0).lower()
    assert "text prompts" in methods_text(analysed("text dropped too"))
    assert "vanilla dropout at p = 0.3" in methods_text(analysed("scaled tokens"))


# --- the button ---


def test_the_button_packs_numbers_page_figure_and_words(tmp_path):
    analysis = analysed()
    packed = taken_away(analysis, analysis.classes[1], 2)
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(packed["data"]))) as files:
        names = {name.rpartition(".")[2]: name for name in files.namelist()}
        assert {"npz", "html", "pdf", "svg", "txt"} == {*names}
        (tmp_path / "a.npz").write_bytes(files.read(names["npz"]))
        assert f"“{analysis.classes[1]}”" in files.read("words.txt").decode()
        assert "after layer 2" in files.read("words.txt").decode()
        assert all(name.isascii() and "/" not in name for name in files.namelist())
    assert load_analysis(tmp_path / "a.npz").classes == analysis.classes


def test_without_an_analysis_the_button_says_so():
    with pytest.raises(gr.Error, match="no analysis yet"):
        taken_away(None, None, 1)
