"""What a host sets is taken, or refused in words."""

from __future__ import annotations

import pytest

from app.host import Host
from drople.errors import SettingsError


def test_what_is_not_set_keeps_its_default():
    assert Host.read({"DROPLE_DRAWS": " "}) == Host()


def test_what_is_set_counts():
    found = Host.read({"DROPLE_DRAWS": "64", "DROPLE_BATCH_PICTURES": "1000"})
    assert found == Host(draws=64, pictures=1000)


@pytest.mark.parametrize("value", ["0", "-1", "257", "many", "1.5", "²", "9" * 5000])
def test_what_is_out_of_range_is_refused(value):
    with pytest.raises(SettingsError, match=r"DROPLE_DRAWS is .* from 1 to 256"):
        Host.read({"DROPLE_DRAWS": value})
