from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.clips import make_shards


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    """Shards that no test may change."""
    return make_shards(tmp_path_factory.mktemp("corpus"))
