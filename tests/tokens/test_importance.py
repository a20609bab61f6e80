"""Token importance against the released code's numbers (METHOD.md 2.5), and what always holds."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from tiny import NAMES
from torch import Tensor

from drople import DropoutSettings, score_tokens
from drople.errors import SettingsError
from drople.tokens.dropout import STRATEGIES
from drople.tokens.importance import SIGNALS, Bridge, SignalWeights, raw_signals
from drople.tokens.layout import TokenLayout
from drople.tokens.strategies import Evidence


@dataclass(frozen=True)
class Golden:
    """Numbers of the released code's functions, in float64 (METHOD.md 2.5)."""

    readout: int
    content: slice
    causal: bool
    s_self: list[float]
    s_cls: list[float]
    s_cross: list[float]
    blend: list[float]
    probability: list[float]

    def attention(self) -> Tensor:
        h, i, j = torch.meshgrid(*map(counted, (2, 6, 6)), indexing="ij")
        logits = 2 * torch.sin(1 + 7 * h + 3 * i + 5 * j)
        if self.causal:
            logits = logits.masked_fill(torch.ones(6, 6).triu(1).bool(), -torch.inf)
        return logits.softmax(dim=-1)[None]  # (1, 2, 6, 6)

    def bridge_attention(self) -> Tensor:
        m, t = torch.meshgrid(*map(counted, (3, 6)), indexing="ij")
        return (2 * torch.sin(2 + 3 * m + 4 * t)).softmax(dim=-1)[None]  # (1, 3, 6)

    def layout(self) -> TokenLayout:
        content = torch.zeros(1, 6, dtype=torch.bool)
        content[:, self.content] = True
        return TokenLayout(torch.tensor([self.readout]), content, content, slice(6, 6))

    def scored(self):
        return score_tokens(self.attention(), self.bridge_attention(), self.layout())


def counted(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float64)


GOLDEN = {
    "vision": Golden(
        readout=0,
        content=slice(1, 6),
        causal=False,
        s_self=[0.552266, 0.409034, 0.567156, 0.223342, 0.546936],
        s_cls=[0.078022, 0.009923, 0.021787, 0.205853, 0.332382],
        s_cross=[0.207519, 0.210886, 0.466979, 0.485072, 0.105932],
        blend=[0.167072, 0.112031, 0.198882, 0.247801, 0.274214],
        probability=[0.364248, 0.500000, 0.285793, 0.165143, 0.100000],
    ),
    "text": Golden(
        readout=5,
        content=slice(0, 5),
        causal=True,
        s_self=[0.000000, 0.141023, 0.855701, 0.592862, 0.357102],
        s_cls=[0.031826, 0.300570, 0.515828, 0.097506, 0.014064],
        s_cross=[0.445724, 0.207519, 0.210886, 0.466979, 0.485072],
        blend=[0.092859, 0.166621, 0.364373, 0.221087, 0.155059],
        probability=[0.500000, 0.391332, 0.100000, 0.311092, 0.408365],
    ),
}


RELEASED = ("s_self", "s_cls", "s_cross")  # the signals of the released code


@pytest.fixture(params=GOLDEN)
def golden(request):
    return GOLDEN[request.param]


def assert_printed(got: Tensor, expected: list[float]):
    """Equal to the six digits that were kept (METHOD.md 2.5)."""
    torch.testing.assert_close(got, torch.tensor(expected, dtype=got.dtype), rtol=0, atol=1e-6)


@pytest.mark.parametrize("signal", RELEASED)
def test_raw_signals_equal_the_released_code(golden, signal):
    raw = raw_signals(golden.attention(), golden.bridge_attention(), golden.layout())
    assert_printed(raw[signal][0, golden.content], getattr(golden, signal))


def test_the_blend_equals_the_released_code(golden):
    assert_printed(golden.scored().blend()[0, golden.content], golden.blend)


def test_probabilities_equal_the_released_code(golden):
    layout, scored = golden.layout(), golden.scored()
    evidence = Evidence(0, scored, layout.content, layout.droppable)
    p = STRATEGIES["iwtd"](DropoutSettings(p_min=0.1, p_max=0.5)).probability(evidence)
    assert_printed(p[0, golden.content], golden.probability)


def test_share_times_total_is_the_raw_signal(golden):
    scored = golden.scored()
    for signal in RELEASED:
        raw = scored.shares[signal] * scored.totals[signal]
        assert_printed(raw[0, golden.content], getattr(golden, signal))


@pytest.mark.parametrize("branch", ["image", "text"])
def test_shares_sum_to_one_and_are_zero_off_the_content(model, pixels, branch):
    ids = model.backbone.tokenise(model.phrases(NAMES))
    records = (
        model.image_layers(pixels, score=True)
        if branch == "image"
        else model.text_layers(ids, score=True)
    )
    for record in records:
        scored, content = record.importance, record.layout.content
        for share in (*scored.shares.values(), scored.blend()):
            torch.testing.assert_close(share.sum(dim=-1), torch.ones(3))
            assert not share.masked_fill(content, 0).any()
            assert (share >= 0).all()


def test_neither_eos_nor_padding_has_importance(model):
    ids = model.backbone.tokenise(model.phrases(NAMES))
    before_eos = torch.arange(ids.shape[1]) < ids.argmax(dim=-1, keepdim=True)
    for record in model.text_layers(ids, score=True):
        assert torch.equal(record.importance.shares["s_cls"] > 0, before_eos)


