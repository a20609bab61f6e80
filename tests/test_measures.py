"""The numbers beside the pictures, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysed import analysed, mean_p

from drople.measures import agreement, selectivity
from drople.traces import LayerTrace


def a_layer(p, u=None, *, blend=None, eligible=None):
    """One image's layer: [CLS], patches on one row, no prompts; p and u are the patches'."""
    count = len(p)
    off = np.zeros((1, 1))

    def row(values):
        return np.concatenate([off, np.asarray(values, dtype=float)[None]], axis=1)

    eligible = np.ones(count, dtype=bool) if eligible is None else np.asarray(eligible)
    share = row(np.full(count, 1 / count) if blend is None else blend)
    able = row(eligible).astype(bool)
    p = np.where(able, row(p), 0)
    u = None if u is None else row(u)
    return LayerTrace(
        depth=0,
        shares={"s_cls": share},
        totals={"s_cls": np.ones((1, 1))},
        blend=share,
        content=row(np.ones(count)).astype(bool),
        eligible=able,
        probability=p,
        uniform=u,
        dropped=None if u is None else u < p,
        norms=np.ones_like(share),
        prompts=(1 + count, 1 + count),
        grid=(1, count),
        attention=None,
    )


def test_equal_p_and_equal_u_agree_fully_and_by_chance_alone():
    layer = a_layer([0.3, 0.5, 0.9], [0.1, 0.9, 0.8])
    found = agreement(layer, replace(layer))
    assert (found.jaccard, found.by_chance) == (1, 1)


def test_two_empty_sets_agree():
    layer = a_layer([0, 0], [0.1, 0.9])
    found = agreement(layer, layer)
    assert (found.jaccard, found.by_chance) == (1, 1)


def test_sets_without_a_common_token_do_not_agree():
    a = a_layer([1, 0], [0.5, 0.5])
    b = a_layer([0, 1], [0.5, 0.5])
    assert (agreement(a, b).jaccard, agreement(a, b).by_chance) == (0, 0)


def test_agreement_is_the_overlap_over_the_union():
    a = a_layer([1, 1, 0, 0], [0.5] * 4)
    b = a_layer([0, 1, 1, 0], [0.5] * 4)
    assert agreement(a, b).jaccard == pytest.approx(1 / 3)


def test_agreement_by_chance_is_what_many_shared_draws_give():
    rng = np.random.default_rng(0)
    p_a, p_b = rng.random((2, 30))
    u = rng.random((20_000, 30))
    both, either = ((u < p_a) & (u < p_b)).sum(), ((u < p_a) | (u < p_b)).sum()
    found = agreement(a_layer(p_a, u[0]), a_layer(p_b, u[0]))
    assert found.by_chance == pytest.approx(both / either, abs=0.005)


def iwtd(blend, p_min=0.1, p_max=0.5):
    """A layer with the p that IWTD gives to a blend."""
    blend = np.asarray(blend, dtype=float)
    level = (blend - blend.min()) / (blend.max() - blend.min())
    return a_layer(p_max - level * (p_max - p_min), blend=blend)


def test_one_sink_token_makes_iwtd_vanilla():
    blend = np.full(50, 0.4 / 49) + np.linspace(0, 1e-4, 50)
    blend[7] = 0.6
    found = selectivity(iwtd(blend / blend.sum()), 0.1, 0.5)
    assert found.sink == 8
    assert found.near_top == pytest.approx(49 / 50)
    assert found.sink_share == pytest.approx(0.6, abs=0.01)


def test_evenly_spread_scores_are_selective():
    blend = np.linspace(1, 2, 50)
    found = selectivity(iwtd(blend / blend.sum()), 0.1, 0.5)
    assert found.sink is None
    assert found.near_top == pytest.approx(0.06, abs=0.02)
    assert found.spread == pytest.approx(0.4 / 12**0.5, rel=0.03)


def test_one_p_for_all_is_not_selective():
    found = selectivity(a_layer([0.3] * 10), 0.3, 0.3)
    assert (found.near_top, found.spread) == (1, pytest.approx(0, abs=1e-12))


@pytest.mark.parametrize("depth", [2, 3])
def test_without_p_nothing_is_said_of_selectivity(depth):
    layer = analysed("shallow dropout").images["adapted"].layers[depth]
    assert selectivity(layer, 0.1, 0.5) is None


def test_vanilla_drops_at_the_mean_p_of_iwtd():
    vanilla, iwtd_run = (analysed().images[c].layers for c in ("vanilla", "iwtd"))
    rates = [[mean_p(layer) for layer in run] for run in (vanilla, iwtd_run)]
    np.testing.assert_allclose(rates[0], rates[1], atol=1e-6)
