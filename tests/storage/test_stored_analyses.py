"""Analyses as files: nothing is lost, nothing bad is read, and a replay tells how far it is."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
from analysed import KINDS, analysed
from tiny import prompted, tiny_clip, wrap

from drople.analysis import Analysis
from drople.errors import EvidenceError
from drople.models.prompts import PromptPlan
from drople.storage.analyses import load_analysis, replay, save_analysis


def leaves(value, name="analysis"):
    """Every scalar and array of nested values, with where it was found."""
    if is_dataclass(value):
        for part in fields(value):
            yield from leaves(getattr(value, part.name), f"{name}.{part.name}")
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, f"{name}[{key}]")
    elif isinstance(value, tuple | list):
        for i, part in enumerate(value):
            yield from leaves(part, f"{name}[{i}]")
    else:
        yield name, value


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_analysis_is_the_same_to_the_last_bit(kind, tmp_path):
    save_analysis(tmp_path / "a.npz", analysed(kind))
    old, new = dict(leaves(analysed(kind))), dict(leaves(load_analysis(tmp_path / "a.npz")))
    assert list(old) == list(new)
    for name, value in old.items():
        assert type(value) is type(new[name]), name
        if isinstance(value, np.ndarray):
            assert value.dtype == new[name].dtype, name
            np.testing.assert_array_equal(value, new[name], err_msg=name)
        else:
            assert value == new[name], name


def test_settings_that_were_read_are_equal(tmp_path):
    save_analysis(tmp_path / "a.npz", analysed("hidden tokens"))
    assert load_analysis(tmp_path / "a.npz").settings == analysed("hidden tokens").settings


def rewrite(path, change):
    """Changes the header of a stored analysis."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    header = json.loads(str(arrays.pop("header")))
    change(header, arrays)
    np.savez(path, header=np.array(json.dumps(header)), **arrays)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda header, arrays: header.update(schema=99), "schema 99"),
        (lambda header, arrays: header.update(format="other"), "holds no analysis"),
        (lambda header, arrays: header["analysis"].pop("maps"), "not complete"),
        (lambda header, arrays: header["analysis"].update(surprise=1), "surprise"),
        (lambda header, arrays: header["analysis"]["settings"].update(seed="x"), "expected int"),
        (lambda header, arrays: arrays.clear(), "not complete"),
        (
            lambda header, arrays: header["analysis"]["settings"]["dropout"].update(p_min=7),
            "p_min is 7",
        ),
    ],
)
def test_a_wrong_header_is_refused(change, says, tmp_path):
    path = tmp_path / "a.npz"
    save_analysis(path, analysed())
    rewrite(path, change)
    with pytest.raises(EvidenceError, match=says):
        load_analysis(path)


@pytest.mark.parametrize("kept", [0, 3, 100, 5000])
def test_a_cut_off_file_is_refused(kept, tmp_path):
    path = tmp_path / "a.npz"
    save_analysis(path, analysed())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(EvidenceError):
        load_analysis(path)


def test_a_pickle_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    np.savez(tmp_path / "a.npz", header=np.array([Bomb()], dtype=object))
    with pytest.raises(EvidenceError):
        load_analysis(tmp_path / "a.npz")
    assert not (tmp_path / "ran").exists()


def test_no_file_is_one_sentence(tmp_path):
    with pytest.raises(EvidenceError, match="no file nothing"):
        load_analysis(tmp_path / "nothing.npz")


# --- replay -----------------------------------------------------------------------------------


MODELS = {
    "ordinary": lambda backbone: prompted(backbone),
    "frozen only": lambda backbone: backbone,
    "hidden tokens": lambda backbone: prompted(backbone),
    "official code": lambda backbone: prompted(backbone),
    "scaled tokens": lambda backbone: prompted(backbone),
    "three dropouts": lambda backbone: prompted(backbone),
    "another map": lambda backbone: prompted(backbone),
    "modular prompts": lambda backbone: prompted(backbone, PromptPlan(kind="modular")),
}


@pytest.mark.parametrize("kind", MODELS)
def test_on_the_same_machine_a_replay_is_equal(kind, backbone):
    report = replay(analysed(kind), MODELS[kind](backbone))
    assert report.equal, report
    assert report.redrawn == 0
    assert max(report.differences.values()) < 1e-6
    assert (report.drawn > 0) == analysed(kind).adapted


def changed_layers(analysis: Analysis, condition: str, **changes) -> Analysis:
    """The analysis whose drawn layers of one condition hold other arrays."""
    trace = analysis.images[condition]
    layers = tuple(
        one
        if one.dropped is None
        else replace(one, **{name: make(one) for name, make in changes.items()})
        for one in trace.layers
    )
    return replace(analysis, images={**analysis.images, condition: replace(trace, layers=layers)})


def test_a_replay_drops_what_the_file_says(backbone):
    stored = analysed()
    # Nothing dropped under IWTD: its prediction must become the adapted branch's.
    changed = changed_layers(stored, "iwtd", dropped=lambda one: np.zeros_like(one.dropped))
    cosines = {**stored.predictions, "iwtd": stored.predictions["adapted"]}
    report = replay(replace(changed, predictions=cosines), prompted(backbone))
    assert report.differences["cosines"] < 1e-5
    assert report.differences["maps"] > 1e-4  # the stored maps are of the old drops
    assert not report.equal


def test_a_replay_counts_draws_that_would_go_the_other_way(backbone):
    stored = analysed()
    dropped = sum(
        int(x.dropped.sum()) for x in stored.images["iwtd"].layers if x.dropped is not None
    )
    assert dropped > 0
    lifted = changed_layers(stored, "iwtd", uniform=lambda one: np.ones_like(one.uniform))
    assert replay(lifted, prompted(backbone)).redrawn == dropped


def test_a_replay_with_another_model_is_refused(backbone):
    with pytest.raises(EvidenceError, match="backbone loaded"):
        replay(analysed(), prompted(wrap(tiny_clip(seed=5))))
    with pytest.raises(EvidenceError, match="prompts"):
        replay(analysed(), prompted(backbone, PromptPlan(text_count=2)))
    with pytest.raises(EvidenceError, match="loaded have weights None"):
        replay(analysed(), backbone)
