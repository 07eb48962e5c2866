from __future__ import annotations

import grpc
import pytest

from kvstore.errors import (
    CompactedError,
    KVStoreError,
    LeaseLostError,
    RefusedError,
    TransientError,
    UnansweredError,
)
from kvstore.rpcerrors import doubts_link, from_cancelled_watch, from_status

Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        (Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", CompactedError),
        (Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision", CompactedError),
        (Code.NOT_FOUND, "etcdserver: requested lease not found", LeaseLostError),
        (Code.PERMISSION_DENIED, "etcdserver: permission denied", RefusedError),
        (Code.UNKNOWN, "auth: permission denied", RefusedError),
        (Code.INVALID_ARGUMENT, "etcdserver: request is too large", RefusedError),
        (Code.RESOURCE_EXHAUSTED, "grpc: received message larger than max (3 vs. 2)", RefusedError),
        (Code.UNIMPLEMENTED, "unknown service", RefusedError),
        (Code.UNAVAILABLE, "etcdserver: no leader", UnansweredError),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", TransientError),
        (Code.DEADLINE_EXCEEDED, "", UnansweredError),
        (Code.UNAVAILABLE, "connection refused", TransientError),
        (Code.UNKNOWN, "something new", TransientError),
    ],
)
def test_a_status_becomes_what_the_caller_can_do(
    code: grpc.StatusCode, details: str, expected: type[KVStoreError]
) -> None:
    error = from_status(code, details, "west:2379")

    assert type(error) is expected
    assert details in str(error) and "west:2379" in str(error)


def test_a_cancelled_watch_tells_compaction_refusal_and_the_rest_apart() -> None:
    denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"

    assert type(from_cancelled_watch("", 7, "e")) is CompactedError
    assert type(from_cancelled_watch(denied, 0, "e")) is RefusedError
    assert type(from_cancelled_watch("etcdserver: no leader", 0, "e")) is TransientError
    assert "no reason given" in str(from_cancelled_watch("", 0, "e"))


def test_only_a_silent_or_absent_server_puts_the_link_in_doubt() -> None:
    assert doubts_link(Code.UNAVAILABLE) and doubts_link(Code.DEADLINE_EXCEEDED)
    assert not doubts_link(Code.PERMISSION_DENIED)
