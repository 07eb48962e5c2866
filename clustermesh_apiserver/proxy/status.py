"""Statuses that clients of etcd understand.

Texts and codes are API: etcd's Go client compares texts. Ours are therefore etcd's own words, and what
etcd said is passed on unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

PERMISSION_DENIED = "etcdserver: permission denied"
TOO_MANY_REQUESTS = "etcdserver: too many requests"
EMPTY_RANGE = "mvcc: watcher range is empty"
DUPLICATE_WATCH = "mvcc: duplicate watch ID provided on the WatchStream"
WATCH_PERMISSION_DENIED = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
_NOT_CONNECTED = "etcdserver: not connected"
_ETCD = "etcdserver: "
# Ours to set, not the other connection's to pass on.
_HOP_METADATA = ("grpc-", "content-type", "te", "user-agent", ":")
_PASSED_METADATA = frozenset({"hasleader", "token", "authorization", "client-api-version"})

Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True, slots=True)
class Status:
    """How a call ended."""

    code: grpc.StatusCode
    details: str
    trailing: Metadata = ()


OK = Status(grpc.StatusCode.OK, "")
REFUSED = Status(grpc.StatusCode.PERMISSION_DENIED, PERMISSION_DENIED)
MALFORMED = Status(grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: malformed request")
UNKNOWN_METHOD = Status(grpc.StatusCode.UNIMPLEMENTED, "not served by this proxy")
STOPPING = Status(grpc.StatusCode.UNAVAILABLE, "etcdserver: server stopped")
UPSTREAM_LOST = Status(grpc.StatusCode.UNAVAILABLE, _NOT_CONNECTED)
STALLED = Status(grpc.StatusCode.RESOURCE_EXHAUSTED, "the client does not read what it asked for")
# Unavailable is what etcd's Go client takes as a reason to watch on from its last revision by itself.
TOO_SLOW = Status(grpc.StatusCode.UNAVAILABLE, "etcdserver: the watcher fell behind what is kept for it")
REVOKED = Status(grpc.StatusCode.PERMISSION_DENIED, PERMISSION_DENIED)
TOO_LARGE = Status(grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: request is too large")
COMPRESSED = Status(grpc.StatusCode.UNIMPLEMENTED, "messages are taken as they are, not compressed")
CUT_SHORT = Status(grpc.StatusCode.INTERNAL, "the request ends in the middle of a message")
OUT_OF_TIME = Status(grpc.StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded")
BUG = Status(grpc.StatusCode.INTERNAL, "the proxy failed, its log says how")
TOO_MANY = Status(grpc.StatusCode.RESOURCE_EXHAUSTED, TOO_MANY_REQUESTS)


class Ended(Exception):
    """A stream is to end with a status of ours."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.details)
        self.status = status


def of_upstream(error: Any) -> Status:
    """The status to pass on. What gRPC itself says of a lost etcd would name our loopback addresses."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE and not details.startswith(_ETCD):
        return Status(code, _NOT_CONNECTED)
    return Status(code, details, trailing_of(error.trailing_metadata()))


def status_of(error: Exception) -> Status:
    """How a stream ends by this error: our word, or else etcd's."""
    return error.status if isinstance(error, Ended) else of_upstream(error)


def trailing_of(metadata: Any) -> Metadata:
    return tuple((key, value) for key, value in metadata or () if not key.startswith(_HOP_METADATA))


def request_metadata(metadata: Any) -> Metadata:
    """What of a client's metadata etcd is to see."""
    return tuple((key, value) for key, value in metadata or () if key in _PASSED_METADATA)
