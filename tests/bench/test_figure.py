"""What is reported can be compared: medians, floors of the same run, the agreed JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import docs
from bench.figure import as_json, as_table, figure, percentile


def test_a_figure_is_the_median_beside_the_floors_median() -> None:
    one = figure("lists", [3.0, 1.0, 2.0], "MB/s", floors=[4.0, 5.0, 1.0], cpu_seconds=0.12341)
    assert (one.value, one.floor, one.ratio, one.cpu_seconds) == (2.0, 4.0, 0.5, 0.1234)


def test_the_json_has_the_agreed_names() -> None:
    (printed,) = json.loads(as_json([figure("lists", [1.0], "MB/s", peak_rss_bytes=7)]))
    assert printed == {
        **{"name": "lists", "value": 1.0, "unit": "MB/s", "floor": None, "ratio": None},
        **{"cpu_seconds": None, "peak_rss_bytes": 7, "runs": [1.0]},
    }


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 3), (99, 4), (100, 4)])
def test_percentiles_are_values_that_were_measured(percent: float, value: float) -> None:
    assert percentile([4, 2, 1, 3], percent) == value


def test_nothing_measured_is_nothing_and_not_an_error() -> None:
    assert percentile([], 99) == 0


def test_the_table_has_a_row_for_each_figure() -> None:
    assert as_table([figure("a", [1.0], "s"), figure("b", [1.0], "s", floors=[2.0])]).row_count == 2


def test_the_documents_table_is_replaced_and_the_rest_of_it_stays(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{docs.BEGIN}\nold\n{docs.END}\nafter\n")
    docs.write([figure("lists", [3.0], "s", floors=[2.0], peak_rss_bytes=7_000_000)], "a machine", page)
    text = page.read_text()
    assert "| lists | 3 s | 2 | 1.5 |  | 7 MB |" in text
    assert "a machine" in text and "old" not in text
    assert text.startswith("before\n") and text.endswith("after\n")
    page.write_text("no marks")
    with pytest.raises(ValueError, match="no place"):
        docs.write([], "", page)
