"""Who may do what: common name -> role -> method and key range (spec 4.5). Pure.

Promises: a request of a remote or local client that is allowed reads only inside the role's grants and
changes nothing. Everything not named here is refused. The request judged must be the request sent on:
`admit` therefore returns the bytes to send, encoded again from what was read. etcd decodes doubled
fields otherwise than we do (it replaces a repeated message where protobuf merges it), so bytes that
were only looked at could mean a wider range there than here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from google.protobuf.message import DecodeError, Message

from clustermesh_apiserver.proxy.method import ALARM, MEMBER_LIST, METHODS, RANGE, STATUS, WATCH, Method
from kvstore import messages

_REMOTE_OF_CLUSTER = re.compile(r"remote-([a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?)")


class RoleKind(Enum):
    """What a client is to this cluster."""

    ADMIN = "admin"  # this cluster's control plane
    LOCAL = "local"  # this cluster's agents
    REMOTE = "remote"  # another cluster's agents or mirror
    UNKNOWN = "unknown"  # a certificate that we trust, for something else


@dataclass(frozen=True, slots=True)
class Grant:
    """Keys in [start, end) may be read."""

    start: bytes
    end: bytes

    def covers(self, key: bytes, range_end: bytes) -> bool:
        """Whether all that etcd would select for (key, range_end) is inside, and that is something."""
        # b"\0" as a range_end means "no end" to etcd; here it is below every key, so nothing is covered
        end = range_end or key + b"\0"
        return self.start <= key < end <= self.end

    def touches(self, key: bytes, range_end: bytes) -> bool:
        """Whether etcd could select anything of it for (key, range_end), which has an end."""
        return key < self.end and self.start < (range_end or key + b"\0")


@dataclass(frozen=True, slots=True)
class Role:
    """A client, its certificate's common name and what it may read. Admins need no grants.

    What lies in `hidden` and in no grant looks empty: requests for it are sent on as one for `NOTHING`.
    """

    kind: RoleKind
    name: str
    grants: tuple[Grant, ...] = ()
    hidden: Grant | None = None


@dataclass(frozen=True, slots=True)
class Allow:
    """Send on exactly these bytes. `hides`: they ask for nothing, as what was asked for is hidden."""

    request: bytes
    hides: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """`reason` is one of a few words (it labels a counter); `detail` says what was asked for."""

    reason: str
    detail: str = ""


def role_of(common_names: Sequence[str], cluster: str) -> Role:
    """The role of a client certificate's subject, in the cluster named `cluster`.

    Several clusters may share one authority: `admin-west` is nobody in east.
    """
    if len(common_names) != 1:
        return Role(RoleKind.UNKNOWN, ",".join(common_names))
    name = common_names[0]
    if name == f"admin-{cluster}":
        return Role(RoleKind.ADMIN, name)
    if name == f"local-{cluster}":
        return Role(RoleKind.LOCAL, name, _local_grants())
    if name == "remote" or is_remote_of_cluster(name):
        return Role(RoleKind.REMOTE, name, _remote_grants(cluster))
    return Role(RoleKind.UNKNOWN, name)


def is_remote_of_cluster(name: str) -> bool:
    """Whether a common name is that of one other cluster's clients."""
    return _REMOTE_OF_CLUSTER.fullmatch(name) is not None


def admit(role: Role, path: str, request: bytes) -> Allow | Refuse:
    """Judge one request (for a stream: one message of it) as it came from the wire."""
    if role.kind is RoleKind.UNKNOWN:
        return Refuse("unknown client")
    method = METHODS.get(path)
    if method is None:
        return Refuse("method")
    if role.kind is RoleKind.ADMIN:
        return Allow(request)
    try:
        message = method.request.FromString(request)
    except DecodeError:
        return Refuse("malformed")
    message.DiscardUnknownFields()  # what we do not know, we do not grant
    return decide(role, method, message)


def decide(role: Role, method: Method, message: Message) -> Allow | Refuse:
    """Judge a decoded request of a client that may only read."""
    if method in (STATUS, MEMBER_LIST):
        return _allow(message)
    if method == ALARM and isinstance(message, messages.AlarmRequest):
        is_question = message.action == messages.AlarmRequest.GET
        return _allow(message) if is_question else Refuse("method", "alarm")
    if method == RANGE and isinstance(message, messages.RangeRequest):
        return _judge(role, message, message)
    if method == WATCH and isinstance(message, messages.WatchRequest):
        return _judge_watch(role, message)
    return Refuse("method")


def _judge_watch(role: Role, message: messages.WatchRequest) -> Allow | Refuse:
    match message.WhichOneof("request_union"):
        case "create_request":
            return _judge(role, message, message.create_request)
        case "cancel_request" | "progress_request":
            return _allow(message)  # about watches of this stream, which were all granted
        case _:
            return Refuse("malformed", "neither create, cancel nor progress")


def _judge(
    role: Role, message: Message, asked: messages.RangeRequest | messages.WatchCreateRequest
) -> Allow | Refuse:
    """`asked`: the part of the message that names a range. A hidden one is replaced in it."""
    key, range_end = asked.key, asked.range_end
    if any(grant.covers(key, range_end) for grant in role.grants):
        return _allow(message)
    is_hidden = role.hidden is not None and role.hidden.covers(key, range_end)
    if not is_hidden or any(grant.touches(key, range_end) for grant in role.grants):
        return Refuse("range", f"{key!r}..{range_end!r}")
    asked.key, asked.range_end = NOTHING, b""
    return Allow(message.SerializeToString(), hides=True)


def _allow(message: Message) -> Allow:
    return Allow(message.SerializeToString())


def _remote_grants(cluster: str) -> tuple[Grant, ...]:
    return (
        prefix(b"cilium/.heartbeat"),
        STATE,
        _single(b"cilium/cluster-config/" + cluster.encode()),
        prefix(b"cilium/synced/" + cluster.encode() + b"/"),
    )


def _local_grants() -> tuple[Grant, ...]:
    prefixes = (b"cilium/.heartbeat", b"cilium/cache/", b"cilium/cluster-config/", b"cilium/synced/")
    return tuple(prefix(each) for each in prefixes)


def prefix(start: bytes) -> Grant:
    """All keys that begin with this."""
    return Grant(start, start[:-1] + bytes([start[-1] + 1]))


def _single(key: bytes) -> Grant:
    return Grant(key, key + b"\0")


STATE = prefix(b"cilium/state/")  # this cluster's own entries
NOTHING = b"cilium/.nothing"  # a key that nobody writes
