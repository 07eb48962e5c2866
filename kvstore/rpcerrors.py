"""gRPC status to our error classes. Pure.

etcd's texts are part of its API (its own client matches them), so the texts decide before the code:
older servers send several of them with the code Unknown.
"""

from __future__ import annotations

import grpc

from kvstore.errors import (
    CompactedError,
    KVStoreError,
    LeaseLostError,
    RefusedError,
    TransientError,
    UnansweredError,
)

# "a future revision" is asked of a server that was restored or lost its newest writes: our history is
# not its history, which is the same to the caller as history that is gone.
_COMPACTED = ("required revision has been compacted", "required revision is a future revision")
_LEASE_LOST = ("requested lease not found",)
# A request over gRPC's own limit is refused with a code that otherwise means "later, perhaps".
_REFUSED = ("permission denied", "PermissionDenied", "received message larger than max")
# What a member says that is alive but cannot agree with the others.
_NO_QUORUM = ("etcdserver: no leader", "etcdserver: request timed out")

_REFUSED_CODES = frozenset(
    {
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
    }
)

# After these the connection itself is in doubt: the next call dials again, the next endpoint first.
_LINK_CODES = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


def from_text(text: str) -> KVStoreError | None:
    """The error that etcd's text names, if it names one."""
    if any(part in text for part in _COMPACTED):
        return CompactedError(text)
    if any(part in text for part in _LEASE_LOST):
        return LeaseLostError(text)
    if any(part in text for part in _REFUSED):
        return RefusedError(text)
    return None


def from_status(code: grpc.StatusCode, details: str, endpoint: str) -> KVStoreError:
    text = f"{details or 'no details'} ({code.name.lower()}, {endpoint})"
    known = from_text(text)
    if known is not None:
        return known
    if code in _REFUSED_CODES:
        return RefusedError(text)
    is_unanswered = code is grpc.StatusCode.DEADLINE_EXCEEDED or any(part in text for part in _NO_QUORUM)
    return UnansweredError(text) if is_unanswered else TransientError(text)


def from_cancelled_watch(reason: str, compact_revision: int, endpoint: str) -> KVStoreError:
    """Why the server ended a watch of ours; it says so in a message, not in a status."""
    if compact_revision > 0:
        return CompactedError(f"the watch's history is compacted up to revision {compact_revision}")
    text = f"watch cancelled: {reason or 'no reason given'} ({endpoint})"
    return from_text(text) or TransientError(text)


def doubts_link(code: grpc.StatusCode) -> bool:
    return code in _LINK_CODES
