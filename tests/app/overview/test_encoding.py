"""Arrays that travel as JSON come back the same."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from decoding import decoded

from app.overview.encoding import bits, floats, steps

RNG = np.random.default_rng(0)


def test_floats_come_back_exactly():
    values = RNG.normal(size=(2, 3, 5)).astype(np.float32)
    values[1, 2] = np.nan
    sent = json.loads(json.dumps(floats(values)))
    np.testing.assert_array_equal(decoded(sent), values)


def test_floats_are_little_endian_whatever_they_were():
    assert base64.b64decode(floats(np.array([1.0], ">f8"))["b"]) == b"\x00\x00\x80\x3f"


@pytest.mark.parametrize("shape", [(3, 5), (8,), (2, 2, 3), (0, 4)])
def test_bits_come_back_exactly(shape):
    values = RNG.random(shape) < 0.5
    np.testing.assert_array_equal(decoded(bits(values)), values)


def test_the_first_bit_is_the_highest():
    assert base64.b64decode(bits(np.array([True] + [False] * 8 + [True]))["b"]) == b"\x80\x40"


def test_steps_are_off_by_at_most_half_a_step_and_keep_what_is_not_there():
    values = RNG.normal(size=(4, 50)).astype(np.float32)
    values[0, :7] = np.nan
    found = decoded(steps(values))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(values))
    assert np.nanmax(np.abs(found - values)) <= (np.nanmax(values) - np.nanmin(values)) / 508 + 1e-6


@pytest.mark.parametrize("values", [np.full((2, 2), 0.3), np.full(3, np.nan), np.zeros((0, 2))])
def test_steps_of_one_value_or_none(values):
    np.testing.assert_allclose(decoded(steps(values)), values)
