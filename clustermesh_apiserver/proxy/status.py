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
WATCH_PERMISSION_DENIED = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
_UPSTREAM_LOST = "etcdserver: not connected"
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

    async def abort(self, context: Any) -> None:
        """End the downstream call with it; never returns."""
        await context.abort(self.code, self.details, self.trailing)


REFUSED = Status(grpc.StatusCode.PERMISSION_DENIED, PERMISSION_DENIED)
MALFORMED = Status(grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: malformed request")
UNKNOWN_METHOD = Status(grpc.StatusCode.UNIMPLEMENTED, "not served by this proxy")
STOPPING = Status(grpc.StatusCode.UNAVAILABLE, "etcdserver: server stopped")
GONE = Status(grpc.StatusCode.CANCELLED, "the client is gone")
STALLED = Status(grpc.StatusCode.RESOURCE_EXHAUSTED, "the client does not read what it asked for")
TOO_MANY_CREATES = Status(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watches requested at once")


def of_upstream(error: grpc.aio.AioRpcError) -> Status:
    """The status to pass on. What gRPC itself says of a lost etcd would name our loopback addresses."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE and not details.startswith(_ETCD):
        return Status(code, _UPSTREAM_LOST)
    return Status(code, details, trailing_of(error.trailing_metadata()))


def trailing_of(metadata: Any) -> Metadata:
    return tuple((key, value) for key, value in metadata or () if not key.startswith(_HOP_METADATA))


def request_metadata(metadata: Any) -> Metadata:
    """What of a client's metadata etcd is to see."""
    return tuple((key, value) for key, value in metadata or () if key in _PASSED_METADATA)
