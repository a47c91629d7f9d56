"""Settings of the data that are not accepted."""

from __future__ import annotations

import pytest

from calm.data.config import DataConfig
from calm.errors import ConfigError


@pytest.mark.parametrize(
    ("dropout", "message"),
    [({"speach": 0.5}, "Unknown task 'speach'"), ({"sound": 1.5}, "data.attribute_dropout.sound")],
)
def test_attribute_dropout_is_a_chance_of_a_known_task(dropout: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DataConfig(attribute_dropout=dropout)
