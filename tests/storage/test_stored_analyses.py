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
from drople.paired_draws import first_draw
from drople.storage.analyses import load_analysis, load_draws, save_analysis
from drople.storage.evidence import replay


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


def as_schema_1(header, arrays):
    """A header as the first schema had it."""
    header["schema"] = 1
    del header["analysis"]["lens"]


def test_a_file_of_the_first_schema_still_opens(tmp_path):
    path = tmp_path / "a.npz"
    save_analysis(path, analysed())
    rewrite(path, as_schema_1)
    found = load_analysis(path)
    assert found.lens is None
    assert load_draws(path) == ()
    np.testing.assert_array_equal(found.maps.values["iwtd"], analysed().maps.values["iwtd"])


def test_a_lens_of_another_shape_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    cut = {branch: cosines[:-1] for branch, cosines in analysed().lens.items()}
    save_analysis(path, replace(analysed(), lens=cut))
    with pytest.raises(EvidenceError, match=r"lens of frozen: float32 \(3, 3\), expected \(4, 3\)"):
        load_analysis(path)


# --- draws ------------------------------------------------------------------------------------


def drawn(**changes):
    """The draw that the ordinary analysis holds, as a batch; changed in one strategy's arrays."""
    batch = first_draw(analysed(), ("iwtd", "vanilla"))
    assert batch is not None
    return replace(
        batch, **{name: {**getattr(batch, name), "iwtd": make(getattr(batch, name)["iwtd"])}
                  for name, make in changes.items()},
    )  # fmt: skip


@pytest.mark.parametrize("maps", [True, False])
def test_stored_draws_are_the_same_to_the_last_bit(maps, tmp_path):
    path = tmp_path / "a.npz"
    batch = drawn() if maps else replace(drawn(), maps=None)
    save_analysis(path, analysed(), [batch, batch])
    old, new = dict(leaves([batch, batch])), dict(leaves([*load_draws(path)]))
    assert list(old) == list(new)
    for name, value in old.items():
        np.testing.assert_array_equal(value, new[name], err_msg=name)
    assert dict(leaves(load_analysis(path))).keys() == dict(leaves(analysed())).keys()


def test_an_analysis_without_draws_has_none(tmp_path):
    save_analysis(tmp_path / "a.npz", analysed())
    assert load_draws(tmp_path / "a.npz") == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"dropped": lambda one: one[:, :, :-1]},
        {"eligible": lambda one: one.astype(float)},
        {"probability": lambda one: one[:, :-1]},
        {"cosines": lambda one: one[:, :-1]},
        {"maps": lambda one: one[..., :-1]},
        {"dropped": lambda one: np.concatenate([one, one])},
    ],
)
def test_draws_of_a_wrong_shape_are_refused(changes, tmp_path):
    path = tmp_path / "a.npz"
    save_analysis(path, analysed(), [drawn(**changes)])
    with pytest.raises(EvidenceError, match="holds no complete draws"):
        load_draws(path)
    load_analysis(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda header, arrays: header["draws"][0].pop("maps"),
        lambda header, arrays: header["draws"][0].update(surprise=1),
        lambda header, arrays: header["draws"][0].update(pair=["iwtd", "nobody"]),
        lambda header, arrays: header["draws"][0].update(seeds=["x"]),
        lambda header, arrays: header["draws"][0]["dropped"].update(iwtd={"$array": "a9999"}),
        lambda header, arrays: header.update(draws=7),
    ],
)
def test_forged_draws_are_refused(change, tmp_path):
    path = tmp_path / "a.npz"
    save_analysis(path, analysed(), [drawn()])
    rewrite(path, change)
    with pytest.raises(EvidenceError, match="holds no complete draws"):
        load_draws(path)


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
