from __future__ import annotations

from pathlib import Path

from kvstore.config import EtcdConfig, HostAlias
from kvstore.link import Target, targets


def test_every_address_of_an_alias_is_dialled_under_the_hosts_name() -> None:
    config = EtcdConfig(
        endpoints=("https://east.mesh.cilium.io:2379", "https://other:1"),
        trusted_ca_file=Path("ca"),
        host_aliases=(HostAlias("east.mesh.cilium.io", ("192.0.2.80", "2001:db8::1")),),
    )
    east, authority = "east.mesh.cilium.io", "east.mesh.cilium.io:2379"

    assert targets(config) == [
        Target("192.0.2.80:2379", east, authority, secure=True),
        Target("[2001:db8::1]:2379", east, authority, secure=True),
        Target("other:1", "other", "other:1", secure=True),
    ]


def test_plain_endpoints_stay_plain() -> None:
    assert targets(EtcdConfig(("http://[::1]:2379",))) == [
        Target("[::1]:2379", "::1", "[::1]:2379", secure=False)
    ]