def test_every_patch_and_prompt_has_importance_and_cls_none(model, pixels):
    for record in model.image_layers(pixels, score=True):
        assert (record.importance.blend()[0] > 0).tolist() == [False] + [True] * 20


def test_sos_attends_to_no_one_before_it(model):
    ids = model.backbone.tokenise(model.phrases(NAMES))
    for record in model.text_layers(ids, score=True):
        assert not record.importance.shares["s_self"][:, 0].any()


def test_self_importance_asks_for_the_best_partner_of_each_head():
    attention = torch.tensor([[[[0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.7, 0.2, 0.1]]]])
    content = torch.tensor([[False, True, True]])
    layout = TokenLayout(torch.tensor([0]), content, content, slice(3, 3))
    raw = raw_signals(attention, None, layout)
    # Neither itself (0.6, 0.1) nor the readout (0.1, 0.7) counts as a partner.
    assert raw["s_self"][0].tolist() == pytest.approx([0, 0.3, 0.2])
    assert raw["s_cls"][0].tolist() == pytest.approx([0, 0.5, 0.3])


def test_without_a_bridge_the_other_two_signals_share_the_weight(golden):
    scored = score_tokens(golden.attention(), None, golden.layout())
    assert "s_cross" not in scored.shares
    expected = (scored.shares["s_self"] + scored.shares["s_cls"]) / 2
    torch.testing.assert_close(scored.blend(), expected)


def test_weights_are_relative(golden):
    scored = golden.scored()
    expected = 0.25 * scored.shares["s_self"] + 0.75 * scored.shares["s_cross"]
    blend = scored.blend(SignalWeights(s_self=2, s_cls=0, s_cross=6))
    torch.testing.assert_close(blend, expected)


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), "1", True])
def test_a_weight_that_is_none_is_refused_by_its_name(weight):
    with pytest.raises(SettingsError, match="weight of s_cls is"):
        SignalWeights(1, weight, 1)


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(SettingsError, match=f"{', '.join(SIGNALS)} are all 0"):
        SignalWeights(0, 0, 0)


def test_without_a_bridge_its_weight_alone_means_equal_weights_of_the_rest():
    assert SignalWeights(0, 0, 1).shares(["s_self", "s_cls"]) == {"s_self": 0.5, "s_cls": 0.5}


def test_a_signal_that_is_zero_everywhere_stays_zero():
    attention = torch.eye(3)[None, None]  # everyone attends to itself only
    content = torch.tensor([[False, True, True]])
    layout = TokenLayout(torch.tensor([0]), content, content, slice(3, 3))
    assert not score_tokens(attention, None, layout).blend().any()


def test_importance_carries_no_gradient():
    attention = torch.rand(1, 2, 4, 4, requires_grad=True).softmax(dim=-1)
    content = torch.tensor([[False, True, True, True]])
    layout = TokenLayout(torch.tensor([0]), content, content, slice(4, 4))
    assert not score_tokens(attention, None, layout).blend().requires_grad


def test_bridge_attention_is_a_softmax_of_dot_products():
    torch.manual_seed(0)
    bridge = Bridge(5, 8, image_width=6, text_width=4)
    tokens = torch.randn(2, 3, 6)
    content = torch.tensor([[False, True, True]])
    layout = TokenLayout(torch.zeros(2, dtype=torch.long), content, content, slice(3, 3))
    reading = bridge.read_image(tokens, layout)
    mapped = tokens @ bridge.image.weight.T + bridge.image.bias
    expected = torch.einsum("me,bne->bmn", bridge.tokens, mapped).softmax(dim=-1)
    torch.testing.assert_close(reading.attention, expected)
    torch.testing.assert_close(reading.features, expected @ mapped)


def test_the_bridge_reads_the_readout_token_but_no_padding(model):
    ids = model.backbone.tokenise(model.phrases(NAMES))
    for record in model.text_layers(ids, score=True):
        rows = torch.arange(ids.shape[1]) <= record.layout.readout[:, None]  # up to [EOS]
        attention = record.bridge.attention
        torch.testing.assert_close(attention.sum(dim=-1), torch.ones(3, 8))
        assert not attention.masked_fill(rows[:, None], 0).any()
        assert (attention[torch.arange(3), :, record.layout.readout] > 0).all()


def test_a_longer_neighbour_changes_no_score_of_a_class(model):
    def scores(names):
        ids = model.backbone.tokenise(model.phrases(names))
        return [(r.importance, r.bridge) for r in model.text_layers(ids, score=True)]

    short = scores(["cat"])
    long = scores(["cat", "a neighbour whose name takes many more tokens than the other one"])
    for (alone, bridge), (beside, wider) in zip(short, long, strict=True):
        N = alone.shares["s_self"].shape[1]
        for signal in SIGNALS:
            ours, theirs = alone.shares[signal][0], beside.shares[signal][0]
            torch.testing.assert_close(theirs[:N], ours, rtol=1e-4, atol=1e-6)
            assert not theirs[N:].any()
        torch.testing.assert_close(wider.features[0], bridge.features[0], rtol=1e-4, atol=1e-5)


def test_the_mean_over_heads_is_taken_in_full_precision():
    attention = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]] * 2 + [[[0.0, 0.0], [0.0, 0.0]]]])
    content = torch.tensor([[False, True]])
    layout = TokenLayout(torch.tensor([0]), content, content, slice(2, 2))
    raw = raw_signals(attention.bfloat16(), None, layout)
    torch.testing.assert_close(raw["s_cls"], torch.tensor([[0, 2 / 3]]), rtol=0, atol=1e-7)
