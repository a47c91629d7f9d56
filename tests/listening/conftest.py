"""A test of two tasks, its server, and a listener that has begun."""

from __future__ import annotations

import pytest

from calm.listening import ListeningTest
from calm.types import Task
from tests.listening.lab import Listener, make_test, running

TASKS = {Task.SPEECH: 2, Task.SOUND: 2}


@pytest.fixture(scope="module")
def test(tmp_path_factory) -> ListeningTest:
    return make_test(tmp_path_factory.mktemp("lab"), tasks=TASKS, items_per_listener=6)


@pytest.fixture(scope="module")
def address(test):
    with running(test) as address:
        yield address


@pytest.fixture
def listener(address) -> Listener:
    return Listener(address)
