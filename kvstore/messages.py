"""etcd's message classes, from a descriptor pool of our own.

Generated modules would register `mvccpb.KeyValue` and friends in protobuf's process-wide pool, where
any second etcd package collides, and they refuse protobuf versions other than their generator's. A
private pool has neither problem and the same speed. Type checkers read the generated stubs instead.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvstore.proto.kv_pb2 import Event, KeyValue
    from kvstore.proto.rpc_pb2 import (
        AlarmMember,
        AlarmRequest,
        AlarmResponse,
        CompactionRequest,
        CompactionResponse,
        Compare,
        DeleteRangeRequest,
        DeleteRangeResponse,
        LeaseGrantRequest,
        LeaseGrantResponse,
        LeaseKeepAliveRequest,
        LeaseKeepAliveResponse,
        LeaseRevokeRequest,
        LeaseRevokeResponse,
        LeaseTimeToLiveRequest,
        LeaseTimeToLiveResponse,
        Member,
        MemberListRequest,
        MemberListResponse,
        Opaque,
        PutRequest,
        PutResponse,
        RangeRequest,
        RangeResponse,
        RequestOp,
        ResponseHeader,
        ResponseOp,
        StatusRequest,
        StatusResponse,
        TxnRequest,
        TxnResponse,
        WatchCancelRequest,
        WatchCreateRequest,
        WatchProgressRequest,
        WatchRequest,
        WatchResponse,
    )
else:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    def _classes() -> dict[str, type]:
        """Every top-level message of the shipped descriptor set, by its short name."""
        shipped = resources.files("kvstore.proto").joinpath("etcd.binpb").read_bytes()
        pool = descriptor_pool.DescriptorPool()
        found = {}
        for file in descriptor_pb2.FileDescriptorSet.FromString(shipped).file:
            pool.Add(file)
            for message in file.message_type:
                descriptor = pool.FindMessageTypeByName(f"{file.package}.{message.name}")
                found[message.name] = message_factory.GetMessageClass(descriptor)
        return found

    globals().update(_classes())

__all__ = [
    "AlarmMember",
    "AlarmRequest",
    "AlarmResponse",
    "CompactionRequest",
    "CompactionResponse",
    "Compare",
    "DeleteRangeRequest",
    "DeleteRangeResponse",
    "Event",
    "KeyValue",
    "LeaseGrantRequest",
    "LeaseGrantResponse",
    "LeaseKeepAliveRequest",
    "LeaseKeepAliveResponse",
    "LeaseRevokeRequest",
    "LeaseRevokeResponse",
    "LeaseTimeToLiveRequest",
    "LeaseTimeToLiveResponse",
    "Member",
    "MemberListRequest",
    "MemberListResponse",
    "Opaque",
    "PutRequest",
    "PutResponse",
    "RangeRequest",
    "RangeResponse",
    "RequestOp",
    "ResponseHeader",
    "ResponseOp",
    "StatusRequest",
    "StatusResponse",
    "TxnRequest",
    "TxnResponse",
    "WatchCancelRequest",
    "WatchCreateRequest",
    "WatchProgressRequest",
    "WatchRequest",
    "WatchResponse",
]
