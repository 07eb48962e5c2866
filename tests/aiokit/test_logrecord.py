from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiokit.logrecord import fields


def record(template: Any, *arguments: Any) -> logging.LogRecord:
    return logging.LogRecord("mesh", logging.INFO, "file", 1, template, arguments, None)


def said(template: Any, *arguments: Any) -> tuple[str, dict[str, Any]]:
    found = fields(record(template, *arguments))
    return found["msg"], dict(list(found.items())[4:])


@pytest.mark.parametrize(
    ("template", "arguments", "expected"),
    [
        ("ready", (), ("ready", {})),
        ("peer lost name=%s again=%d", ("west", 3), ("peer lost", {"name": "west", "again": 3})),
        ("peer %s lost after=%.1fs", ("west", 2.0), ("peer west lost", {"after": "2.0s"})),
        ("done %d%% of kind=%r", (7, "ip"), ("done 7% of", {"kind": "'ip'"})),
        ("lease %x lost with %d keys: again", (255, 2), ("lease ff lost with 2 keys: again", {})),
        ("a level=%s", ("west",), ("a", {"level_": "west"})),
        ("range=%d-%d here", (1, 2), ("range=1-2 here", {})),
        ("100% sure", (), ("100% sure", {})),
    ],
)
def test_facts_become_fields(template: str, arguments: tuple[Any, ...], expected: Any) -> None:
    assert said(template, *arguments) == expected


@given(st.text(), st.text())
def test_no_value_can_pass_for_another_fact(first: str, second: str) -> None:
    assert said("lost peer=%s reason=%s", first, second)[1] == {"peer": first, "reason": second}


def test_what_is_no_text_is_said_as_it_is() -> None:
    assert said(ValueError("x"))[0] == "x"
    assert fields(record("now"))["time"].endswith("+00:00")
