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


@dataclass(frozen=True, slots=True)
class Role:
    """A client, its certificate's common name and what it may read. Admins need no grants."""

    kind: RoleKind
    name: str
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True)
class Allow:
    """Send on exactly these bytes."""

    request: bytes


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
    refusal = _refusal(role, method, message)
    return refusal or Allow(message.SerializeToString())


def _refusal(role: Role, method: Method, message: Message) -> Refuse | None:
    if method in (STATUS, MEMBER_LIST):
        return None
    if method == ALARM and isinstance(message, messages.AlarmRequest):
        is_question = message.action == messages.AlarmRequest.GET
        return None if is_question else Refuse("method", "alarm")
    if method == RANGE and isinstance(message, messages.RangeRequest):
        return _outside(role, message.key, message.range_end)
    if method == WATCH and isinstance(message, messages.WatchRequest):
        return _watch_refusal(role, message)
    return Refuse("method")


def _watch_refusal(role: Role, message: messages.WatchRequest) -> Refuse | None:
    match message.WhichOneof("request_union"):
        case "create_request":
            return _outside(role, message.create_request.key, message.create_request.range_end)
        case "cancel_request" | "progress_request":
            return None  # about watches of this stream, which were all granted
        case _:
            return Refuse("malformed", "neither create, cancel nor progress")


def _outside(role: Role, key: bytes, range_end: bytes) -> Refuse | None:
    if any(grant.covers(key, range_end) for grant in role.grants):
        return None
    return Refuse("range", f"{key!r}..{range_end!r}")


def _remote_grants(cluster: str) -> tuple[Grant, ...]:
    return (
        _prefix(b"cilium/.heartbeat"),
        _prefix(b"cilium/state/"),
        _single(b"cilium/cluster-config/" + cluster.encode()),
        _prefix(b"cilium/synced/" + cluster.encode() + b"/"),
    )


def _local_grants() -> tuple[Grant, ...]:
    prefixes = (b"cilium/.heartbeat", b"cilium/cache/", b"cilium/cluster-config/", b"cilium/synced/")
    return tuple(_prefix(prefix) for prefix in prefixes)


def _prefix(prefix: bytes) -> Grant:
    return Grant(prefix, prefix[:-1] + bytes([prefix[-1] + 1]))


def _single(key: bytes) -> Grant:
    return Grant(key, key + b"\0")
