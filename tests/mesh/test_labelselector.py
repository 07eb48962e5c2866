"""Label selectors mean what they mean to Kubernetes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.labelselector import SelectorError, label_test

LABELS = {"app": "web", "tier": "front", "cores": "8"}


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("", True),
        ("app", True),
        ("!app", False),
        ("! gone", True),
        ("app=web", True),
        ("app == web", True),
        ("app!=web", False),
        ("gone!=web", True),
        ("app in (db, web)", True),
        ("app notin (db,web)", False),
        ("gone notin (a)", True),
        ("cores>4,cores<9", True),
        ("cores>8", False),
        ("app>4", False),
        ("app=web,tier=back", False),
    ],
)
def test_every_operator(text: str, verdict: bool) -> None:
    assert label_test(text)(LABELS) is verdict


@pytest.mark.parametrize("text", ["=web", "app in web", "a,,b", "cores>many", "cores>²", "a b"])
def test_what_is_no_selector_is_an_error(text: str) -> None:
    with pytest.raises(SelectorError):
        label_test(text)


@given(st.text(alphabet="ab!=<>(), in9²", max_size=12))
def test_any_text_is_a_selector_or_a_selector_error(text: str) -> None:
    try:
        assert label_test(text)(LABELS) in (True, False)
    except SelectorError as error:
        assert str(error)
