"""The etcd methods we call: path, what is sent, what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from kvstore import messages as m

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    path: str
    request: type[Request]
    response: type[Response]


RANGE = Method("/etcdserverpb.KV/Range", m.RangeRequest, m.RangeResponse)
PUT = Method("/etcdserverpb.KV/Put", m.PutRequest, m.PutResponse)
DELETE_RANGE = Method("/etcdserverpb.KV/DeleteRange", m.DeleteRangeRequest, m.DeleteRangeResponse)
TXN = Method("/etcdserverpb.KV/Txn", m.TxnRequest, m.TxnResponse)
COMPACT = Method("/etcdserverpb.KV/Compact", m.CompactionRequest, m.CompactionResponse)
WATCH = Method("/etcdserverpb.Watch/Watch", m.WatchRequest, m.WatchResponse)
LEASE_GRANT = Method("/etcdserverpb.Lease/LeaseGrant", m.LeaseGrantRequest, m.LeaseGrantResponse)
LEASE_REVOKE = Method("/etcdserverpb.Lease/LeaseRevoke", m.LeaseRevokeRequest, m.LeaseRevokeResponse)
LEASE_KEEPALIVE = Method(
    "/etcdserverpb.Lease/LeaseKeepAlive", m.LeaseKeepAliveRequest, m.LeaseKeepAliveResponse
)
