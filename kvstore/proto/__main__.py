"""Compile the .proto files again: `python -m kvstore.proto [OUTPUT DIRECTORY]` (default: in place)."""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

_HERE = Path(__file__).resolve().parent
_STUB_HEAD = '# mypy: disable-error-code="type-arg"\n'  # the generator writes a bare Mapping
_SOURCES = ("kvstore/proto/kv.proto", "kvstore/proto/rpc.proto")


def generate(into: Path) -> None:
    """Write etcd.binpb and the *_pb2.pyi type stubs below `into` (a directory like ours)."""
    (into / "kvstore/proto").mkdir(parents=True, exist_ok=True)
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={_HERE.parent.parent}",
            f"--descriptor_set_out={into / 'kvstore/proto/etcd.binpb'}",
            f"--pyi_out={into}",
            *_SOURCES,
        ]
    )
    if status != 0:
        raise SystemExit(f"protoc failed with status {status}")
    for stub in (into / "kvstore/proto").glob("*_pb2.pyi"):
        stub.write_text(_STUB_HEAD + stub.read_text())


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else _HERE.parent.parent)
