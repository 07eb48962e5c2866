"""Following a collection: what it holds and every change after that, across any kind of interruption.

`follow` promises: deltas, applied in order, make the consumer's copy equal to the server's; nothing is
removed because of a lost connection; after history was compacted the collection is listed again and
compared, so that removes are synthesised. It never gives up: errors are logged and retried with back-off.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TypeVar

import aiohttp
import msgspec

from aiokit.backoff import Backoff
from k8s.client import Client, selectors
from k8s.collection import CollectionState, ObjectDelta
from k8s.errors import APIError, GoneError, UnreachableError
from k8s.lines import Lines, LineTooLongError
from k8s.objects import KubeObject
from k8s.resource import Resource

__all__ = ["ObjectDelta", "follow"]

WATCH_SECONDS = 240.0  # asked of the server; spread, so that many watches do not end together
SLACK_SECONDS = 30.0  # after this the server should have ended the watch itself
SILENCE_SECONDS = 150.0  # bookmarks come every minute: a stream silent for this long is dead
CONNECT_SECONDS = 5.0
# answers that say nothing of our version; listing again would burden a server that asks for less
PASSING = frozenset({401, 403, 429, 502, 503})

log = logging.getLogger(__name__)
T = TypeVar("T", bound=KubeObject)


async def follow(
    client: Client,
    resource: Resource,
    type_: type[T],
    *,
    namespace: str = "",
    label_selector: str = "",
    field_selector: str = "",
    backoff: Backoff,
) -> AsyncGenerator[ObjectDelta[T]]:
    """List, then watch, for ever. Wrap it in `aclosing` when you leave the loop before cancellation."""
    state = CollectionState(resource.plural, type_)
    chosen = selectors(label_selector, field_selector)
    while True:
        try:
            if not state.resource_version:
                yield state.listed(await client.list_all(resource, namespace, chosen))
            async with aclosing(_watch(client, resource, namespace, chosen, state)) as deltas:
                async for delta in deltas:
                    backoff.reset()
                    if delta:
                        yield delta
        except GoneError as error:
            log.info("history of %s is gone, listing again: %s", resource.plural, error.message)
            state.forget_version()
        except APIError as error:
            log.warning("watch of %s refused: %s", resource.plural, error)
            if error.status not in PASSING:  # our version may be the reason: a listing is always safe
                state.forget_version()
        except (UnreachableError, LineTooLongError, msgspec.MsgspecError) as error:
            log.warning("watch of %s interrupted: %s", resource.plural, error)
        await asyncio.sleep(backoff.next())


async def _watch(
    client: Client, resource: Resource, namespace: str, chosen: Mapping[str, str], state: CollectionState[T]
) -> AsyncGenerator[ObjectDelta[T]]:
    """One watch request, from where we are until it ends; an ERROR event is raised."""
    seconds = int(WATCH_SECONDS * random.uniform(0.8, 1.2))
    params = {
        **chosen,
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": state.resource_version,
        "timeoutSeconds": str(seconds),
    }
    timeout = aiohttp.ClientTimeout(
        total=seconds + SLACK_SECONDS, connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
    )
    async with client.stream(resource.path(namespace=namespace), params, timeout) as chunks:
        lines = Lines()
        async for chunk in chunks:
            delta, error = state.happened(lines.feed(chunk))
            yield delta
            if error is not None:
                raise error
