"""Kernel maps in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.mapdump import dumps, in_words
from bpf import address, affinity_map, endpoint_map, ipcache_map, node_map, policy_map
from bpf.address import Family
from bpf.datapath import Datapath as LoadedDatapath
from bpf.layout import (
    CT_KEY,
    CT_VALUE,
    LB4_REVERSE_SK_KEY,
    LB4_REVERSE_SK_VALUE,
    METRICS_KEY,
    METRICS_VALUE,
)
from bpf.layout6 import CT6_KEY
from bpf.layout_nat import SNAT6_VALUE, SNAT_VALUE
from bpf.lb_wanted import Master
from bpf.pinned_map import PinnedMap, possible_cpus
from bpf.pins import Pins
from bpf.spec import LB4_REVERSE_SK, MAPS
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.conftest import bpffs, loaded_root, node  # noqa: F401 - fixtures


@pytest.mark.root
def test_every_map_is_shown_as_ciliums_tools_show_it(node: LoadedDatapath) -> None:  # noqa: F811
    node.ipcache.update(
        [
            (ipcache_map.pack_key("10.2.1.5/32"), ipcache_map.pack_value(131079, "198.18.2.11")),
            (ipcache_map.pack_key("198.18.2.11/32"), ipcache_map.pack_value(6, None)),
        ]
    )
    node.nodes.update([(node_map.pack_key("198.18.2.11"), node_map.pack_value(2))])
    member = endpoint_map.Endpoint(7, 1, 65541, "02:00:00:00:00:01", "02:00:00:00:00:02", True)
    node.endpoints.update([(endpoint_map.pack_key("10.1.1.5"), endpoint_map.pack_value(member))])
    node.policy.update([(policy_map.pack_key(1, 131079, 80, 6), policy_map.pack_value(deny=True))])
    key = CT_KEY.pack(bytes([10, 2, 1, 4]), bytes([10, 1, 1, 9]), b"\x00\x50", b"\x9c\x40", 6, 1)
    opened = CT_VALUE.pack(b"", 7, 900, 1234, 0b10011, b"", b"", 0, 0, 65601, 0, 0)
    node.connections.update([(key, opened)])
    web = Frontend("172.20.1.5", 80, "TCP")
    web6 = Frontend("fd00:20:1::5", 80, "TCP")
    backends = {
        web: [Backend("10.2.1.5", 8080, "TCP", 2)],
        web6: [Backend("fd00:10:2:1::5", 8080, "TCP", 2)],
    }
    masters = {web: Master(60, ranges=("192.0.2.0/24",)), web6: Master(ranges=("2001:db8::/32",))}
    node.services.sync(backends, masters=masters)
    client = affinity_map.Client(cookie=77, rev_nat=1, backend_id=1, last_used=5)
    node.services.affinity.update([affinity_map.pack_client(client)])
    outside = affinity_map.Client(cookie=0, rev_nat=1, backend_id=1, last_used=5, address="198.51.100.9")
    node.services.affinity.update([affinity_map.pack_client(outside)])
    value = SNAT_VALUE.pack(9, 0, 0, 0, bytes([198, 51, 100, 9]), b"\x9c\x41", 0)
    node.translations.update([(key, value)])
    counted = METRICS_VALUE.pack(2, 120) + METRICS_VALUE.pack(0, 0) * (possible_cpus() - 1)
    node.metrics.update([(METRICS_KEY.pack(133, 1, 0, 0, b""), counted)])
    add_ipv6(node)
    shown = {name: [(e["key"], e["value"]) for e in dump()] for name, dump in in_words(node).items()}
    assert shown == {
        "cilium_metrics": [("policy denied ingress", "packets=2 bytes=120")],
        "cilium_ipcache_v2": [
            ("10.2.1.5/32", "identity=131079 encryptkey=0 tunnelendpoint=198.18.2.11 flags=hastunnel"),
            ("198.18.2.11/32", "identity=6 encryptkey=0 tunnelendpoint=0.0.0.0 flags=<none>"),
        ],
        "cilium_lxc": [
            ("10.1.1.5", "id=1 sec_id=65541 ifindex=7 mac=02:00:00:00:00:01 nodemac=02:00:00:00:00:02")
        ],
        "cilium_node_map_v2": [("198.18.2.11", "id=2")],
        "cilium_ct4_global": [
            (
                "TCP IN 10.1.1.9:40000 -> 10.2.1.4:80",
                "expires=1234 Packets=7 Bytes=900 SourceSecurityID=65601 closing",
            )
        ],
        "cilium_snat_v4_external": [("TCP IN 10.1.1.9:40000 -> 10.2.1.4:80", "XLATE_DST 198.51.100.9:40001")],
        "cilium_policy": [("1 Ingress 131079 80/6", "Deny")],
        "cilium_lb4_services_v2": [
            ("172.20.1.5:80/TCP (0)", "0.0.0.0:0 (1) (0) [ClusterIP, sessionAffinity, non-routable]"),
            ("172.20.1.5:80/TCP (1)", "10.2.1.5:8080/TCP (1) (1)"),
        ],
        "cilium_lb4_backends_v3": [("1", "10.2.1.5:8080/TCP")],
        "cilium_lb4_reverse_nat": [("1", "172.20.1.5:80")],
        "cilium_lb4_source_range": [("192.0.2.0/24 (1)", "172.20.1.5:80")],
        "cilium_lb4_affinity": [
            ("198.51.100.9 (1)", "10.2.1.5:8080/TCP"),
            ("netns 77 (1)", "10.2.1.5:8080/TCP"),
        ],
        "cilium_lb_affinity_match": [("1 (1)", "")],
        "cilium_ct6_global": [
            (
                "ICMPv6 OUT [fd00:10:1:1::9]:128 -> [fd00:10:2:1::4]:0",
                "expires=1234 Packets=7 Bytes=900 SourceSecurityID=65601",
            )
        ],
        "cilium_lb6_services_v2": [
            ("[fd00:20:1::5]:80/TCP (0)", "[::]:0 (1) (0) [ClusterIP, non-routable]"),
            ("[fd00:20:1::5]:80/TCP (1)", "[fd00:10:2:1::5]:8080/TCP (1) (1)"),
        ],
        "cilium_lb6_backends_v3": [("2147483648", "[fd00:10:2:1::5]:8080/TCP")],
        "cilium_lb6_reverse_nat": [("1", "[fd00:20:1::5]:80")],
        "cilium_lb6_source_range": [("2001:db8::/32 (1)", "[fd00:20:1::5]:80")],
        "cilium_snat_v6_external": [
            ("TCP OUT [fd00:10:1:1::9]:128 -> [fd00:10:2:1::4]:80", "XLATE_SRC [2001:db8::9]:40001")
        ],
        "cilium_lb6_affinity": [("netns 78 (1)", "[fd00:10:2:1::5]:8080/TCP")],
    }


@pytest.mark.root
def test_every_map_that_has_entries_is_listed_and_what_has_no_words_has_its_fields(
    loaded_root: Path,  # noqa: F811
    node: LoadedDatapath,  # noqa: F811
) -> None:
    known = dumps(node)
    no_entries = {"cilium_events", "cilium_scratch6"}  # a ring, and the programs' room for work
    assert {spec.name for spec in MAPS} - known.keys() == no_entries
    key = LB4_REVERSE_SK_KEY.pack(77, address.pack("10.2.1.5"), b"\x1f\x90", 0)
    value = LB4_REVERSE_SK_VALUE.pack(address.pack("172.20.1.5"), b"\x00\x50", b"\x00\x03")
    with PinnedMap.open(Pins(loaded_root).map(LB4_REVERSE_SK), LB4_REVERSE_SK) as held:
        held.update([(key, value)])
        (entry,) = known["cilium_lb4_reverse_sk"]()
        held.delete([key])
    assert entry["key"] == "cookie=77 address=10.2.1.5 port=8080"
    assert entry["value"] == "address=172.20.1.5 port=80 rev_nat_index=3"
    (config,) = known["cilium_node_config"]()
    assert "node_ip=198.18.1.11 " in config["value"]


def add_ipv6(node: LoadedDatapath) -> None:  # noqa: F811
    ends = address.pack("fd00:10:2:1::4"), address.pack("fd00:10:1:1::9")
    key = CT6_KEY.pack(*ends, b"\0\0", b"\0\x80", 58, 0)
    node.connections6.update([(key, CT_VALUE.pack(b"", 7, 900, 1234, 0, b"", b"", 0, 0, 65601, 0, 0))])
    relayed = CT6_KEY.pack(*ends, b"\0\x50", b"\0\x80", 6, 0)
    seen = SNAT6_VALUE.pack(9, 0, 0, 0, address.pack("2001:db8::9"), b"\x9c\x41", b"")
    node.translations6.update([(relayed, seen)])
    client = affinity_map.Client(cookie=78, rev_nat=1, backend_id=1 << 31, last_used=5)
    node.services.affinity6.update([affinity_map.pack_client(client, Family.IPV6)])
