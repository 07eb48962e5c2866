"""An authority, made at a fixed time."""

from datetime import UTC, datetime

import pytest

from certs.issue import Authority

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create(NOW)
