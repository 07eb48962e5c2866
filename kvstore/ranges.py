"""Key ranges as etcd means them: [key, range_end), and how large a page of one may be. Pure."""

from __future__ import annotations

# Every page makes etcd count all keys that remain, so the cost of a list is quadratic in the number
# of pages: 500,000 keys take 31 s in pages of 1,000 and under 2 s in pages of 50,000. The first page
# is smaller because nothing is known yet of the size of the values.
FIRST_PAGE = 10_000
LARGEST_PAGE = 50_000
PAGE_BYTES = 16 * 1024 * 1024  # bounds what one answer holds in memory while it is decoded
_PAGES_WANTED = 8  # enough to overlap decoding with fetching, few enough to keep counting cheap


def prefix_end(prefix: bytes) -> bytes:
    """The range_end of all keys that begin with `prefix`; b"\\0" (no end) when there is no greater key."""
    kept = prefix.rstrip(b"\xff")
    if not kept:
        return b"\0"
    return kept[:-1] + bytes([kept[-1] + 1])


def prefix_range(prefix: bytes) -> tuple[bytes, bytes]:
    """Key and range_end of a prefix; the empty prefix is the whole key space."""
    return prefix or b"\0", prefix_end(prefix)


def next_page(remaining: int, seen_keys: int, seen_bytes: int) -> int:
    """How many keys to ask for next, after `seen_keys` that held `seen_bytes` altogether.

    Never under FIRST_PAGE, whatever the values weigh: small pages are what makes a list quadratic.
    """
    average = max(1, seen_bytes // max(1, seen_keys))
    fitting = min(LARGEST_PAGE, PAGE_BYTES // average)
    wanted = max(2 * FIRST_PAGE, remaining // _PAGES_WANTED)
    return max(FIRST_PAGE, min(fitting, wanted))
