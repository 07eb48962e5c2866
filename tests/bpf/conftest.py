"""One private BPF file system a session, and one loaded data path for tests of maps and programs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf import datapath, loader
from bpf.datapath import Datapath
from tests.bpf.bpffs import mounted

NODE = loader.NodeOptions(node_ip="198.18.1.11", vxlan_ifindex=1)


@pytest.fixture(scope="session")
def bpffs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted(tmp_path_factory.mktemp("pins") / "bpf") as folder:
        yield folder


@pytest.fixture(scope="session")
def loaded_root(bpffs: Path) -> Iterator[Path]:
    root = bpffs / "shared"
    loader.load(root, NODE)
    yield root
    loader.unload(root)


@pytest.fixture
def node(loaded_root: Path) -> Iterator[Datapath]:
    """The loaded data path, its maps empty."""
    with datapath.open(loaded_root) as opened:
        empty(opened)
        yield opened


def empty(opened: Datapath) -> None:
    services = opened.services
    maps = (
        *(opened.ipcache, opened.endpoints, opened.policy, opened.connections, opened.metrics),
        *(services.services, services.backends, services.reverse_nat),
        *(services.matches, services.affinity, opened.translations, opened.translations6),
        *(opened.connections6, services.services6, services.backends6, services.reverse_nat6),
        services.affinity6,
    )
    for table in maps:
        table.delete(table.dump())
