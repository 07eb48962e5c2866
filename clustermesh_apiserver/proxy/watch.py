"""One client's watch stream in front of the hub: requests judged one by one, events in batches.

Promises: what a watch gets is what etcd would send it: its events once and in order, progress and
cancellations where they belong, answers to create requests in the requests' order. A refused watch is
answered as etcd answers it (created and cancelled at once) and the stream lives on. One message is in
flight at a time: whoever reads slowly holds no memory here and gets larger batches; whoever falls behind
what the ring keeps, or reads nothing for STALL_SECONDS, is cut off and may resume by revision.

Requests are read in the call's task. Events need none: the hub wakes the stream, which writes at once what
it may, and the rest when the transport says that there is room.
"""

from __future__ import annotations

import asyncio
import logging

import grpc
import grpc.aio

from clustermesh_apiserver.proxy import reply
from clustermesh_apiserver.proxy.authz import Allow, Refuse, admit
from clustermesh_apiserver.proxy.call import Call, nobody
from clustermesh_apiserver.proxy.confirmation import Confirmation
from clustermesh_apiserver.proxy.head import HeadSource
from clustermesh_apiserver.proxy.hub import Hub
from clustermesh_apiserver.proxy.method import WATCH
from clustermesh_apiserver.proxy.metric import Metrics
from clustermesh_apiserver.proxy.outbox import Outbox
from clustermesh_apiserver.proxy.quota import Account
from clustermesh_apiserver.proxy.ring import Lapsed
from clustermesh_apiserver.proxy.sight import Sight
from clustermesh_apiserver.proxy.status import (
    BUG,
    REFUSED,
    STALLED,
    TOO_MANY,
    TOO_MANY_REQUESTS,
    TOO_SLOW,
    UPSTREAM_LOST,
    WATCH_PERMISSION_DENIED,
    Ended,
    Status,
    status_of,
)
from clustermesh_apiserver.proxy.views import Views
from clustermesh_apiserver.proxy.watched import Watched, is_of_state
from clustermesh_apiserver.proxy.watchset import WatchSet
from kvstore import messages

STALL_SECONDS = 60.0  # longer than a client's garbage collection or a short partition of its network
ROUNDS = 8  # of one stream, one batch of each watch in each, before others get a turn

log = logging.getLogger(__name__)


