"""Who is let in now: asked at every call, and of every open stream whenever the answer may have changed.

The handshake decides once, for a whole connection. A connection lives for weeks: the gate shuts it out when
its name or certificate is revoked, leaves the users' list, expires, or loses its authority. Files that
cannot be used are reported, and the last good ones count; so do files that are gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from aiokit import directory
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
from clustermesh_apiserver.proxy.caller import Caller, Certificate
from clustermesh_apiserver.proxy.metric import Metrics

T = TypeVar("T")
_MAX_JUDGED = 4096  # certificates whose chain has been looked at under the present bundle

log = logging.getLogger(__name__)


class Gate:
    """`changed` is called when somebody who was let in may not be any more."""

    def __init__(self, mode: AuthMode, *, has_users: bool, metrics: Metrics) -> None:
        self.changed: Callable[[], None] = lambda: None
        # with a list that has not been read yet nobody is on it
        self._access = Access(mode, frozenset() if has_users else None)
        self._bundle: TrustBundle | None = None
        self._judged: dict[Certificate, bool] = {}
        self._metrics = metrics

    def objection(self, caller: Caller) -> str:
        """Why this client is not let in, in a few fixed words; empty when it is."""
        certificate = caller.certificate
        if datetime.now(UTC) > certificate.expires:
            return "certificate expired"
        if not self._trusts(certificate):
            return "authority not trusted"
        return self._access.objection(caller.role, certificate.serial)

    def trust(self, bundle: TrustBundle) -> None:
        """The authorities that count from now on."""
        self._bundle = bundle
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

    async def _follow(self, path: Path, parse: Callable[[bytes], T], use: Callable[[T], None]) -> None:
        last: bytes | None = None
        async for files in directory.changes(path.parent):
            text = files.get(path.name)
            if text is None:
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
        if self._bundle is None:
            return True  # nothing is served yet
        known = self._judged.get(certificate)
        if known is None:
            now = datetime.now(UTC)
            findings = check(certificate.pem, self._bundle, purpose=Purpose.CLIENT, now=now)
            known = all(finding.problem is not Problem.UNTRUSTED for finding in findings)
            if len(self._judged) >= _MAX_JUDGED:
                self._judged.clear()
            self._judged[certificate] = known
        return known
