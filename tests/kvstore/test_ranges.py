from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kvstore.memorystore import in_range
from kvstore.ranges import FIRST_PAGE, LARGEST_PAGE, PAGE_BYTES, next_page, prefix_range

BYTES = st.lists(st.sampled_from([b"\x00", b"a", b"b", b"\xfe", b"\xff"]), max_size=4).map(b"".join)


@given(BYTES, BYTES)
def test_a_prefix_range_has_exactly_the_keys_with_the_prefix(prefix: bytes, key: bytes) -> None:
    if key == b"":
        key = b"\0"  # etcd has no empty key

    assert in_range(key, *prefix_range(prefix)) == key.startswith(prefix)


@given(st.integers(0, 10**7), st.integers(0, 10**6), st.integers(0, 10**9))
def test_a_page_is_never_small_nor_boundless(remaining: int, seen_keys: int, seen_bytes: int) -> None:
    assert FIRST_PAGE <= next_page(remaining, seen_keys, seen_bytes) <= LARGEST_PAGE


def test_more_remaining_keys_make_larger_pages_as_far_as_their_bytes_allow() -> None:
    assert next_page(490_000, 10_000, 3_750_000) > next_page(90_000, 10_000, 3_750_000)
    assert next_page(490_000, 10_000, 10_000 * 1000) == PAGE_BYTES // 1000
