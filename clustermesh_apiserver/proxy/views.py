"""What each peer sees now, and which watches began under another view.

Cilium's reader lists once and then follows by revision, over reconnections too; only a compacted revision
makes it list again. So a watch of entries whose view has changed since its start is answered as compacted: a
peer that may see less drops what it has, one that may see more gets it (docs/adr/0012). A key of our own
moves etcd's revision at each change, so that every revision belongs to one view; it holds the view's digest,
so that a change is also noticed that came while no proxy ran.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import grpc.aio

from clustermesh_apiserver.proxy.authz import Role
from clustermesh_apiserver.proxy.method import PUT, RANGE
from clustermesh_apiserver.proxy.sight import Sight
from clustermesh_apiserver.proxy.upstream import Upstream
from kvstore.messages import PutRequest, PutResponse, RangeRequest, RangeResponse

MARK = b"clustermesh/proxy/view"  # outside of all that anybody reads
MARK_SECONDS = 5.0
RETRY_SECONDS = 1.0
_UNSETTLED = 2**62  # no watch begins later

log = logging.getLogger(__name__)


class Views:
    """`sight` None: not known yet."""

    def __init__(self, sight: Sight | None = None) -> None:
        self._sight = sight
        self._roles: dict[Role, Role] = {}
        self._changed: dict[str, int] = {}  # name -> etcd's revision when its view had changed
        self._changed_for_others = 0
        self._unsettled = asyncio.Event()
        self._is_first = True  # the view is the first of this life

    @property
    def is_known(self) -> bool:
        return self._sight is not None

    def role(self, role: Role) -> Role:
        """The role with what its bearer may see now."""
        known = self._roles.get(role)
        if known is None:
            known = self._roles[role] = self._sight.role(role) if self._sight is not None else role
        return known

    def changed_at(self, name: str) -> int:
        """A watch that starts at this revision or before may have been listed under another view."""
        return self._changed.get(name, self._changed_for_others)

    def use(self, sight: Sight) -> None:
        before, self._sight = self._sight, sight
        self._roles.clear()
        if before is None:  # an earlier life may have shown something else
            self._changed_for_others = _UNSETTLED
            self._unsettled.set()
            return
        self._is_first = False
        others_before = self._changed_for_others
        if before.default != sight.default:
            self._changed_for_others = _UNSETTLED
        for name in before.peers.keys() | sight.peers.keys() | self._changed.keys():
            if before.of(name) != sight.of(name):
                self._changed[name] = _UNSETTLED
            else:
                self._changed.setdefault(name, others_before)
        self._unsettled.set()

    async def settle(self, mark: Callable[[bytes, bool], Awaitable[int]]) -> None:
        """Give each change a revision, until cancelled. `mark`: as `marked`."""
        while True:
            await self._unsettled.wait()
            self._unsettled.clear()
            try:
                assert self._sight is not None
                revision = await mark(self._sight.digest, self._is_first)
            except grpc.aio.AioRpcError as error:
                log.warning("views wait for etcd error=%s", error.details())
                await asyncio.sleep(RETRY_SECONDS)
                self._unsettled.set()
                continue
            if not self._unsettled.is_set():
                self._settled(revision)

    def _settled(self, revision: int) -> None:
        for name, changed in self._changed.items():
            if changed == _UNSETTLED:
                self._changed[name] = revision
        if self._changed_for_others == _UNSETTLED:
            self._changed_for_others = revision


async def marked(upstream: Upstream, digest: bytes, keeps: bool) -> int:
    """The revision at which the view of that digest began. Raises AioRpcError.

    `keeps`: if it is the one that was marked last, it began then; else it begins now.
    """
    if keeps:
        asked = RangeRequest(key=MARK).SerializeToString()
        raw: bytes = await upstream.unary(RANGE.path)(asked, timeout=MARK_SECONDS)
        for pair in RangeResponse.FromString(raw).kvs:
            if pair.value == digest:
                return pair.mod_revision
    request = PutRequest(key=MARK, value=digest).SerializeToString()
    raw = await upstream.unary(PUT.path)(request, timeout=MARK_SECONDS)
    return PutResponse.FromString(raw).header.revision
