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


def test_a_name_without_alias_is_dialled_where_the_resolver_says() -> None:
    known = {"east.kube-system.svc": ("198.51.100.7", "198.51.100.8")}
    config = EtcdConfig(
        endpoints=("https://east.kube-system.svc:2379", "https://aliased:2379", "https://unknown:2379"),
        trusted_ca_file=Path("ca"),
        host_aliases=(HostAlias("aliased", ("192.0.2.1",)),),
    )

    found = targets(config, lambda host: known.get(host, ()))

    assert [target.address for target in found] == [
        "198.51.100.7:2379",
        "198.51.100.8:2379",
        "192.0.2.1:2379",
        "unknown:2379",
    ]
    assert {target.server_name for target in found[:2]} == {"east.kube-system.svc"}
