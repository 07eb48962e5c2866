"""KVStoreMesh: every peer's entries, copied byte for byte into our etcd: agents read only that."""
