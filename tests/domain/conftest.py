"""Decisions are tested without the outside world."""

import pytest


@pytest.fixture(autouse=True)
def _no_sockets(socket_disabled):
    """Decisions reach for nothing."""
