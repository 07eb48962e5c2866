"""Small worlds for the lab's tests: made with real namespaces, removed whatever happens."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from lab import network, plan
from lab.plan import LabPlan


@pytest.fixture
def lab_name() -> Iterator[str]:
    """A lab name no other run uses; what is left of its network is removed."""
    name = "t" + secrets.token_hex(4)
    yield name
    network.tear_down(name)


@pytest.fixture
def lab(lab_name: str) -> LabPlan:
    return plan.make(lab_name, ["east"], 2)
