"""The shipped descriptor set is what the .proto files say, and shares nothing with other packages."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from pathlib import Path

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from kvstore import messages


def shipped() -> FileDescriptorSet:
    return FileDescriptorSet.FromString(resources.files("kvstore.proto").joinpath("etcd.binpb").read_bytes())


def test_the_descriptor_set_is_built_from_the_proto_files(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "kvstore.proto", str(tmp_path)], check=True, timeout=30)

    built = FileDescriptorSet.FromString((tmp_path / "kvstore/proto/etcd.binpb").read_bytes())
    assert built == shipped()


def test_every_message_has_a_class() -> None:
    names = {message.name for file in shipped().file for message in file.message_type}

    assert set(messages.__all__) == names
    assert all(hasattr(messages, name) for name in names)


def test_the_process_wide_pool_stays_free_of_etcds_names() -> None:
    pool = descriptor_pool.Default()

    assert messages.KeyValue.DESCRIPTOR.full_name == "mvccpb.KeyValue"
    assert messages.KeyValue.DESCRIPTOR.file.pool is not pool


def test_a_request_is_encoded_as_etcd_reads_it() -> None:
    request = messages.RangeRequest(key=b"a", range_end=b"b", limit=7)
    nested = messages.TxnRequest(success=[messages.RequestOp(request_range=request)])

    assert request.SerializeToString() == b"\x0a\x01a\x12\x01b\x18\x07"
    assert messages.TxnRequest.FromString(nested.SerializeToString()) == nested
