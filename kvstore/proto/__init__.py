"""etcd's messages: *.proto (written by hand), and generated from them: etcd.binpb and *_pb2.pyi.

`etcd.binpb` is the serialised FileDescriptorSet that `kvstore.messages` loads. The *.pyi files are for
type checkers only: at run time there is no generated code, hence no version check against protobuf.
Regenerate with `python -m kvstore.proto` (needs grpcio-tools); a test compares.
"""
