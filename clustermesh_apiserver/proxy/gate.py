"""Who is let in now: asked at every call, and of every open stream whenever the answer may have changed.

The handshake decides once, for a whole connection. A connection lives for weeks: the gate shuts it out when
its name or certificate is revoked, leaves the users' list, expires, or loses its authority. Names of this
cluster's own clients count only below its own authority: others' issue what they like. Files that
cannot be used are reported, and the last good ones count; so do files that are gone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from aiokit import directory
from certs import own
from certs.bundle import TrustBundle
from certs.check import Problem, Purpose, check
from clustermesh_apiserver.proxy.access import (
    Access,
    AccessError,
    AuthMode,
    Revoked,
    parse_revoked,
    parse_users,
)
from clustermesh_apiserver.proxy.authz import RoleKind
from clustermesh_apiserver.proxy.caller import Caller, Certificate
from clustermesh_apiserver.proxy.certificate import Own
from clustermesh_apiserver.proxy.metric import Metrics
from clustermesh_apiserver.proxy.sight import Sight
from clustermesh_apiserver.proxy.sight import parse as parse_sight
from clustermesh_apiserver.proxy.views import Views

T = TypeVar("T")
_MAX_JUDGED = 4096  # certificates whose chain has been looked at under the present bundle

# Within this the kubelet has written new Secrets to all pods: some have their files before us, some after.
FORMER_OWN = timedelta(minutes=10)

log = logging.getLogger(__name__)


class Gate:
    """`changed` is called when somebody who was let in may not be any more, or sees something else."""

    def __init__(
        self,
        mode: AuthMode,
        *,
        has_users: bool,
        metrics: Metrics,
        has_sight: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.changed: Callable[[], None] = lambda: None
        self.views = Views(None if has_sight else Sight())
        # with a list that has not been read yet nobody is on it
        self._access = Access(mode, frozenset() if has_users else None)
        self._bundle: TrustBundle | None = None
        self._clock = clock
        self._own: Own = ()
        self._former: Own = ()
        self._former_until = 0.0  # of the monotonic clock: a clock that is set back must not let anybody in
        self._judged: dict[tuple[Certificate, Own], bool] = {}
        self._metrics = metrics

    def objection(self, caller: Caller) -> str:
        """Why this client is not let in, in a few fixed words; empty when it is."""
        certificate = caller.certificate
        if datetime.now(UTC) > certificate.expires:
            return "certificate expired"
        if not self._trusts(certificate):
            return "authority not trusted"
        if caller.role.kind in (RoleKind.ADMIN, RoleKind.LOCAL) and not self._issued(certificate):
            return "authority not ours"
        if caller.role.kind is RoleKind.REMOTE and not self.views.is_known:
            return "not known what it may see"
        return self._access.objection(caller.role, certificate.serial)

    def trust(self, bundle: TrustBundle, own: Own) -> None:
        """The authorities that count from now on, and those of them that are this cluster's own."""
        if self._bundle is not None and own != self._own:
            self._former, self._former_until = self._own, self._clock() + FORMER_OWN.total_seconds()
        self._bundle, self._own = bundle, own
        self._judged.clear()
        self.changed()

    async def follow_users(self, path: Path) -> None:
        """Read the users' list again whenever it changes, until cancelled."""

        def use(users: frozenset[str]) -> None:
            self._access = Access(self._access.mode, users, self._access.revoked)
            log.info("users of other clusters path=%s users=%d", path, len(users))

        await self._follow(path, parse_users, use)

    async def follow_revoked(self, path: Path) -> None:
        """Read who is revoked again whenever that changes, until cancelled."""

        def use(revoked: Revoked) -> None:
            self._access = Access(self._access.mode, self._access.users, revoked)
            log.info("revoked path=%s names=%d serials=%d", path, len(revoked.names), len(revoked.serials))

        await self._follow(path, parse_revoked, use)

    async def follow_sight(self, path: Path) -> None:
        """Read who may see what again whenever it changes, until cancelled. No file at first: all see all."""

        def use(sight: Sight) -> None:
            self.views.use(sight)
            log.info("what peers see path=%s peers=%d", path, len(sight.peers))

        def absent() -> None:
            if not self.views.is_known:
                self.views.use(Sight())

        await self._follow(path, parse_sight, use, absent)

    async def _follow(
        self,
        path: Path,
        parse: Callable[[bytes], T],
        use: Callable[[T], None],
        absent: Callable[[], None] = lambda: None,
    ) -> None:
        last: bytes | None = None
        async for files in directory.changes(path.parent):
            text = files.get(path.name)
            if text is None:
                absent()
                log.warning("file is not there, what it said before counts path=%s", path)
                continue
            if text == last:
                continue
            last = text
            try:
                use(parse(text))
            except AccessError as error:
                self._metrics.access_reloads.labels("refused").inc()
                log.error("file not usable, what it said before counts path=%s error=%s", path, error)
                continue
            self._metrics.access_reloads.labels("ok").inc()
            self.changed()

    def _trusts(self, certificate: Certificate) -> bool:
        bundle = self._bundle
        if bundle is None:
            return True  # nothing is served yet

        def judge() -> bool:
            findings = check(certificate.pem, bundle, purpose=Purpose.CLIENT, now=datetime.now(UTC))
            return all(finding.problem is not Problem.UNTRUSTED for finding in findings)

        return self._remembered((certificate, ()), judge)

    def _issued(self, certificate: Certificate) -> bool:
        """Whether this cluster's own authority signed it, or did so until a moment ago."""
        counting = [self._own]
        if self._clock() < self._former_until:
            counting.append(self._former)
        return self._bundle is None or any(
            self._remembered((certificate, each), partial(own.is_own, certificate.pem, each))
            for each in counting
            if each
        )

    def _remembered(self, key: tuple[Certificate, Own], judge: Callable[[], bool]) -> bool:
        known = self._judged.get(key)
        if known is None:
            known = judge()
            if len(self._judged) >= _MAX_JUDGED:
                self._judged.clear()
            self._judged[key] = known
        return known
