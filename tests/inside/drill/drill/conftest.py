"""A clock that stands still until a test moves it."""

import pytest

from tests.drill.support import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()
