"""Following a prefix for ever: list, watch, and list again after every break, as deltas.

What the caller holds always converges to what the store has, whatever is lost in between. A break is
never passed on as "everything is gone": removals come from changes, or from the compare at the end of a
list. Another etcd cluster and a refusal end it: what they mean is for the caller to decide.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable

from aiokit.backoff import Backoff
from kvstore.backend import Readable
from kvstore.errors import CompactedError, TransientError
from kvstore.watch import Changes, Delta, Event, Holding, Listing, WatchState, Whole

log = logging.getLogger(__name__)

DIAL_FIRST_SECONDS, DIAL_CAP_SECONDS = 0.05, 2.0  # where nobody answers, nobody is burdened by our asking
STEADY_SECONDS = 60.0  # a stream that lived this long after its list was a good one: breaks begin anew


async def follow(
    backend: Readable,
    prefix: bytes,
    *,
    held: Callable[[], Holding] | None = None,
    backoff: Backoff,
    single: bool = False,
) -> AsyncGenerator[Delta, None]:
    """Deltas for `prefix`, with keys relative to it (the empty key when `single`).

    Every connection yields one delta with `synced` once its list is compared. `held` reads back what
    the caller holds (relative keys) and is asked at every connection; the caller must have applied a delta
    before it asks for the next. Without it, the caller begins with nothing and is taken to hold what it was
    told. A list costs the store and the network more than
    anything else, so it is no success in itself: whoever hangs up after each is asked ever less often.
    Whoever says nothing at all is asked every other second: after an outage we are back at once.
    """
    told: dict[bytes, bytes] = {}
    clock = asyncio.get_running_loop().time
    dialling = Backoff(DIAL_FIRST_SECONDS, DIAL_CAP_SECONDS)
    while True:
        state = WatchState(held() if held is not None else Whole(told))
        steady_from, heard = math.inf, False
        try:
            async with backend.listwatch(prefix, single=single) as events:
                async for event in events:
                    heard = True
                    delta = state.apply(_relative(event, len(prefix)))
                    if delta.synced:
                        steady_from = clock() + STEADY_SECONDS
                    if delta:
                        yield delta
                        if held is None:
                            _note(told, delta)
        except (TransientError, CompactedError) as error:
            if clock() >= steady_from:
                backoff.reset()
            if heard:
                dialling.reset()
                delay = backoff.next()
            else:
                delay = dialling.next()
            log.warning("following %s interrupted, again in %.1f s: %s", _text(prefix), delay, error)
            await asyncio.sleep(delay)


def _note(told: dict[bytes, bytes], delta: Delta) -> None:
    told.update(delta.upserts)
    for key in delta.removes:
        told.pop(key, None)


def _relative(event: Event, length: int) -> Event:
    match event:
        case Listing(pairs):
            return Listing([(key[length:], value) for key, value in pairs])
        case Changes(revision, changes):
            return Changes(revision, [(key[length:], value) for key, value in changes])
        case _:
            return event


def _text(prefix: bytes) -> str:
    return prefix.decode(errors="backslashreplace")
