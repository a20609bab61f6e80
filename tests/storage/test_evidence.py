"""A stored analysis that was forged, anywhere, is not equal; an honest one is."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from analysed import analysed, ask, tiny
from tiny import NAMES, noise_picture, prompted

from drople.__main__ import main
from drople.analysis import AnalysisSettings, analyse
from drople.class_texts import describe_classes
from drople.commands import replay as command
from drople.errors import EvidenceError
from drople.paired_draws import run_paired
from drople.storage.analyses import load_analysis, load_draws, save_analysis
from drople.storage.evidence import replay
from drople.storage.prompts import save_prompts
from drople.tokens.dropout import DropoutSettings

PAIR = ("iwtd", "vanilla")


@cache
def model():
    return prompted(tiny())


@cache
def drawn(**settings):
    """Ten draws of two dropouts of the ordinary picture, the first six with maps."""
    analysis = analysed()
    texts = describe_classes(model(), analysis.classes)
    return tuple(
        run_paired(
            model(), analysis.pixels, texts, settings=analysis.settings, pair=PAIR, seeds=range(10),
            map_classes=analysis.maps.classes, maps_for=6,
        )
    )  # fmt: skip


def layer_of(analysis, number=2, condition="iwtd", branch="images", **changes):
    """The analysis with other arrays in one layer."""
    traces = getattr(analysis, branch)
    layers = list(traces[condition].layers)
    old = layers[number]
    layers[number] = replace(
        old, **{name: make(getattr(old, name)) for name, make in changes.items()}
    )
    changed = replace(traces[condition], layers=tuple(layers))
    return replace(analysis, **{branch: {**traces, condition: changed}})


def put(value, at=(0, 5)):
    """Changes one number of an array."""

    def change(array):
        found = array.copy()
        found[at] = value(found[at]) if callable(value) else value
        return found

    return change


def said(analysis, **changes):
    """The analysis whose dropped prediction says something else."""
    one = replace(analysis.predictions["iwtd"], **changes)
    return replace(analysis, predictions={**analysis.predictions, "iwtd": one})


def set_up(analysis, **changes):
    return replace(analysis, settings=replace(analysis.settings, **changes))


def dropout(analysis, **changes):
    return set_up(analysis, dropout=replace(analysis.settings.dropout, **changes))


def made(analysis, **changes):
    return replace(analysis, provenance={**analysis.provenance, **changes})


FORGED = {
    "a probability": lambda a: layer_of(a, probability=put(lambda p: p + 0.01)),
    "a cosine": lambda a: said(a, cosines=put(9e-4, 1)(a.predictions["iwtd"].cosines)),
    "the logit scale": lambda a: said(a, logit_scale=a.predictions["iwtd"].logit_scale * 1.001),
    "a phrase": lambda a: replace(a, phrases=a.phrases | {"frozen": ("a", "b", "c")}),
    "a class name": lambda a: replace(a, classes=("lion", *a.classes[1:])),
    "a setting": lambda a: set_up(a, cam_method="eigencam"),
    "a setting without effect": lambda a: dropout(a, sigma=0.5),
    "a rate without effect": lambda a: dropout(a, p=0.9),
    "the seed": lambda a: set_up(made(a, seed=1), seed=1),
    "the seed of the provenance": lambda a: made(a, seed=1),
    "a drop": lambda a: layer_of(a, dropped=put(np.logical_not)),
    "a number drawn": lambda a: layer_of(a, uniform=put(lambda u: u / 2 + 0.5)),
    "a hidden token": lambda a: layer_of(a, eligible=put(np.logical_not)),
    "a share": lambda a: layer_of(a, blend=put(lambda share: share * 2)),
    "a signal": lambda a: layer_of(
        a, shares=lambda shares: {name: put(lambda v: v * 2)(one) for name, one in shares.items()}
    ),
    "a total": lambda a: layer_of(
        a, totals=lambda all_: {name: one * 1.01 for name, one in all_.items()}
    ),
    "a length": lambda a: layer_of(a, norms=put(lambda norm: norm * 1.01)),
    "a text share": lambda a: layer_of(
        a, condition="adapted", branch="texts", blend=put(lambda share: share + 0.01)
    ),
    "a word": lambda a: replace(
        a, texts=a.texts | {"frozen": replace(a.texts["frozen"], words=(("no",),) * 3)}
    ),
    "a map": lambda a: replace(
        a, maps=replace(a.maps, values=a.maps.values
                        | {"iwtd": put(lambda v: v + abs(a.maps.values["iwtd"]).max() / 50,
                                       (0, 1, 1))(a.maps.values["iwtd"])}),
    ),
    "a patch of a map": lambda a: replace(
        a, maps=replace(a.maps, unavailable=a.maps.unavailable
                        | {"iwtd": ~a.maps.unavailable["iwtd"]}),
    ),
    "the layer of the maps": lambda a: replace(a, maps=replace(a.maps, layer=1)),
    "the lens": lambda a: replace(a, lens=a.lens | {"adapted": a.lens["adapted"] + 0.01}),
    "a pixel": lambda a: replace(a, pixels=put(lambda v: v ^ 1, (3, 4, 0))(a.pixels)),
    "the version": lambda a: made(a, drople="9.9.9"),
    "torch": lambda a: made(a, torch="1.0"),
    "the device": lambda a: made(a, device="cuda:0"),
    "a signature": lambda a: made(a, signed_by="somebody"),
    "a version gone": lambda a: replace(
        a, provenance={k: v for k, v in a.provenance.items() if k != "torch"}
    ),
}  # fmt: skip
CHANGED_DRAWS = {
    "a drop": lambda one: replace(
        one, dropped=one.dropped | {"iwtd": put(np.logical_not, (1, 2, 3))(one.dropped["iwtd"])}
    ),
    "p": lambda one: replace(
        one, probability={name: p + np.float32(0.01) for name, p in one.probability.items()}
    ),
    "a cosine": lambda one: replace(
        one, cosines=one.cosines | {"iwtd": put(lambda c: c + 0.01, (1, 1))(one.cosines["iwtd"])}
    ),
    "a seed": lambda one: replace(one, seeds=(99, *one.seeds[1:])),
    "the logit scale": lambda one: replace(one, logit_scale=one.logit_scale * 1.01),
    "the maps": lambda one: replace(one, maps={k: v * 1.01 for k, v in one.maps.items()}),
    "an eligible token": lambda one: replace(
        one, eligible=one.eligible | {"iwtd": ~one.eligible["iwtd"]}
    ),
    "the dropout": lambda one: replace(
        one, pair=("iwtd", "inverse"),
        **{name: {"iwtd": (all_ := getattr(one, name))["iwtd"], "inverse": all_["vanilla"]}
           for name in ("dropped", "eligible", "probability", "cosines", "maps")},
    ),
}  # fmt: skip


def stored(tmp_path, analysis, draws=()):
    """An analysis and its draws as a file gives them back."""
    save_analysis(tmp_path / "a.npz", analysis, draws)
    return load_analysis(tmp_path / "a.npz"), load_draws(tmp_path / "a.npz")


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_analysis_is_not_equal(kind, tmp_path):
    forged, _ = stored(tmp_path, FORGED[kind](analysed()))
    report = replay(forged, model())
    assert not report.equal
    assert report.differing or report.provenance


@pytest.mark.parametrize("kind", CHANGED_DRAWS)
def test_a_forged_draw_is_not_equal(kind, tmp_path):
    first, *others = drawn()
    analysis, draws = stored(tmp_path, analysed(), [CHANGED_DRAWS[kind](first), *others])
    report = replay(analysis, model(), draws=draws)
    assert any(name.startswith("draws: ") for name in report.differing), report


def test_an_honest_analysis_and_its_draws_are_equal(tmp_path):
    analysis, draws = stored(tmp_path, analysed(), drawn())
    assert sum(len(one.seeds) for one in draws) == 10
    report = replay(analysis, model(), draws=draws)
    assert report.equal, report


@pytest.mark.parametrize("mode", ["hide", "noise", "zero_scaled"])
@pytest.mark.parametrize("adapted", [True, False])
def test_honest_draws_of_every_mode_are_equal(mode, adapted):
    net = model() if adapted else tiny()
    settings = AnalysisSettings(dropout=DropoutSettings(mode=mode), matched=mode != "noise")
    analysis = analyse(net, noise_picture(), NAMES, settings)
    draws = [*run_paired(net, analysis.pixels, describe_classes(net, NAMES), settings=settings,
                         pair=("cls", "none"), seeds=[3, 8, 9, 11, 40])]  # fmt: skip
    report = replay(analysis, net, draws=draws)
    assert report.equal, report


def test_an_analysis_of_before_the_question_was_hashed_is_equal():
    known = {k: v for k, v in analysed().provenance.items() if k != "question_hash"}
    assert replay(replace(analysed(), provenance=known), model()).equal


def test_kept_attention_is_compared():
    analysis = ask(keep_attention=True)
    assert replay(analysis, model()).equal
    forged = layer_of(analysis, attention=put(0.5, (0, 1, 2, 3)))
    assert "attention" in replay(forged, model()).differing


# --- the command ------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A stored analysis and the prompts that made it, in the current folder."""
    from storage.test_stored_prompts import card_of

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "load_backbone", lambda name, device="cpu": tiny())
    save_prompts("p.safetensors", model(), card_of(model()))
    save_analysis("a.npz", analysed(), drawn())
    return tmp_path / "a.npz"


