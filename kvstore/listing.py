"""Reading a whole prefix at one revision, in few large pages.

The first page pins the revision; each following page is asked for before the current one is handed
over, so that etcd works while the caller decodes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from kvstore.messages import RangeRequest, RangeResponse
from kvstore.ranges import FIRST_PAGE, next_page


class Pending(Awaitable[RangeResponse], Protocol):
    """A Range call that is under way."""

    def cancel(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Page:
    """Keys in ascending order, as of `revision` (the same for every page of one list)."""

    revision: int
    response: RangeResponse


_WEIGHED = 64  # entries of a page: to ask for the size of all of them would take milliseconds


async def pages(
    ask: Callable[[RangeRequest], Pending], key: bytes, range_end: bytes
) -> AsyncGenerator[Page, None]:
    """All pages of [key, range_end) at one revision. `ask` must check what comes back."""
    pending = ask(RangeRequest(key=key, range_end=range_end, limit=FIRST_PAGE))
    revision = seen_keys = seen_bytes = 0
    try:
        while True:
            response = await pending
            revision = revision or response.header.revision
            seen_keys += len(response.kvs)
            more = response.more and len(response.kvs) > 0
            if more:
                seen_bytes += _weight(response)
                remaining = response.count - len(response.kvs)
                pending = ask(
                    RangeRequest(
                        key=response.kvs[-1].key + b"\0",
                        range_end=range_end,
                        limit=next_page(remaining, seen_keys, seen_bytes),
                        revision=revision,
                    )
                )
            yield Page(revision, response)
            if not more:
                return
    finally:
        pending.cancel()


def _weight(page: RangeResponse) -> int:
    """About how many bytes a page has, by a few of its entries."""
    step = max(1, len(page.kvs) // _WEIGHED)
    some = page.kvs[::step]
    return sum(kv.ByteSize() for kv in some) * len(page.kvs) // len(some)
