"""The terms of the objective against the authors' numbers and against first principles."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from drople.training.losses import (
    alignment,
    distillation,
    entropy,
    knowledge,
    l1_consistency,
    lambda_at,
    residual,
    residual_entropy,
)


def golden_features():
    """Image, text, frozen image, frozen text: unit, in float64; for METHOD.md 4.3."""

    def unit(wave, rows, *, shift, step):
        a, d = torch.meshgrid(
            torch.arange(rows, dtype=torch.float64),
            torch.arange(5, dtype=torch.float64),
            indexing="ij",
        )
        return F.normalize(wave(shift + step * a + 3 * d), dim=-1)

    return (
        unit(torch.sin, 3, shift=1, step=2),
        unit(torch.cos, 4, shift=1, step=2),
        unit(torch.sin, 3, shift=1.3, step=2.1),
        unit(torch.cos, 4, shift=1.2, step=2.2),
    )


def unit_rows(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


@pytest.mark.parametrize(
    ("lam", "printed"),
    [
        (0.0, (0.525274, 0.472549)),
        (0.05, (0.530649, 0.465340)),
        (0.0828598, (0.534038, 0.459411)),
    ],
)
def test_residual_entropies_equal_the_released_code(lam, printed):
    scale = torch.tensor(10.0, dtype=torch.float64)
    image, text, frozen_image, frozen_text = golden_features()
    found = residual_entropy(
        image, text, frozen_image=frozen_image, frozen_text=frozen_text, scale=scale, lam=lam
    )
    assert [float(h) for h in found] == pytest.approx([*printed], abs=1e-6)


@pytest.mark.parametrize(
    ("epochs", "printed"),
    [
        (20, {0: 0, 1: 0.02622, 2: 0.04054, 5: 0.06092, 10: 0.07392, 15: 0.07991, 19: 0.08286}),
        (5, {0: 0, 1: 0.05613, 2: 0.07009, 3: 0.07676, 4: 0.08075}),
    ],
)
def test_lambda_rises_as_in_the_released_code(epochs, printed):
    for epoch, expected in printed.items():
        assert lambda_at(epoch, epochs) == pytest.approx(expected, abs=5e-6)


def test_lambda_is_in_proportion_to_its_end():
    assert lambda_at(3, 8, 0.4) == pytest.approx(4 * lambda_at(3, 8, 0.1))


def test_a_residual_takes_the_frozen_share_out():
    adapted, frozen = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(residual(adapted, frozen, 0.2), torch.tensor([[1.25, -0.25]]))


@pytest.mark.parametrize(("lam", "divisor"), [(0.0, 0.999), (1.0, 0.001)])
def test_a_residual_never_divides_by_zero_or_one(lam, divisor):
    adapted, frozen = torch.tensor([[3.0]]), torch.tensor([[1.0]])
    expected = torch.tensor([[(3.0 - lam) / divisor]])
    torch.testing.assert_close(residual(adapted, frozen, lam), expected)


def test_entropy_is_highest_where_all_classes_are_alike():
    assert float(entropy(torch.zeros(2, 7))) == pytest.approx(math.log(7), abs=1e-4)


def test_entropy_of_a_certain_prediction_is_zero():
    assert float(entropy(torch.tensor([[100.0, 0.0, 0.0]]))) == pytest.approx(0, abs=1e-4)


def test_alignment_equals_the_released_codes_distance():
    """There it is written as the mean of two distances to the midpoint m (METHOD.md 2.3)."""
    image, text = [unit_rows(2, 3, 8)], [unit_rows(4, 3, 8, seed=1)]
    labels = torch.tensor([3, 1])
    v, t = image[0], text[0][labels]
    m = (v + t) / 2
    expected = 0.5 * ((1 - (v * m).sum(-1)) + (1 - (t * m).sum(-1))).mean()
    torch.testing.assert_close(alignment(image, text, labels), expected, check_dtype=False)


def test_alignment_is_half_of_one_minus_cosine():
    image = [torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[1.0, 0.0]]])]
    text = [torch.tensor([[[0.0, 2.0]]]), torch.tensor([[[5.0, 0.0]]])]
    found = alignment(image, text, torch.tensor([0]))
    assert float(found) == pytest.approx((1 / 2 + 0) / 2)  # right angle, then the same direction


def test_alignment_pairs_the_layers_both_branches_have():
    image = [unit_rows(2, 3, 8, seed=s) for s in range(2)]
    text = [unit_rows(2, 3, 8, seed=s) for s in range(9)]
    labels = torch.tensor([0, 1])
    assert torch.equal(alignment(image, text, labels), alignment(image, text[:2], labels))
    torch.testing.assert_close(alignment(image, text, labels), torch.tensor(0.0), atol=1e-6, rtol=0)


def test_distillation_is_a_divergence_from_the_frozen_prediction():
    logits, frozen = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])
    q = (0.75, 0.25)  # frozen; the adapted one is even
    expected = sum(x * math.log(x / 0.5) for x in q) / 2
    assert float(distillation(logits, frozen)) == pytest.approx(expected)


def test_distillation_of_equal_predictions_is_zero():
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    assert float(distillation(logits + 2, logits)) == pytest.approx(0, abs=1e-6)


def test_consistency_is_the_mean_absolute_difference():
    adapted, frozen = torch.tensor([[1.0, -1.0]]), torch.tensor([[0.5, 0.0]])
    assert float(l1_consistency(adapted, frozen)) == pytest.approx(0.75)


def test_knowledge_is_half_the_mean_squared_distance_of_unit_features():
    text, frozen = unit_rows(4, 8), unit_rows(4, 8, seed=1)
    expected = (text - frozen).pow(2).sum(dim=-1).mean() / 2  # METHOD.md 8, KgCoOp
    torch.testing.assert_close(knowledge(text, frozen), expected)
