"""Every check has its page, every page its check, and a page says what mends it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from cli import check
from cli.__main__ import main
from cli.check import Check

PAGES = Path(__file__).parents[2] / "docs" / "checks"


def test_every_check_has_a_page_and_every_page_a_check() -> None:
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    assert pages == {each.label for each in Check}


@pytest.mark.parametrize("each", list(Check), ids=lambda each: each.label)
def test_a_page_says_what_it_is_and_what_mends_it(each: Check) -> None:
    text = (PAGES / f"{each.label}.md").read_text()
    assert text.startswith(f"# {each.label}\n")
    assert each.title.lower() in text.replace("\n", " ").lower()
    assert "## Mend" in text


def test_the_contents_lists_every_page() -> None:
    text = (PAGES / "README.md").read_text()
    assert all(f"[{each.label}]({each.label}.md)" in text for each in Check)


def test_names_are_unique_and_can_be_typed() -> None:
    labels = [each.label for each in Check]
    assert len(set(labels)) == len(labels)
    assert all(label == label.lower() and " " not in label for label in labels)
    assert check.of("same-cluster-id") is Check.SAME_CLUSTER_ID


def test_the_list_is_data() -> None:
    listed = msgspec.json.decode(CliRunner().invoke(main, ["checks", "list", "-o", "json"]).stdout)
    assert [each["name"] for each in listed] == [each.label for each in Check]
    shown = CliRunner().invoke(main, ["checks", "list"]).stdout
    assert all(each.title in shown for each in Check)