def run(capsys):
    code = main(["replay", "a.npz", "--prompts", "p.safetensors"])
    return code, capsys.readouterr()


def rewrite(path, change):
    """Changes the header of a stored analysis."""
    with np.load(path) as found:
        arrays = {name: found[name] for name in found.files}
    header = json.loads(str(arrays.pop("header")))
    change(header)
    np.savez(path, header=np.array(json.dumps(header)), **arrays)


def test_the_command_says_that_an_honest_file_is_equal(file, capsys):
    code, said = run(capsys)
    assert (code, said.err) == (0, "")
    assert said.out.splitlines()[-1] == "equal, within 0.0001"


@pytest.mark.parametrize("kind", ["a setting", "a drop", "the version"])
def test_the_command_says_in_what_a_file_differs(file, capsys, kind):
    save_analysis(file, FORGED[kind](analysed()))
    code, said = run(capsys)
    assert code == 2
    assert "differs in " in said.err
    assert len(said.err.splitlines()) == 1
    assert "equal, within" not in said.out


def test_what_a_file_says_commands_no_terminal(file, capsys):
    evil = "\x1b]0;owned\x07\x1b[2J\u202e"
    rewrite(file, lambda header: header["analysis"]["provenance"].update({"torch": evil, evil: 1}))
    code, said = run(capsys)
    assert code == 2
    assert not {*"\x1b\x07\u202e"} & {*(said.out + said.err)}


@pytest.mark.parametrize(
    "name", ["hf-hub:somebody/model", "local-dir:somewhere", "ViT-B-16/laion400m_e32"]
)
def test_nothing_that_a_file_names_is_fetched(file, capsys, monkeypatch, name):
    monkeypatch.setattr(command, "load_backbone", lambda *_: pytest.fail("loaded"))
    rewrite(file, lambda header: header["analysis"]["provenance"].update(backbone=name))
    code, said = run(capsys)
    assert code == 2
    assert "Add --backbone" in said.err


def test_provenance_that_is_none_is_refused(file, capsys):
    rewrite(file, lambda header: header["analysis"].update(provenance={}))
    assert run(capsys)[0] == 2
    rewrite(file, lambda header: header["analysis"].update(provenance=[1]))
    assert run(capsys)[0] == 2


def test_a_file_without_a_lens_is_refused_where_its_schema_has_one(file):
    rewrite(file, lambda header: header["analysis"].update(lens=None))
    with pytest.raises(EvidenceError, match="no lens"):
        load_analysis(file)
