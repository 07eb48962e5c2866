"""Templates mean what they mean to kubectl, as far as they are understood; the rest is an error."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.jsonpath import JSONPathError, parse, rendered

POD: dict[str, Any] = {
    "kind": "List",
    "items": [
        {"name": "a", "labels": {"app.io/x": "1", "y": 2}, "ready": True, "ports": [80, 443]},
        {"name": "b", "labels": {}, "ready": False, "ports": []},
        {"name": "c d", "ports": [53], "weight": 1.5, "gone": None},
    ],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{.kind}", "List"),
        ("{$.kind}", "List"),
        ("{ .kind }!", "List!"),
        ("{.items[0].name}", "a"),
        ("{.items[-1].name}", "c d"),
        ("{.items[7].name}", ""),
        ("{.items[*].name}", "a b c d"),
        ("{.items[1:].name}", "b c d"),
        ("{.items[:-1].name}", "a b"),
        ("{.items[0:1].name}", "a"),
        ("{.items[0].ports}", "[80,443]"),
        ("{.items[0].labels}", '{"app.io/x":"1","y":2}'),
        ("{.items[0].labels.*}", "1 2"),
        ("{.items[0].labels['app.io/x']}", "1"),
        ('{.items[0].labels["y", "app.io/x", "z"]}', "2 1"),
        ("{.items[0].labels.app\\.io/x}", "1"),
        ("{..name}", "a b c d"),
        ("{..ports[0]}", "80 53"),
        ("{.items[?(@.ready==true)].name}", "a"),
        ("{.items[?(@.ready)].name}", "a b"),  # it is there
        ("{.items[?(@.name!='b')].name}", "a c d"),
        ('{.items[?(@.name == "c d")].weight}', "1.5"),
        ("{.items[?(@.ports[0]>=80)].name}", "a"),
        ("{.items[?(@.name>1)].name}", ""),
        ("{.items[2].gone}", "null"),
        ("{.missing.name}", ""),
        ('{range .items[*]}{.name}{"\\t"}{.ports[0]}{"\\n"}{end}', "a\t80\nb\t\nc d\t53\n"),
        ("{range .items[*]}{range .ports[*]}{@}{'}'}{end}{$.kind};{end}", "80}443}List;List;53}List;"),
        ("{@.kind}{.}", "List" + msgspec.json.encode(POD).decode()),
    ],
)
def test_a_template_prints_what_it_names(template: str, text: str) -> None:
    assert rendered(parse(template), POD) == text


@pytest.mark.parametrize(
    "template",
    [
        *("{", "}", "{.a", "{kind}", "{.a[}", "{.a[x]}", "{end}", "{range .a}", "{.a b}", "{.a}}"),
        *("{.a[?(.a==1)]}", "{.a[?(@.a==x)]}", "{.a[0:1:2]}"),
    ],
)
def test_what_is_not_understood_is_said(template: str) -> None:
    with pytest.raises(JSONPathError):
        parse(template)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(alphabet="{}[].*:$@?()'\" ab0-1=<range d\\", max_size=20), VALUES)
def test_any_text_is_a_template_or_an_error_of_its_own(template: str, value: Any) -> None:
    try:
        found = parse(template)
    except JSONPathError as error:
        assert str(error)
    else:
        assert isinstance(rendered(found, value), str)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), st.lists(VALUES, max_size=3))
def test_everything_is_everything(members: dict[str, Any], items: list[Any]) -> None:
    for value in (members, items):
        assert msgspec.json.decode(rendered(parse("{}"), value)) == value