class WatchStream:
    def __init__(
        self,
        call: Call,
        account: Account,
        *,
        hub: Hub,
        head: HeadSource,
        metrics: Metrics,
        views: Views | None = None,
    ) -> None:
        self._views = views or Views(Sight())
        self._role = call.caller.role  # what it may see beside, the views know
        self.path = WATCH.path
        self._call = call
        self._account = account
        self._head = head
        self._metrics = metrics
        self._watches = WatchSet(hub, account)
        self._watched = self._watches.by_id
        self._outbox = Outbox(call)
        self._header = messages.ResponseHeader()
        self._confirmation = Confirmation()
        self._is_pumping = False
        self._has_news = False
        self._status: Status | None = None
        self._until: asyncio.Timeout | None = None
        self._loop = asyncio.get_running_loop()

    async def run(self) -> Status:
        """Until the stream ends; the status to end it with."""
        self._call.on_writable = self._writable
        try:
            async with asyncio.timeout(None) as self._until:
                await self._requests()
                await self._loop.create_future()  # who asks no more still gets its events
        except TimeoutError:
            assert self._status is not None
            return self._status
        except (grpc.aio.AioRpcError, Ended) as error:
            return self._status or status_of(error)
        finally:
            self._call.on_writable = nobody  # or the two of us would hold each other
            self._until = None
            self._status = self._status or UPSTREAM_LOST  # what is woken from now on is not written any more
            for watch_id in list(self._watched):
                self._forget(watch_id)
        raise AssertionError("a stream ends by an error")

    def end(self, status: Status) -> None:
        """End it from outside, whatever it is doing."""
        if self._status is None:
            self._status = status
            if self._until is not None:
                self._until.reschedule(self._loop.time())

    def check(self, now: float) -> None:
        """End it if its client reads too slowly. `now`: the loop's time."""
        if self._outbox.blocked_since is None:
            return
        if now - self._outbox.blocked_since > STALL_SECONDS:
            self._metrics.slow_readers.labels("stalled").inc()
            self.end(STALLED)
        elif any(watched.watch.has_lapsed for watched in self._watched.values()):
            self._lapsed()
            self.end(TOO_SLOW)

    def review(self) -> None:
        """A watch that would not be the same any more is over; its client lists again what it may see."""
        role = self._views.role(self._role)
        for watch_id, watched in list(self._watched.items()):
            verdict = admit(role, WATCH.path, watched.asked)
            if verdict == watched.sent:
                continue
            self._forget(watch_id)
            if isinstance(verdict, Refuse):
                self._refuse(verdict)
                self._outbox.replies.append(reply.ended(self._header, watch_id, WATCH_PERMISSION_DENIED))
            else:
                self._outbox.replies.append(reply.compacted(self._header, watch_id))
        self._pump()

    async def _requests(self) -> None:
        while (raw := await self._call.read()) is not None:
            if not self._account.may_ask(self._loop.time()):
                self._refuse(Refuse("quota", "requests"))
                raise Ended(TOO_MANY)
            role = self._views.role(self._role)
            verdict = admit(role, WATCH.path, raw)
            if isinstance(verdict, Refuse):
                self._refuse(verdict)
                if verdict.reason != "range":
                    raise Ended(REFUSED)
                await self._say(reply.never_made(await self._ask_head(), WATCH_PERMISSION_DENIED))
            else:
                self._metrics.allow(self._call.caller, WATCH.path, verdict)
                await self._request(raw, verdict)
                if self._views.role(self._role) is not role:
                    self.review()  # the view has changed while etcd was asked

    async def _request(self, asked: bytes, allowed: Allow) -> None:
        request = messages.WatchRequest.FromString(allowed.request)
        match request.WhichOneof("request_union"):
            case "create_request":
                await self._create(request.create_request, asked, allowed)
            case "cancel_request":
                await self._cancel(request.cancel_request.watch_id)
            case "progress_request":
                await self._ask_progress()

    async def _create(self, request: messages.WatchCreateRequest, asked: bytes, sent: Allow) -> None:
        header = await self._ask_head()
        if reason := self._watches.objection(request):
            return await self._say(reply.never_made(header, reason))
        # Without a revision: what happens after the question, which etcd's head was asked for after.
        start = max(1, request.start_revision) if request.start_revision else header.revision + 1
        watched = self._watches.add(request, start, self._head.newest, self._pump, asked=asked, sent=sent)
        if isinstance(watched, Refuse):
            self._refuse(watched)
            return await self._say(reply.never_made(header, TOO_MANY_REQUESTS))
        watch_id = watched.watch_id
        if self._confirmation.is_open:
            self._confirm(watched)
        self._outbox.replies.append(reply.created(header, watch_id, start))
        if 0 < request.start_revision <= self._views.changed_at(self._role.name) and is_of_state(asked):
            self._forget(watch_id)
            self._outbox.replies.append(reply.compacted(header, watch_id))
        return await self._said()

    def _forget(self, watch_id: int) -> bool:
        if not self._watches.remove(watch_id):
            return False
        if confirmed := self._confirmation.gone(watch_id):  # only its word was still missing
            self._outbox.replies.append(reply.progress(self._header, confirmed))
            self._pump()
        return True

    async def _cancel(self, watch_id: int) -> None:
        if self._forget(watch_id):
            await self._say(reply.cancelled(self._header, watch_id))

    async def _ask_progress(self) -> None:
        if not self._watched:  # then all there is to know is known
            header = await self._ask_head()
            return await self._say(reply.progress(header, header.revision))
        for watched in self._watched.values():
            self._confirm(watched)
        return None

    def _confirm(self, watched: Watched) -> None:
        self._confirmation.ask(watched.watch_id)
        watched.watch.ask_progress()

    async def _ask_head(self) -> messages.ResponseHeader:
        try:
            self._header = await self._head.ask()
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:  # ours, not the client's
                raise Ended(UPSTREAM_LOST) from error
            raise
        return self._header

    async def _say(self, answer: bytes) -> None:
        """Queue an answer to a request."""
        self._outbox.replies.append(answer)
        await self._said()

    async def _said(self) -> None:
        self._outbox.owes()
        self._pump()
        await self._outbox.taken()

    def _writable(self) -> None:
        self._outbox.blocked_since = None
        self._pump()

    def _pump(self) -> None:
        """Write what is due, as long as the transport takes it."""
        self._has_news = True
        if self._is_pumping or self._status is not None:
            return  # woken by what we do ourselves, or over
        self._is_pumping = True
        try:
            self._write_due()
        except Ended as ended:
            self.end(ended.status)
        except Exception:  # the others whom the hub wakes in this round have no part in it
            log.exception("stream failed peer=%s", self._call.caller.peer)
            self.end(BUG)
        finally:
            self._is_pumping = False

    def _write_due(self) -> None:
        """Raises Ended."""
        for _ in range(ROUNDS):
            self._has_news = False
            is_more_due = self._round()
            if self._outbox.blocked_since is not None:
                return  # _writable goes on
            if not is_more_due and not self._has_news:
                return
        self._loop.call_soon(self._pump)

    def _round(self) -> bool:
        """Write what is due, of each watch one batch. Whether more may be."""
        if self._outbox.replies:
            self._outbox.write_replies()
        is_more_due = False
        for watched in list(self._watched.values()):
            if not self._outbox.may_write():
                break
            is_more_due |= self._serve(watched)
        return is_more_due

    def _serve(self, watched: Watched) -> bool:
        watch, watch_id = watched.watch, watched.watch_id
        if self._watched.get(watch_id) is not watched:
            return False  # cancelled while another one was written
        if (revision := watch.take_confirmed()) is not None:  # first: there may be events all the time
            if confirmed := self._confirmation.said(watch_id, revision):
                self._outbox.write(reply.progress(self._header, confirmed))
            return True
        try:
            batch = watch.take()
        except Lapsed:
            self._lapsed()
            raise Ended(TOO_SLOW) from None
        if batch is not None:
            self._outbox.write_events(reply.with_id(batch.raw, watch_id), watched.fragment)
            return watched.progress or not watch.is_settled
        if watched.progress and (said := watch.take_progress()) is not None:
            self._outbox.write(reply.with_id(said, watch_id))
            return True
        if (ending := watched.take_ending()) is None:
            return False
        self._forget(watch_id)
        self._outbox.write(ending)
        return True

    def _lapsed(self) -> None:
        self._metrics.slow_readers.labels("lapsed").inc()

    def _refuse(self, refusal: Refuse) -> None:
        self._metrics.refuse(self._call.caller, WATCH.path, refusal)
