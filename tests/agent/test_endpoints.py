"""Endpoints on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.endpoints import MAX_ID, Stored, load, next_id, store
from agent.errors import ExhaustedError
from tests.agent.values import endpoint


def test_what_is_stored_is_loaded_again(tmp_path: Path) -> None:
    stored = Stored(endpoints=(endpoint(1), endpoint(2)), addresses={"10.1.1.2": "shop/web-1"})
    path = tmp_path / "state" / "endpoints.json"
    store(path, stored)
    store(path, stored)
    assert load(path) == stored
    assert path.stat().st_mode & 0o777 == 0o600
    assert {entry.name for entry in path.parent.iterdir()} == {"endpoints.json", "endpoints.json.copy"}


@pytest.mark.parametrize("damage", [b"", b'{"schema":1,"endpoints":[', b"\0" * 512, b'{"schema":9}'])
def test_a_damaged_file_is_replaced_by_its_copy(tmp_path: Path, damage: bytes) -> None:
    stored = Stored(endpoints=(endpoint(1),), addresses={"10.1.1.2": "shop/web-1"})
    path = tmp_path / "endpoints.json"
    store(path, stored)
    path.write_bytes(damage)
    assert load(path) == stored
    (tmp_path / "endpoints.json.copy").write_bytes(damage)
    assert load(path) == stored  # the first reading has put it right
    path.write_bytes(damage)
    with pytest.raises(ValueError, match=r"truncated|malformed|schema|invalid"):
        load(path)


def test_no_file_means_no_endpoints_and_half_a_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.json"
    assert load(path) == Stored()
    path.write_bytes(b'{"schema":1,"endpoints":[')
    with pytest.raises(ValueError, match="truncated"):
        load(path)
    path.write_bytes(b'{"schema":9}')
    with pytest.raises(ValueError, match="schema 9"):
        load(path)


def test_numbers_rest_before_they_are_used_again() -> None:
    assert next_id(()) == 1
    assert next_id({1, 7}) == 8


def test_after_the_highest_number_the_lowest_free_one_follows() -> None:
    assert next_id({1, 2, MAX_ID}) == 3


def test_the_numbers_can_run_out() -> None:
    with pytest.raises(ExhaustedError):
        next_id(range(1, MAX_ID + 1))
