"""What leaves the app with a visitor: the page, the gallery, all files of an analysis."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from html.parser import HTMLParser

import gradio as gr
import numpy as np
import pytest
from analysed import KINDS, ODD_NAMES, OTHERS, analysed, drawn
from decoding import decoded

from app.export.standalone import ASSETS, standalone_page
from app.gallery import main, page_of, write_gallery
from app.overview.payload import Overview
from app.tabs.take_away import read_state, taken_away
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
