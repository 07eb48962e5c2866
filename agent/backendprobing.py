"""Asks remote backends themselves while their cluster's control plane is lost, and withdraws the dead.

A pod that dies then stays listed, and its node answers for itself. What is withdrawn goes to the services
table, which uses it all the same while a service has nothing else. Decisions are `agent.backendhealth`'s.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import random
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from agent.backendhealth import Answer, BackendHealths, Target, targets
from agent.icmpecho import echoed
from agent.tables import Tables
from agent.withdrawals import BACKENDS

log = logging.getLogger(__name__)

ROUND_SECONDS = 1.0
PEACEFUL_ROUNDS = 10
PER_SECOND = 50.0  # connections that one node opens to ask, whatever the number of backends
AT_ONCE = 64  # open ones: each is a socket
TIMEOUT_SECONDS = 1.0
FIRST_ASK_SECONDS = 300.0  # between two attempts to be let in by a service, while its cluster is well
FIRST_ASKS = 10  # services that are asked for the first time in one round
NO_EVIDENCE = (
    *(errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE, errno.EPERM),
    errno.EAFNOSUPPORT,  # of IPv6, on a kernel without
)


class BackendProbing:
    """`run` is its task. `lost`: clusters that cannot speak for their backends, asked for in every round."""

    def __init__(
        self,
        tables: Tables,
        lost: Callable[[], Collection[str]],
        *,
        round_seconds: float = ROUND_SECONDS,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._tables = tables
        self._lost = lost
        self._round = round_seconds
        self._timeout = timeout
        self._healths = BackendHealths()
        self._known: Mapping[str, Target] = {}
        self._looked = (-1, 0.0)  # the tables' revision of `_known`, and when
        self._gone: dict[str, str] = {}
        self._asked_at: dict[tuple[str, str], float] = {}
        self._open = asyncio.Semaphore(AT_ONCE)

    @property
    def withdrawn(self) -> Mapping[str, str]:
        return dict(self._gone)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            lost = frozenset(self._lost())
            self._look(now, urgent=bool(lost))
            self._healths.keep(self._known, lost)
            asked = {**self._healths.asked, **self._first_asks(lost, now)}
            self._publish()
            pause = max(self._round, len(asked) / PER_SECOND)
            async with asyncio.TaskGroup() as group:
                for number, (ip, target) in enumerate(asked.items()):
                    start = (pause - self._round) * number / len(asked)
                    group.create_task(self._ask(ip, target, start), name=f"ask/{ip}")
            self._publish()
            await asyncio.sleep(max(0.0, now + pause - loop.time()))

    def _look(self, now: float, *, urgent: bool) -> None:
        """What backends there are. Going through all of them costs, so seldom while all is well."""
        revision, at = self._looked
        if revision != self._tables.clock.revision and (urgent or now >= at + self._round * PEACEFUL_ROUNDS):
            self._looked = self._tables.clock.revision, now
            self._known = targets(self._tables.services.usable())

    def _first_asks(self, lost: Collection[str], now: float) -> dict[str, Target]:
        """One backend of each service that never let us in, seldom: applications see these connections."""
        unheard = self._healths.unheard(self._known, lost)
        self._asked_at = {group: at for group, at in self._asked_at.items() if group in unheard}
        due = [
            group
            for group in unheard
            if self._asked_at.get(group, -FIRST_ASK_SECONDS) + FIRST_ASK_SECONDS <= now
        ]
        chosen = {}
        for group in due[:FIRST_ASKS]:
            self._asked_at[group] = now
            ip = random.choice(unheard[group])
            chosen[ip] = self._known[ip]
        return chosen

    async def _ask(self, ip: str, target: Target, start: float) -> None:
        await asyncio.sleep(start)
        async with self._open:
            self._healths.answered(ip, target, await asked(ip, target.port, self._timeout))

    def _publish(self) -> None:
        before, self._gone = self._gone, self._healths.gone()
        if before.keys() == self._gone.keys():
            return
        for ip in self._gone.keys() - before.keys():
            log.warning("backend %s is withdrawn: %s", ip, self._gone[ip])
        for ip in before.keys() - self._gone.keys():
            log.info("backend %s is used again", ip)
        self._tables.services.set_withdrawn(frozenset(self._gone), BACKENDS)


async def asked(ip: str, port: int, limit: float) -> Answer:
    """What a connection to a backend's port comes to within `limit` seconds; it is closed at once. Without a
    port, what an ICMP echo does: that the pod's address lives says nothing of its process."""
    if not port:
        try:
            return Answer.OPEN if await echoed(ip, limit) else Answer.SILENT
        except OSError as error:
            return _told(error)
    try:
        async with asyncio.timeout(limit):
            _, writer = await asyncio.open_connection(ip, port)
    except ConnectionRefusedError:
        return Answer.CLOSED
    except TimeoutError:
        return Answer.SILENT
    except OSError as error:
        return _told(error)
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(limit):
            await writer.wait_closed()
    return Answer.OPEN


def _told(error: OSError) -> Answer:
    return Answer.NONE if error.errno in NO_EVIDENCE else Answer.SILENT
