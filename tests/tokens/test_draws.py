"""Draws: what u and noise depend on, and what they do not."""

from __future__ import annotations

import numpy as np
import torch

from drople.tokens.draws import SeededDraws, StreamDraws


def test_draws_do_not_depend_on_how_many_tokens_there_are():
    draws = SeededDraws([7, 8], "image")
    assert torch.equal(draws.uniform(2, (2, 30))[:, :17], draws.uniform(2, (2, 17)))
    assert torch.equal(draws.noise(2, (2, 30, 5))[:, :17], draws.noise(2, (2, 17, 5)))


def test_draws_of_a_row_do_not_depend_on_the_batch():
    alone = SeededDraws([7], "image").uniform(0, (1, 9))
    batched = SeededDraws([5, 7, 9], "image").uniform(0, (3, 9))
    assert torch.equal(batched[1], alone[0])


def test_equal_seeds_share_their_draws():
    uniform = SeededDraws([4, 4, 5], "image").uniform(0, (3, 9))
    assert torch.equal(uniform[0], uniform[1])
    assert not torch.equal(uniform[0], uniform[2])


def test_draws_of_a_class_depend_on_its_name_and_not_on_its_place():
    first = SeededDraws([1] * 3, "text", ("cat", "dog", "cow")).uniform(0, (3, 9))
    second = SeededDraws([1] * 4, "text", ("ant", "cow", "cat", "dog")).uniform(0, (4, 9))
    assert torch.equal(first[[0, 1, 2]], second[[2, 3, 1]])
    assert len({tuple(row.tolist()) for row in second}) == 4


def test_branches_and_layers_have_draws_of_their_own():
    keys = [("image", 0), ("image", 1), ("text", 0), ("text", 1)]
    rows = {tuple(SeededDraws([1], b).uniform(d, (1, 9))[0].tolist()) for b, d in keys}
    assert len(rows) == 4


def test_noise_has_a_stream_of_its_own():
    """Made from the bits of u, a large u would mean loud noise."""
    draws = SeededDraws(range(2000), "image")
    u, noise = draws.uniform(0, (2000, 1)), draws.noise(0, (2000, 1, 1))
    correlation = torch.corrcoef(torch.stack([u.flatten(), noise.flatten().abs()]))[0, 1]
    assert abs(float(correlation)) < 0.1  # more than four standard errors


def test_draws_are_uniform_between_zero_and_one():
    values = SeededDraws([0], "image").uniform(0, (1, 100_000)).numpy()
    assert values.min() >= 0
    assert values.max() < 1
    counts, _ = np.histogram(values, bins=10, range=(0, 1))
    assert abs(counts - 10_000).max() < 400  # four standard deviations


def test_a_stream_draws_afresh_each_time(generator):
    draws = StreamDraws(generator)
    assert not torch.equal(draws.uniform(0, (1, 9)), draws.uniform(0, (1, 9)))
    assert draws.noise(0, (2, 3, 4)).shape == (2, 3, 4)
