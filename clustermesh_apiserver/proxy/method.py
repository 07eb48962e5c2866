"""The etcd methods that the proxy knows: path, request class, and whether it is a stream.

Whatever is not here (users and roles, snapshots, defragmentation, joining members) does not pass,
whoever asks.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message

from kvstore import messages


@dataclass(frozen=True, slots=True)
class Method:
    path: str
    request: type[Message]
    is_stream: bool = False


RANGE = Method("/etcdserverpb.KV/Range", messages.RangeRequest)
PUT = Method("/etcdserverpb.KV/Put", messages.PutRequest)
DELETE_RANGE = Method("/etcdserverpb.KV/DeleteRange", messages.DeleteRangeRequest)
TXN = Method("/etcdserverpb.KV/Txn", messages.TxnRequest)
COMPACT = Method("/etcdserverpb.KV/Compact", messages.CompactionRequest)
WATCH = Method("/etcdserverpb.Watch/Watch", messages.WatchRequest, is_stream=True)
LEASE_GRANT = Method("/etcdserverpb.Lease/LeaseGrant", messages.LeaseGrantRequest)
LEASE_REVOKE = Method("/etcdserverpb.Lease/LeaseRevoke", messages.LeaseRevokeRequest)
LEASE_KEEP_ALIVE = Method(
    "/etcdserverpb.Lease/LeaseKeepAlive", messages.LeaseKeepAliveRequest, is_stream=True
)
LEASE_TIME_TO_LIVE = Method("/etcdserverpb.Lease/LeaseTimeToLive", messages.LeaseTimeToLiveRequest)
ALARM = Method("/etcdserverpb.Maintenance/Alarm", messages.AlarmRequest)
STATUS = Method("/etcdserverpb.Maintenance/Status", messages.StatusRequest)
MEMBER_LIST = Method("/etcdserverpb.Cluster/MemberList", messages.MemberListRequest)

METHODS = {
    method.path: method
    for method in (
        RANGE,
        PUT,
        DELETE_RANGE,
        TXN,
        COMPACT,
        WATCH,
        LEASE_GRANT,
        LEASE_REVOKE,
        LEASE_KEEP_ALIVE,
        LEASE_TIME_TO_LIVE,
        ALARM,
        STATUS,
        MEMBER_LIST,
    )
}
