"""Pictures: what a colour, a hatch and a row stand for, whatever the analysis and the names."""

from __future__ import annotations

import copy
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
from analysed import KINDS, ODD_NAMES, analysed

from app.figures import cams, dropped, importance, patches, predictions, theme
from app.figures.theme import Scale, one_sided, symmetric

TAG = re.compile(r"</?([a-zA-Z]\w*)")
SCALE = Scale(0.0, 1.0, "something")
MARKUP = ODD_NAMES[0]


@pytest.fixture
def photo():
    """A photograph of noise, (32, 32, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture
def values():
    """A map of 4 x 4 patches in [0, 1]."""
    return np.random.default_rng(1).random((4, 4))


def middle(panel, row, column, grid=4):
    """The colour in the middle of one patch of a panel."""
    step = len(panel) // grid
    return panel[row * step + step // 2, column * step + step // 2]


# --- patches on the photograph ---


def test_an_overlay_is_a_panel_of_bytes(photo, values):
    panel = patches.overlay(photo, values, SCALE)
    assert panel.shape == (patches.SIDE, patches.SIDE, 3)
    assert panel.dtype == np.uint8


def test_opacity_zero_shows_the_grey_photograph(photo, values):
    panel = patches.overlay(photo, values, SCALE, opacity=0)
    np.testing.assert_array_equal(panel, patches.enlarge(patches.grey(photo)))


def test_opacity_one_shows_the_colours_of_the_patches(photo, values):
    panel = patches.overlay(photo, values, SCALE, opacity=1)
    for row, column in np.ndindex(4, 4):
        expected = SCALE.rgb(values[row, column])
        np.testing.assert_array_equal(middle(panel, row, column), expected)


def test_the_grey_photograph_has_no_colour(photo):
    grey = patches.grey(photo)
    assert grey.shape == photo.shape
    assert grey.dtype == np.uint8
    assert (grey == grey[..., :1]).all()


def test_hatching_changes_only_the_marked_patches(photo):
    panel, marked = patches.enlarge(photo), np.eye(4, dtype=bool)
    hatched = patches.hatch(panel, marked)
    inside = patches.to_panel(marked, len(panel))
    np.testing.assert_array_equal(hatched[~inside], panel[~inside])
    assert (hatched[inside] != panel[inside]).any(axis=-1).mean() > 0.9


def test_a_marked_patch_shows_stripes_and_not_its_value(photo, values):
    marked = np.eye(4, dtype=bool)
    low = patches.overlay(photo, values * 0, SCALE, opacity=1, marked=marked)
    high = patches.overlay(photo, values * 0 + 1, SCALE, opacity=1, marked=marked)
    inside = patches.to_panel(marked, len(low))
    assert len(np.unique(low[inside].reshape(-1, 3), axis=0)) == 2
    np.testing.assert_array_equal(
        (low[inside] == 70).all(axis=-1), (high[inside] == 70).all(axis=-1)
    )


def test_a_patch_that_is_not_a_number_is_grey(photo, values):
    values[1, 2] = np.nan
    panel = patches.overlay(photo, values, SCALE, opacity=1)
    np.testing.assert_array_equal(middle(panel, 1, 2), [128, 128, 128])


@pytest.mark.parametrize(
    "draw",
    [
        lambda p, v, m: patches.overlay(p, v, SCALE, marked=m),
        lambda p, v, m: patches.hatch(patches.enlarge(p), m),
        lambda p, v, m: patches.strip(p, [v, v], SCALE, chosen=1, marked=[m, m]),
        lambda p, v, m: patches.as_uri(patches.grey(p)),
    ],
)
def test_drawing_leaves_its_inputs_alone(photo, values, draw):
    given = (photo, values, np.eye(4, dtype=bool))
    before = copy.deepcopy(given)
    draw(*given)
    for after, expected in zip(given, before, strict=True):
        np.testing.assert_array_equal(after, expected)


# --- the strip of all layers ---


@pytest.mark.parametrize("count", [1, 4, 5, 12])
def test_a_click_in_the_middle_of_a_tile_gives_that_tile(photo, values, count):
    height, width = patches.strip(photo, [values] * count, SCALE, chosen=0).shape[:2]
    for i in range(count):
        x, y = (6 + (k + 0.5) * patches.TILE + k * 6 for k in (i % 4, i // 4))
        assert x < width
        assert y < height
        assert patches.tile_at(x, y, count) == i


def test_a_click_anywhere_gives_the_tile_there_or_none_nearby():
    edge = 6 + patches.TILE
    for x, y in np.random.default_rng(2).uniform(0, 4 * edge + 6, (500, 2)):
        tile = patches.tile_at(x, y, 12)
        inside = x % edge >= 6 and y % edge >= 6 and x < 4 * edge and y < 3 * edge
        assert tile is not None or not inside
        if tile is not None:
            left, top = tile % 4 * edge, tile // 4 * edge
            assert left <= x < left + edge
            assert top <= y < top + edge


@pytest.mark.parametrize(("x", "y"), [(-1, 5), (640, 80), (80, 500), (400, 200)])
def test_a_click_beside_the_tiles_gives_none(x, y):
    assert patches.tile_at(x, y, 5) is None


def test_only_the_chosen_tile_is_framed(photo, values):
    first, second = (patches.strip(photo, [values] * 8, SCALE, chosen=i) for i in (1, 6))
    changed = (first != second).any(axis=-1)
    for row, column in ((0, 1), (1, 2)):
        top, left = 2 + row * (patches.TILE + 6), 2 + column * (patches.TILE + 6)
        around = np.s_[top : top + patches.TILE + 8, left : left + patches.TILE + 8]
        assert changed[around].any()
        changed[around] = False
    assert not changed.any()


# --- scales ---


def test_a_symmetric_scale_reaches_as_far_below_zero_as_above():
    scale = symmetric([np.array([-3.0, 1.0]), np.array([2.0])], "evidence")
    assert (scale.low, scale.high) == (-3.0, 3.0)
    values = np.linspace(-3, 3, 7)
    np.testing.assert_allclose(scale.unit(values) + scale.unit(-values), 1)


def test_zero_is_nearly_white_on_a_symmetric_scale():
    colour = symmetric([np.array([-3.0, 1.0])], "evidence").rgb(np.array(0.0))
    assert colour.min() > 240


def test_a_one_sided_scale_starts_at_zero():
    scale = one_sided([np.array([0.5, 2.0]), np.array([4.0])], "strength")
    assert (scale.low, scale.high) == (0.0, 4.0)


def test_a_scale_without_width_draws_everything_in_the_middle():
    scale = symmetric([np.zeros((4, 4))], "evidence")
    np.testing.assert_array_equal(scale.unit(np.zeros((4, 4))), 0.5)


@pytest.mark.parametrize("diverging", [False, True])
def test_a_value_has_one_colour_on_plots_and_on_panels(diverging):
    scale = Scale(-1.0, 1.0, "x", diverging=diverging)
    for stop, colour in scale.plotly():
        said = [int(c) for c in re.findall(r"\d+", colour)]
        np.testing.assert_allclose(scale.rgb(np.array(2 * stop - 1)), said, atol=1)


def test_values_above_a_clipped_scale_have_its_top_colour():
    scale = Scale(0.0, 2.0, "x", clipped=True)
    np.testing.assert_array_equal(scale.rgb(np.array(9.0)), scale.rgb(np.array(2.0)))


def test_a_colour_bar_names_its_ends_and_its_meaning():
    bar = theme.colour_bar(Scale(-0.5, 0.5, "evidence in cosines", diverging=True))
    assert re.findall(r"<span>(.*?)</span>", bar) == ["-0.50", "0", "0.50"]
    assert "evidence in cosines" in bar


def test_a_clipped_colour_bar_says_that_more_is_possible():
    assert "2.00 and more" in theme.colour_bar(Scale(0, 2, "x", clipped=True))
    assert "and more" not in theme.colour_bar(Scale(0, 2, "x"))


@pytest.mark.parametrize("diverging", [False, True])
def test_the_text_of_a_cell_stands_out_from_its_colour(diverging):
    scale = Scale(0.0, 1.0, "x", diverging=diverging)
    for value in np.linspace(0, 1, 101):
        cell = importance.cell("P1", value, scale)
        ground = [int(c) for c in re.search(r"rgb\((.*?)\)", cell)[1].split(",")]
        ink = bytes.fromhex(re.search(r";color:#(\w{6})", cell)[1])
        assert contrast(ground, ink) >= 4.5, (value, cell)


def contrast(*colours):
    """The contrast ratio of two colours (WCAG 2.2)."""
    lights = []
    for colour in colours:
        unit = np.asarray(list(colour)) / 255
        linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


# --- names that look like markup ---


@pytest.mark.parametrize("name", ODD_NAMES)
def test_html_shows_a_name_as_text(name):
    pieces = [
        theme.chip("frozen", name),
        theme.chip(name),
        theme.colour_bar(Scale(0, 1, name), (name, name)),
        importance.cell(name, 0.5, SCALE),
    ]
    tags = {tag for piece in pieces for tag in TAG.findall(piece)}
    assert tags <= {"span", "div", "b", "i"}


def test_the_words_of_a_class_cannot_become_markup():
    analysis = analysed("odd names")
    for target in range(len(ODD_NAMES)):
        for branch in ("frozen", "adapted"):
            table = importance.text_table(analysis, branch, target, "blend")
            assert {*TAG.findall(table)} <= {"div", "table", "tr", "th", "td", "span", "b", "i"}


def test_an_axis_shows_markup_as_text():
    figure = predictions.predictions_figure(analysed("odd names"), 0)
    labels = [*figure.layout.yaxis.ticktext, *figure.data[0].text]
    assert "&lt;img src=x onerror=aler…" in labels
    assert not any("<" in label for label in labels)


def test_a_long_name_is_cut_on_an_axis_before_it_is_escaped():
    assert predictions.short("<" * 30) == "&lt;" * 23 + "…"
    assert predictions.short("cat & dog") == "cat &amp; dog"


def test_a_photograph_travels_inside_its_figure():
    figure = importance.layer_figure(analysed(), "adapted", 0, "blend", opacity=0.5, locked=True)
    assert figure.layout.images[0].source.startswith("data:image/png;base64,")


# --- predictions ---


@pytest.mark.parametrize("kind", ["ordinary", "frozen only", "many classes", "three dropouts"])
def test_the_figure_shows_the_probabilities_of_the_analysis(kind):
    analysis = analysed(kind)
    shown = predictions.rows_shown(analysis, 0)
    figure = predictions.predictions_figure(analysis, 0)
    assert [one.name for one in figure.data] == [
        theme.CONDITION_NAMES[c] for c in analysis.conditions
    ]
    for one, said in zip(figure.data, analysis.predictions.values(), strict=True):
        np.testing.assert_array_equal(one.x, said.probabilities[shown])


@pytest.mark.parametrize("target", [0, 13, 29])
def test_at_most_ten_classes_are_shown_and_the_target_is_one(target):
    analysis = analysed("many classes")
    shown = predictions.rows_shown(analysis, target)
    assert len(shown) == len(set(shown)) == 10
    assert target in shown


def test_the_likeliest_class_comes_first():
    analysis = analysed("many classes")
    shown = predictions.rows_shown(analysis, 0)
    likely = np.maximum(*(analysis.predictions[c].probabilities for c in ("frozen", "adapted")))
    assert shown[0] == likely.argmax()
    assert (np.diff(likely[shown]) <= 0).all()


def test_the_table_of_predictions_holds_the_rows_of_the_figure():
    analysis = analysed("odd names")
    rows = predictions.predictions_table(analysis, 3)
    shown = predictions.rows_shown(analysis, 3)
    assert [row[0] for row in rows] == [ODD_NAMES[i] for i in shown]
    assert [row[1] for row in rows] == [
        f"{analysis.predictions['frozen'].probabilities[i]:.3f}" for i in shown
    ]


@pytest.mark.parametrize("kind", ["ordinary", "frozen only", "three dropouts"])
def test_every_row_of_the_predictions_has_a_value_under_each_header(kind):
    headers = predictions.table_headers(analysed(kind))
    rows = predictions.predictions_table(analysed(kind), 0)
    assert {len(row) for row in rows} == {len(headers)}


def test_a_condition_has_one_colour_on_figures_and_chips():
    figure = predictions.predictions_figure(analysed(), 0)
    colours = [one.marker.color for one in figure.data]
    chips = [theme.chip(condition) for condition in analysed().conditions]
    assert all(colour in chip for colour, chip in zip(colours, chips, strict=True))
    assert len(set(colours)) == 4


# --- importance ---


@pytest.mark.parametrize("kind", ["ordinary", "modular prompts", "text prompts alone"])
@pytest.mark.parametrize("signal", ["blend", "s_self", "s_cls"])
def test_multiples_of_an_even_share_average_to_one(kind, signal):
    traces = [*analysed(kind).images.values(), *analysed(kind).texts.values()]
    for layer in (one for trace in traces for one in trace.layers):
        means = np.nanmean(importance.values_of(layer, signal), axis=1)
        np.testing.assert_allclose(means, 1, atol=1e-4)


def test_tokens_without_an_importance_have_no_value():
    layer = analysed().images["adapted"].layers[0]
    known = np.isfinite(importance.values_of(layer, "blend"))
    np.testing.assert_array_equal(known, layer.content)
    assert not known[0, 0]  # the class token


def test_p_is_shown_where_a_dropout_would_act_and_nowhere_else():
    first, _, last, _ = analysed("shallow dropout").images["adapted"].layers
    np.testing.assert_array_equal(np.isfinite(importance.values_of(first, "p")), first.eligible)
    assert np.isnan(importance.values_of(last, "p")).all()


def test_a_signal_that_does_not_exist_has_no_values():
    layer = analysed("coupled prompts, no bridge").images["adapted"].layers[0]
    assert np.isnan(importance.values_of(layer, "s_cross")).all()


@pytest.mark.parametrize(
    ("kind", "condition", "expected"),
    [
        ("ordinary", "adapted", ["blend", "s_self", "s_cls", "s_cross", "p"]),
        ("coupled prompts, no bridge", "adapted", ["blend", "s_self", "s_cls", "p"]),
        ("frozen only", "frozen", ["blend", "s_self", "s_cls"]),
    ],
)
def test_only_signals_that_exist_are_offered(kind, condition, expected):
    assert importance.signals_of(analysed(kind).images[condition]) == expected


def test_all_layers_share_a_locked_scale():
    analysis = analysed()
    figures = [
        importance.layer_figure(analysis, "adapted", i, "blend", opacity=1, locked=True)
        for i in range(4)
    ]
    assert len({(one.data[0].zmin, one.data[0].zmax) for one in figures}) == 1


def test_unlocked_each_layer_has_a_scale_of_its_own():
    trace = analysed().images["adapted"]
    tops = {importance.scale_of(analysed(), trace, "blend", i).high for i in range(4)}
    assert len(tops) == 4


def test_the_scale_of_p_runs_from_p_min_to_p_max():
    analysis = analysed()
    scale = importance.scale_of(analysis, analysis.images["adapted"], "p", None)
    assert (scale.low, scale.high) == (0.1, 0.5)


def test_the_large_map_holds_the_values_of_its_layer():
    layer = analysed().images["frozen"].layers[2]
    figure = importance.layer_figure(analysed(), "frozen", 2, "s_cls", opacity=0.3, locked=False)
    expected = layer.patches(importance.values_of(layer, "s_cls"))
    np.testing.assert_allclose(figure.data[0].z, expected, rtol=1e-6)
    assert figure.data[0].opacity == 0.3


def test_hovering_tells_the_numbers_of_the_patch_under_the_pointer():
    layer = analysed().images["adapted"].layers[0]
    text = importance.hover_texts(layer)[2][3]
    token = 1 + 2 * 4 + 3
    raw = layer.shares["s_cls"][0, token] * layer.totals["s_cls"][0, 0]
    assert "row 3, column 4" in text
    assert f"s_cls: {raw:.4f}" in text
    assert f"p = {layer.probability[0, token]:.3f}" in text


def test_ranks_count_the_tokens_that_matter_more():
    layer = analysed().images["adapted"].layers[1]
    texts = importance.hover_texts(layer)
    for row, column in np.ndindex(4, 4):
        more = (layer.blend[0] > layer.blend[0, 1 + 4 * row + column]).sum()
        assert f"rank {more + 1} of {layer.content.sum()}" in texts[row][column]


@pytest.mark.parametrize("layer", range(4))
def test_every_prompt_token_of_a_layer_has_its_cell(layer):
    analysis = analysed("modular prompts")
    one = analysis.images["adapted"].layers[layer]
    html = importance.prompt_cells(analysis, "adapted", layer, "blend", SCALE)
    count = one.prompts[1] - one.prompts[0]
    assert re.findall(r"<b>(.*?)</b>", html) == [f"P{i + 1}" for i in range(count)]


def test_a_branch_without_prompt_tokens_says_so():
    frozen = importance.prompt_cells(analysed(), "frozen", 0, "blend", SCALE)
    adapted = importance.prompt_cells(analysed("text prompts alone"), "adapted", 0, "blend", SCALE)
    assert "frozen branch has no prompt tokens" in frozen
    assert "no prompt tokens" in adapted
    assert "frozen" not in adapted.lower()


def test_the_words_of_a_class_have_a_row_for_each_layer():
    table = importance.text_table(analysed(), "adapted", 2, "blend")
    words = analysed().texts["adapted"].words[2]
    assert len(re.findall("<tr>", table)) == 4
    assert table.count("<td") == 4 * len(words)
    assert words[1:5] == ("P1", "P2", "P3", "P4")


def test_all_layers_are_shown_as_one_sheet_of_tiles():
    sheet = importance.layers_strip(analysed(), "adapted", "blend", chosen=2, locked=True)
    assert sheet.shape == (162, 630, 4)
    assert sheet.dtype == np.uint8


# --- dropped tokens ---


@pytest.mark.parametrize("condition", ["vanilla", "iwtd"])
def test_exactly_the_dropped_patches_are_hatched(condition):
    analysis = analysed()
    one = analysis.images[condition].layers[1]
    panel = dropped.dropped_panel(analysis, condition, 1)
    photo = patches.enlarge(analysis.pixels)
    gone = patches.to_panel(one.patches(one.dropped), len(panel))
    np.testing.assert_array_equal(panel[~gone], photo[~gone])
    assert (panel[gone] != photo[gone]).any(axis=-1).mean() > 0.9


def test_where_no_dropout_acts_the_photograph_is_whole():
    analysis = analysed("shallow dropout")
    panel = dropped.dropped_panel(analysis, "iwtd", 3)
    np.testing.assert_array_equal(panel, patches.enlarge(analysis.pixels))


@pytest.mark.parametrize(("kind", "acting"), [("shallow dropout", 2), ("modular prompts", 4)])
def test_how_often_counts_the_layers_that_drop_a_patch(kind, acting):
    analysis = analysed(kind)
    layers = analysis.images["iwtd"].layers[:acting]
    counts = sum(one.patches(one.dropped).astype(int) for one in layers)
    scale = Scale(0, acting, dropped.HOW_OFTEN)
    expected = patches.overlay(analysis.pixels, counts, scale, opacity=0.75)
    np.testing.assert_array_equal(dropped.often_panel(analysis, "iwtd"), expected)


def test_how_often_is_never_where_no_dropout_acts():
    analysis = analysed("no image dropout")
    panel = dropped.often_panel(analysis, "iwtd")
    assert panel.shape == (patches.SIDE, patches.SIDE, 3)


@pytest.mark.parametrize("kind", ["ordinary", "shallow dropout", "no image dropout"])
def test_every_layer_has_a_row_of_counts_under_the_headers(kind):
    headers = dropped.counts_headers(analysed(kind))
    rows = dropped.counts_table(analysed(kind))
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    assert {len(row) for row in rows} == {len(headers)}


def test_the_counts_are_those_of_the_analysis():
    layer = analysed().images["iwtd"].layers[0]
    row = dropped.counts_table(analysed())[0]
    assert row[4] == f"{layer.dropped.sum()} of {layer.eligible.sum()}"


# --- class activation maps ---


def test_the_panels_of_a_class_share_one_scale():
    analysis = analysed()
    scale = cams.cam_scale(analysis.maps, 1)
    for condition, maps in analysis.maps.values.items():
        panel = cams.cam_panel(analysis, analysis.maps, condition, 1, opacity=1)
        free = ~analysis.maps.unavailable[condition]
        for row, column in np.argwhere(free):
            expected = scale.rgb(maps[1, row, column])
            np.testing.assert_array_equal(middle(panel, row, column), expected)


def test_the_scale_of_a_class_covers_every_condition():
    maps = analysed().maps
    for index in range(len(maps.classes)):
        scale = cams.cam_scale(maps, index)
        assert scale.high == max(float(np.abs(v[index]).max()) for v in maps.values.values())
        assert scale.low == -scale.high


def test_equal_maps_give_equal_pictures():
    analysis = analysed()
    same = analysis.maps.values["frozen"]
    nowhere = np.zeros((4, 4), dtype=bool)
    maps = replace(
        analysis.maps,
        values={"frozen": same, "iwtd": same.copy()},
        unavailable={"frozen": nowhere, "iwtd": nowhere},
    )
    panels = [cams.cam_panel(analysis, maps, c, 0, opacity=0.5) for c in ("frozen", "iwtd")]
    np.testing.assert_array_equal(*panels)


@pytest.mark.parametrize(
    ("method", "low_is_zero"), [("gradcam++", True), ("layercam", True), ("eigencam", False)]
)
def test_a_method_without_a_sign_has_a_scale_without_a_middle(method, low_is_zero):
    maps = replace(analysed().maps, method=method)
    scale = cams.cam_scale(maps, 0)
    assert not scale.diverging
    assert (scale.low == 0) == low_is_zero


@pytest.mark.filterwarnings("ignore:All-NaN")
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_a_degenerate_map_still_gives_a_picture(value):
    analysis = analysed()
    values = {c: v * 0 + value for c, v in analysis.maps.values.items()}
    maps = replace(analysis.maps, values=values)
    panel = cams.cam_panel(analysis, maps, "frozen", 0, opacity=1)
    assert panel.shape == (patches.SIDE, patches.SIDE, 3)
    assert len(np.unique(panel.reshape(-1, 3), axis=0)) == 1


# --- the analysis itself ---


@pytest.mark.parametrize("kind", KINDS)
def test_no_picture_changes_its_analysis(kind):
    analysis = analysed(kind)
    before = pickle.dumps(analysis)
    last = "iwtd" if analysis.adapted else "frozen"
    predictions.predictions_figure(analysis, 0)
    importance.layer_figure(analysis, last, 1, "blend", opacity=0.5, locked=False)
    importance.layers_strip(analysis, last, "p", chosen=0, locked=True)
    cams.cam_panel(analysis, analysis.maps, last, 0, opacity=0.5)
    dropped.dropped_panel(analysis, last, 0)
    assert pickle.dumps(analysis) == before
