"""The overview's JSON: what it holds equals the analysis and its draws, and it is small."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from analysed import KINDS, analysed, tiny
from decoding import decoded
from tiny import prompted

from app.overview.payload import MAP_DRAWS, Overview
from drople.analysis import Analysis, analyse
from drople.class_texts import describe_classes
from drople.models.prompted_clip import PromptedClip
from drople.paired_draws import DrawBatch, first_draw, run_paired

PAIR = ("iwtd", "vanilla")


def model_of(kind: str):
    return tiny() if kind == "frozen only" else prompted(tiny())


def drawn(analysis: Analysis, model, count: int = 6) -> list[DrawBatch]:
    texts = describe_classes(model, analysis.classes)
    return [
        *run_paired(
            model, analysis.pixels, texts, settings=analysis.settings,
            pair=PAIR, seeds=range(count), map_classes=analysis.maps.classes, maps_for=5,
        )
    ]  # fmt: skip


def planted_draws() -> tuple[Analysis, DrawBatch]:
    """One token, 5, is important and all others are alike; in two of three draws IWTD spares it."""
    analysis = analysed()
    trace = analysis.images["adapted"]

    def one_leads(layer):
        shares = np.where(layer.content, 1.0, 0).astype(np.float32)
        shares[0, 1 + 5] = 10
        shares /= shares.sum()
        return replace(layer, shares=dict.fromkeys(layer.shares, shares), blend=shares)

    layers = tuple(one_leads(layer) for layer in trace.layers)
    analysis = replace(
        analysis, images={**analysis.images, "adapted": replace(trace, layers=layers)}
    )
    p = Overview(analysis).undropped.p
    shape = (3, *p["iwtd"].shape)
    dropped = {name: np.zeros(shape, bool) for name in PAIR}
    for one in dropped.values():
        one[:, :, [4, 6]] = True
    dropped["vanilla"][:2, :, 5] = True
    return analysis, DrawBatch(
        PAIR, (0, 1, 2), dropped, {name: np.ones(shape, bool) for name in PAIR},
        {name: np.broadcast_to(p[name], shape) for name in PAIR},
        {name: np.tile(analysis.predictions["adapted"].cosines, (3, 1)) for name in PAIR},
        analysis.predictions["adapted"].logit_scale, None,
    )  # fmt: skip


def sent(overview: Overview, batches=()):
    """The payload as the browser reads it."""
    return json.loads(json.dumps(overview.payload(batches), allow_nan=False))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_analysis_has_an_overview(kind):
    analysis = analysed(kind)
    found = sent(Overview(analysis))
    assert found["draws"] is None
    assert found["classes"] == [*analysis.classes]
    tokens = found["grid"][0] ** 2 + max(found["prompts"])
    for branch in found["branches"]:
        for shares in found["importance"][branch].values():
            values = decoded(shares)
            assert values.shape == (found["layers"], tokens)
            np.testing.assert_allclose(np.nansum(values, axis=1), 1, atol=1e-4)
        said = decoded(found["probabilities"][branch])
        np.testing.assert_allclose(said, analysis.predictions[branch].probabilities, atol=1e-6)
        read = decoded(found["lens"][branch])
        assert read.shape == (found["layers"], len(found["shown"]))
        np.testing.assert_allclose(read[-1], said[found["shown"]], atol=1e-5)
    for p in found["p"].values():
        assert decoded(p).shape == (found["depth"], tokens)
    assert len(found["sentences"]["ranked"]) == found["depth"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_analysis_tells_of_its_own_draw(kind):
    draw = first_draw(analysed(kind), PAIR)
    assert (draw is None) == (kind == "frozen only")
    if draw is not None:
        found = sent(Overview(analysed(kind)), [draw])
        assert found["draws"]["count"] == 1
        assert len(found["draws"]["summary"]["layers"]) == found["depth"]
        assert len(found["sentences"]["reason"]) == found["depth"]


def test_what_is_sent_equals_the_arrays():
    analysis = analysed()
    found = sent(Overview(analysis))
    for depth, layer in enumerate(analysis.images["adapted"].layers):
        for signal, shares in {"blend": layer.blend, **layer.shares}.items():
            kept = decoded(found["importance"]["adapted"][signal])[depth]
            np.testing.assert_array_equal(kept[: shares.shape[1] - 1], shares[0, 1:])
            token, times = found["lead"]["adapted"][signal][depth]
            assert token == np.nanargmax(kept)
            assert times == pytest.approx(np.nanmax(kept) * np.isfinite(kept).sum(), abs=0.01)
        np.testing.assert_allclose(
            decoded(found["p"]["iwtd"])[depth][: layer.blend.shape[1] - 1],
            layer.probability[0, 1:],
            atol=1e-6,
        )
    for name in ("frozen", "adapted", *PAIR):
        values = np.where(analysis.maps.unavailable[name], np.nan, analysis.maps.values[name])
        flat = values.reshape(len(values), -1)
        found_map = decoded(found["maps"]["values"][name])
        np.testing.assert_array_equal(np.isnan(found_map), np.isnan(flat))
        np.testing.assert_allclose(found_map, flat, atol=np.ptp(flat[np.isfinite(flat)]) / 500)


@pytest.mark.parametrize("kind", ["ordinary", "hidden tokens"])
def test_draws_that_differ_add_up_to_the_sentence(kind):
    """The page counts them from the masks, token by token."""
    analysis = analysed(kind)
    found = sent(Overview(analysis), drawn(analysis, model_of(kind)))
    batches = found["draws"]["batches"]
    masks = {
        key: {name: np.concatenate([decoded(one[key][name]) for one in batches]) for name in PAIR}
        for key in ("dropped", "eligible")
    }
    met = np.logical_and(*masks["eligible"].values())
    differ = (np.logical_xor(*masks["dropped"].values()) & met).sum(axis=0)
    share = np.nan_to_num(decoded(found["draws"]["summary"]["differ"]))
    np.testing.assert_allclose(differ, share * met.sum(axis=0), atol=1e-4)
    assert differ.any()
    for layer, said in enumerate(found["sentences"]["dropped"]):
        assert f" {differ[layer].sum()} of {met[:, layer].sum()} decisions differ" in said


@pytest.mark.parametrize("kind", ["ordinary", "frozen only", "hidden tokens"])
def test_draws_come_back_as_they_were_drawn(kind):
    analysis = analysed(kind)
    batches = drawn(analysis, model_of(kind))
    found = sent(Overview(analysis), batches)["draws"]
    assert found["count"] == 6
    assert [one["seeds"] for one in found["batches"]] == [[0, 1, 2, 3], [4], [5]]
    for one, batch in zip(found["batches"], batches, strict=True):
        for name in PAIR:
            for key, values in (("dropped", batch.dropped), ("eligible", batch.eligible)):
                np.testing.assert_array_equal(decoded(one[key][name]), values[name])
            np.testing.assert_allclose(decoded(one["p"][name]), batch.probability[name], atol=1e-3)
            assert one["answers"][name] == batch.cosines[name].argmax(axis=1).tolist()
            shown = batch.probabilities(name)[:, [*analysis.maps.classes]]
            np.testing.assert_allclose(decoded(one["probabilities"][name]), shown, atol=1e-6)
    assert found["batches"][2]["maps"] is None
    assert found["summary"]["map_draws"] == 5


def test_the_summary_is_worked_out_from_the_draws():
    analysis = analysed()
    batches = drawn(analysis, prompted(tiny()))
    found = sent(Overview(analysis), batches)["draws"]["summary"]
    dropped = {n: np.concatenate([one.dropped[n] for one in batches]) for n in PAIR}
    for name in PAIR:
        np.testing.assert_allclose(decoded(found["rate"][name]), dropped[name].mean(axis=0))
        p = np.concatenate([one.probabilities(name) for one in batches])
        low, mean, high = (decoded(found["probability"][name][k]) for k in ("low", "mean", "high"))
        np.testing.assert_allclose(mean, p.mean(axis=0), atol=1e-6)
        assert ((low <= mean) & (mean <= high)).all()
        maps = np.concatenate([one.maps[name] for one in batches if one.maps is not None])
        np.testing.assert_allclose(
            decoded(found["mean_maps"][name]), np.nanmean(maps, axis=0).reshape(len(p.T), -1),
            atol=np.nanmax(np.abs(maps)) / 100,
        )  # fmt: skip
    differ = dropped["iwtd"] ^ dropped["vanilla"]
    np.testing.assert_allclose(decoded(found["differ"]), differ.mean(axis=0), atol=1e-6)
    assert [one["differ"] for one in found["layers"]] == differ.sum(axis=(0, 2)).tolist()


def test_planted_draws_are_counted_mapped_and_told():
    analysis, batch = planted_draws()
    found = sent(Overview(analysis), [batch])
    summary = found["draws"]["summary"]
    assert summary["layers"][0]["differ"] == summary["layers"][0]["only_b"] == 2
    assert decoded(summary["differ"])[0, 5] == pytest.approx(2 / 3)
    assert decoded(summary["differ"])[0, [4, 6]].tolist() == [0, 0]
    difference = decoded(summary["difference"])[0]
    assert difference.argmin() == 5
    assert difference[4] > 0 > difference[5]
    tokens = difference.size
    said = found["sentences"]
    assert said["dropped"][0].startswith(
        f"Over 3 draws, after layer 1, 2 of {3 * tokens} decisions differ: IWTD alone drops 0, "
        "vanilla dropout alone 2; both 6 ("
    )
    assert "because one token, row 2, column 2, takes 100 %" in said["reason"][0]
    assert said["answer"].endswith("the answer never changes.")


def test_a_question_and_a_pair_have_an_id_of_their_own():
    one, other = analysed(), analysed("hidden tokens")
    ids = [Overview(one).payload()["id"], Overview(other).payload()["id"],
           Overview(one, pair=("iwtd", "inverse")).payload()["id"]]  # fmt: skip
    assert len({*ids}) == 3
    assert Overview(one).payload(drawn(one, prompted(tiny()), 2))["id"] == ids[0]


def test_classes_whose_very_names_the_prompts_learnt_are_marked():
    assert Overview(analysed()).payload()["learnt"] is None
    listed = replace(analysed(), classes=("cat", "Elephant", "car"))
    marked = Overview(listed, learnt=["elephant", "side of a car", "lion"]).payload()["learnt"]
    assert marked == [False, True, False]


def test_without_prompts_the_page_says_whose_choice_the_dropout_is():
    analysis = analysed("frozen only")
    found = sent(Overview(analysis), drawn(analysis, tiny()))
    assert found["notes"] == ["no prompts loaded: our choice"]
    assert (found["branches"], found["pair_branch"]) == (["frozen"], "frozen")
    assert found["signals"] == ["blend", "s_self", "s_cls"]
    assert {*found["maps"]["values"]} == {"frozen", *PAIR}
    assert "seeds 0 to 5" in found["provenance"]


def test_an_analysis_without_a_lens_has_none():
    assert Overview(replace(analysed(), lens=None)).payload()["lens"] is None


@pytest.mark.slow
def test_the_largest_usual_overview_is_under_600_kilobytes(mini):
    from PIL import Image

    from app.examples import EXAMPLES
    from drople.storage.prompts import load_prompts, shipped_prompts

    model, card = load_prompts(shipped_prompts()["caltech101-drople"], mini)
    assert isinstance(model, PromptedClip)
    names = tuple(f"thing number {i}" for i in range(10))
    settings = analysed().settings
    deep = replace(settings, dropout=replace(card.dropout, mode="zero", image_depth=12))
    analysis = analyse(model, Image.open(EXAMPLES[0].photo), names, deep)
    texts = describe_classes(model, names)
    (four,) = run_paired(
        model,
        analysis.pixels,
        texts,
        settings=deep,
        pair=PAIR,
        seeds=range(4),
        map_classes=range(10),
    )
    plain = replace(four, maps=None)
    batches = [four] * (MAP_DRAWS // 4) + [plain] * (MAP_DRAWS // 4)
    payload = Overview(analysis).payload(batches)
    assert payload["draws"]["count"] == 32
    assert payload["depth"] == 12
    assert len(json.dumps(payload, separators=(",", ":"))) < 600_000


def test_maps_come_with_what_a_reader_must_know_of_their_method():
    analysis = analysed()
    eigen = replace(analysis, maps=replace(analysis.maps, method="eigencam"))
    assert Overview(analysis).payload()["maps"]["caveat"] == ""
    assert "the same for every class" in Overview(eigen).payload()["maps"]["caveat"]
