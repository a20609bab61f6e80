"""Saving: files hold what the page shows, without loss, under names any system takes."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import zipfile
from xml.etree import ElementTree

import gradio as gr
import numpy as np
import pytest
from analysed import KINDS, ODD_NAMES, analysed, ask
from computed import bench_of
from PIL import Image

from app.export.files import Bar, archive, as_csv, as_png, as_svg, read_bars, read_cells, stem_of
from app.figures.cams import cam_scale
from app.figures.importance import text_table
from app.figures.patches import overlay
from app.figures.theme import Scale, colour_bar
from app.lab import rate_curve, selectivity
from app.markdown import plain_text
from app.tabs import export, texts
from app.tabs.shared import View

PICTURE = np.random.default_rng(0).integers(0, 256, (30, 40, 4), dtype=np.uint8)
SIGNED = Scale(-0.25, 0.25, "for & <against>", diverging=True)


def draw_map(analysis, target):
    """A map with its scale and a note, as a view of the lab draws them."""
    scale = cam_scale(analysis.maps, 0)
    shown = overlay(analysis.pixels, analysis.maps.values["frozen"][0], scale, opacity=0.5)
    return gr.Image(shown, alt_text="a map"), colour_bar(scale), plain_text("It *is* a map.")


@pytest.fixture(scope="module")
def tabs():
    """The views of a few tabs, one of them with a picture."""
    with gr.Blocks():
        bench = bench_of()
        outputs = [gr.Image(label="Map", elem_id="map"), gr.HTML(), gr.Markdown()]
        return {
            "text": texts.build(),
            "map": [View(draw_map, [], outputs)],
            "selectivity": selectivity.build(bench),
            "rate curve": rate_curve.build(bench),
        }


def saved(views, analysis, plots="{}"):
    """The archive of a tab, its controls as they stand at first: file name -> content."""
    values = [c.value for view in views for c in view.own]
    found = export.saved("tab", views, True, plots, analysis, None, *values)
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(found["data"]))) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def texts_of(svg):
    """All text in an SVG, and its embedded picture."""
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    data = root.find(f"{space}image").attrib["href"].partition("base64,")[2]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    return [one.text for one in root.iter(f"{space}text")], picture


# --- single files ---


def test_a_png_holds_every_pixel():
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(as_png(PICTURE)))), PICTURE)


def test_a_colour_bar_is_read_as_it_was_written():
    (bar,) = read_bars("<p>x</p>" + colour_bar(SIGNED))
    assert bar.ends == ("\N{MINUS SIGN}0.25", "0", "0.25")
    assert bar.meaning == "for & <against>"
    assert (bar.colours[0], bar.colours[-1]) == ("rgb(8,48,107)", "rgb(127,39,4)")
    clipped = Scale(0, 2, "share", clipped=True)
    assert read_bars(colour_bar(clipped))[0].ends == ("0", "2.00 and more")


def test_an_svg_holds_the_picture_without_loss_and_its_words_as_text():
    svg = as_svg(PICTURE, "a <b> & \x00c", read_bars(colour_bar(SIGNED)), notes=["long " * 60])
    texts, picture = texts_of(svg)
    np.testing.assert_array_equal(picture, PICTURE)
    assert texts[0] == "a <b> & c"
    assert {"\N{MINUS SIGN}0.25", "0.25", "for & <against>"} <= set(texts)
    assert max(len(text) for text in texts) <= 100


def test_a_csv_is_read_back_but_for_what_a_spreadsheet_would_run():
    rows = [["=1+1", "-0.5", "+3"], ["@x", "-cat", 'a,\n"b"']]
    found = [*csv.reader(io.StringIO(as_csv(("x", "y", "z"), rows)))]
    assert found[0] == ["x", "y", "z"]
    assert found[1] == ["'=1+1", "-0.5", "+3"]
    assert found[2] == ["'@x", "'-cat", 'a,\n"b"']


def test_cells_are_read_as_rows():
    analysis = analysed()
    trace = analysis.texts["adapted"]
    rows = read_cells(text_table(trace, 0, "blend", scale=Scale(0, 1, "")))
    assert len(rows) == len(trace.layers)
    assert rows[0][0] == "layer 1"
    assert [cell.split()[0] for cell in rows[0][1:6]] == [*trace.words[0][:5]]
    _, strips = texts.draw(analysis, 0, "blend", "adapted")
    titles = [row[0] for row in read_cells(strips) if len(row) == 1]
    assert titles == [analysis.classes[i] for i in analysis.maps.classes]


@pytest.mark.parametrize("target", range(len(ODD_NAMES)))
def test_file_names_are_safe_and_say_the_seed(target):
    stem = stem_of(analysed("odd names"), target, "duel sheet/..\\")
    assert re.fullmatch(r"[\w-]+", stem)
    assert len(stem.encode()) < 200
    assert stem.endswith("seed-0")
    assert stem_of(ask(seed=12), 0, "x").endswith("seed-12")


def test_an_archive_is_the_same_for_the_same_files():
    assert archive({"a": b"1", "b": b"2"}) == archive({"a": b"1", "b": b"2"})


# --- a whole tab ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["text", "map"])
def test_a_tab_can_be_saved_for_every_kind_of_analysis(tabs, name, kind):
    files = saved(tabs[name], analysed(kind))
    assert len(files) > 1
    for file, content in files.items():
        if file.endswith("svg"):
            ElementTree.fromstring(content)


def test_pictures_are_those_on_the_page_and_carry_their_scale(tabs):
    shown, _, _ = draw_map(analysed(), 0)
    files = {name.rpartition(".")[2]: file for name, file in saved(tabs["map"], analysed()).items()}
    png = np.asarray(Image.open(io.BytesIO(files["png"])))
    np.testing.assert_array_equal(png, shown.constructor_args["value"])
    texts, _ = texts_of(files["svg"])
    assert any("orange for, blue against" in text for text in texts)
    assert "It is a map." in [text.replace("*", "") for text in texts]
    assert "one draw" in " ".join(texts)


def test_plots_are_what_the_browser_handed_over(tabs):
    svg = '<svg xmlns="http://www.w3.org/2000/svg"/>'
    plots = {"meter-plot": {"svg": svg, "png": base64.b64encode(b"png").decode()},
             "another": {"svg": svg, "png": ""}}  # fmt: skip
    files = saved(tabs["selectivity"], analysed(), json.dumps(plots))
    contents = {name.rpartition(".")[2]: content for name, content in files.items()}
    assert contents["svg"] == svg.encode()
    assert contents["png"] == b"png"
    assert contents["csv"].startswith(b"normalisation,layer")
    assert b"On average over the layers" in contents["txt"]
    assert len(files) == 4


@pytest.mark.parametrize("plots", [None, "", "[1]", "{", '{"meter-plot": 3}'])
def test_a_browser_that_hands_nothing_over_gets_the_rest(tabs, plots):
    files = saved(tabs["selectivity"], analysed(), plots)
    assert {name.rpartition(".")[2] for name in files} == {"csv", "txt"}


def test_before_an_analysis_there_is_nothing_to_save(tabs):
    with pytest.raises(gr.Error, match="Press Analyse first"):
        saved(tabs["text"], None)


def test_before_a_computation_there_is_nothing_to_save(tabs):
    with pytest.raises(gr.Error, match="compute it first"):
        saved(tabs["rate curve"], analysed())


def test_a_bar_in_words():
    assert Bar((), ("-1", "0", "1"), "x").line == "x: from -1 to 1"
