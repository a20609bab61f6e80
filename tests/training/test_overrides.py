"""Settings by dotted name, and back."""

from __future__ import annotations

import json

import pytest

from drople.errors import SettingsError
from drople.training.config import METHODS
from drople.training.overrides import changes, flat, override

CONFIG = METHODS["drople"]


def test_a_dotted_name_reaches_into_a_part():
    changed = override(CONFIG, ["dropout.weights.s_cls=2", "plan.image_depth=3", "augment=none"])
    assert changed.dropout.weights.s_cls == 2
    assert changed.plan.image_depth == 3
    assert changed.augment == "none"


@pytest.mark.parametrize("method", METHODS)
def test_changes_lead_back_to_the_configuration(method):
    config = override(METHODS[method], ["lr=0.01", "dropout.p_max=0.7", "epochs=2"])
    found = [f"{n}={json.dumps(value)}" for n, value in changes(method, flat(config)).items()]
    assert override(METHODS[method], found) == config


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("epochs", "NAME=VALUE"),
        ("rate=1", "no setting “rate”"),
        ("dropout.rate=1", "no setting “dropout.rate”"),
        ("epochs=many", "epochs is 'many'"),
        ("augment=blur", "expected 'none' or 'flip' or 'patch'"),
        ("dropout=0.5", "dropout is 0.5"),
        ("lr.warm=1", "lr.warm is 1"),
        ("epochs=null", "epochs is None"),
        ("gaussian_epochs=hello", "gaussian_epochs is 'hello'"),
        ("dropout.p_max=1.5", r"p_max is 1.5; it must lie in \[0, 1\]"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(assignment, message):
    with pytest.raises(SettingsError, match=message):
        override(CONFIG, [assignment])
