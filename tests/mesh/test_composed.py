"""Values that no recording holds, composed as Go writes them: what Cilium takes comes out to the byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mesh.dump import examine

NODE: dict[str, Any] = {
    "Name": "n",
    "Cluster": "e",
    "IPAddresses": None,
    "IPv4AllocCIDR": None,
    "IPv4SecondaryAllocCIDRs": None,
    "IPv6AllocCIDR": None,
    "IPv6SecondaryAllocCIDRs": None,
    "IPv4HealthIP": "",
    "IPv6HealthIP": "",
    "IPv4IngressIP": "",
    "IPv6IngressIP": "",
    "ClusterID": 255,
    "Source": "custom-resource",
    "EncryptionKey": 0,
    "Labels": None,
    "Annotations": None,
    "WireguardPubKey": "",
    "BootID": "",
}
IP: dict[str, Any] = {
    "IP": "10.1.0.4",
    "Mask": None,
    "HostIP": "192.0.2.11",
    "ID": 16777215,
    "Key": 0,
    "Metadata": "",
}
SERVICE: dict[str, Any] = {
    "cluster": "e",
    "namespace": "s",
    "name": "w",
    "frontends": {},
    "backends": {},
    "hostnames": None,  # in its place; left out when it is None
    "zones": None,
    "labels": {},
    "selector": {},
    "includeExternal": True,
    "shared": True,
    "clusterID": 255,
}
IPV4_CIDR = {"IP": "10.1.0.0", "Mask": "////AA=="}
IPV6_CIDR = {"IP": "fd00::", "Mask": "//////////8AAAAAAAAAAA=="}


def go(tree: Any) -> bytes:
    text = json.dumps(tree, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def node(**said: Any) -> tuple[str, bytes]:
    return "nodes/v1/e/n", go(NODE | said)


def ip(suffix: str = "10.1.0.4", **said: Any) -> tuple[str, bytes]:
    return f"ip/v1/default/{suffix}", go(IP | said)


def service(**said: Any) -> tuple[str, bytes]:
    tree = SERVICE | said
    return "services/v1/e/s/w", go(
        {name: item for name, item in tree.items() if item is not None or name not in ("hostnames", "zones")}
    )


def identity(text: str, number: int = 16711680) -> tuple[str, bytes]:
    return f"identities/v1/id/{number}", text.encode()


TAKEN = {
    "dual stack node": node(
        IPAddresses=[
            {"Type": "InternalIP", "IP": "192.0.2.11"},
            {"Type": "InternalIP", "IP": "2001:db8::11"},
            {"Type": "CiliumInternalIP", "IP": "10.1.0.1"},
            {"Type": "CiliumInternalIP", "IP": "fd00::1"},
        ],
        IPv4AllocCIDR=IPV4_CIDR,
        IPv6AllocCIDR=IPV6_CIDR,
        IPv6SecondaryAllocCIDRs=[IPV6_CIDR, IPV6_CIDR],
        IPv4HealthIP="10.1.0.2",
        IPv6HealthIP="fd00::2",
        IPv6IngressIP="fd00::3",
    ),
    "IPsec node": node(EncryptionKey=3, BootID="8f9c1e3c-6b1a-4b1d-9a9e-0123456789ab"),
    "WireGuard node": node(
        EncryptionKey=255,
        WireguardPubKey="xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
        Annotations={"network.cilium.io/wg-pub-key": "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="},
    ),
    "string CIDRs": node(
        IPv4AllocCIDR="10.1.0.0/24",
        IPv4SecondaryAllocCIDRs=["10.2.0.0/16", "10.3.0.0/28"],
        IPv6AllocCIDR="fd00::/64",
        IPv6SecondaryAllocCIDRs=["fd00:1::/112"],
    ),
    "string and object CIDRs": node(IPv4AllocCIDR="10.1.0.0/24", IPv6AllocCIDR=IPV6_CIDR),
    "widest and narrowest CIDRs": node(IPv4AllocCIDR="0.0.0.0/0", IPv6AllocCIDR="fd00::1/128"),
    "empty maps and lists": node(Labels={}, Annotations={}, IPAddresses=[], IPv4SecondaryAllocCIDRs=[]),
    "null among CIDRs": node(IPv4SecondaryAllocCIDRs=[None, IPV4_CIDR]),
    "no id": node(ClusterID=0),
    "unknown node members": node(later={"a": [1, None]}, Another=""),
    "unknown address member": node(IPAddresses=[{"Type": "InternalIP", "IP": "10.0.0.1", "later": 1}]),
    "unknown CIDR member": node(IPv4AllocCIDR={**IPV4_CIDR, "later": {}}),
    "odd labels": node(Labels={"": "", "a": "<>&\u2028\u2029", "z": "\b\f\t\x7f\u00e9\U0001f600"}),
    "last identity": ip(),
    "IPsec pod": ip(Key=15, K8sNamespace="shop", K8sPodName="web-0", K8sServiceAccount="web"),
    "WireGuard pod": ip("fd00::4", IP="fd00::4", HostIP="2001:db8::11", Key=255),
    "host entry": ip(ID=1, HostIP=""),
    "IPv4 prefix": ip("10.1.0.0/24", IP="10.1.0.0", Mask="////AA=="),
    "IPv4 host prefix": ip("10.1.0.4/32", Mask="/////w=="),
    "IPv6 prefix": ip("fd00::/64", IP="fd00::", Mask="//////////8AAAAAAAAAAA=="),
    "named ports": ip(NamedPorts=[{"Name": "dns", "Port": 53, "Protocol": "UDP"}]),
    "unknown IP member": ip(later=[{}]),
    "IPv4-compatible": ip("::102:304", IP="::102:304"),
    "NAT64": ip("64:ff9b::102:304", IP="64:ff9b::102:304"),
    "one zero group": ip("1:0:2:3:4:5:6:7", IP="1:0:2:3:4:5:6:7"),
    "first of equal runs": ip("1::2:0:0:3:4", IP="1::2:0:0:3:4"),
    "empty service": service(),
    "dual stack service": service(
        frontends={
            "172.20.1.9": {"http": {"Protocol": "TCP", "Port": 80}},
            "fd00:172::9": {"http": {"Protocol": "TCP", "Port": 80}},
        },
        backends={
            "10.1.0.4": {"http": {"Protocol": "TCP", "Port": 8080}, "p": {"Protocol": "SCTP", "Port": 1}},
            "fd00::4": {"": {"Protocol": "UDP", "Port": 65535}},
        },
    ),
    "null maps": service(frontends=None, backends=None, labels=None, selector=None),
    "null ports": service(backends={"10.1.0.4": None, "10.1.0.5": {"http": None}, "10.1.0.6": {}}),
    "zones and host names": service(
        hostnames={"10.1.0.4": "web-0"},
        zones={"10.1.0.4": {"zone": "", "forZones": None}, "10.1.0.5": {"zone": "a", "forZones": []}},
    ),
    "unknown service members": service(
        backends={"10.1.0.4": {"http": {"Protocol": "TCP", "Port": 1, "AppProtocol": "h2"}}}, weight=7
    ),
    "not shared": service(shared=False, includeExternal=False),
    "mapped address as a key": service(backends={"::ffff:10.1.0.4": {}}),
    "no labels": identity(""),
    "all sources": identity(
        "any:a=;cidr:b=;cni:c=;container:d=;gen:e=;k8s:f==;node:g=:;reserved:h=;unspec:i=;"
    ),
    "same key": identity("gen:a=1;k8s:a=1;"),
    "named-ports label": identity(
        "gen:io.cilium.k8s.named-ports=dns.UDP.53_http.TCP.8080;k8s:io.cilium.k8s.policy.cluster=e;"
    ),
    "largest number": identity("k8s:a=b;", 2**32 - 1),
    "empty configuration": ("config", b'{"capabilities":{}}'),
    "full configuration": (
        "config",
        b'{"id":511,"capabilities":{"syncedCanaries":true,"cached":true,"maxConnectedClusters":511,'
        b'"serviceExportsEnabled":false,"endpointSlicesExportMode":"endpointslices-only"}}',
    ),
    "unknown capability": ("config", b'{"id":1,"capabilities":{"later":true},"later":{"x":1e9}}'),
}
REFUSED = {
    "cluster id 256": node(ClusterID=256),
    "negative id": node(ClusterID=-1),
    "id beyond 32 bits": node(ClusterID=2**32),
    "id as a text": node(ClusterID="1"),
    "id with a fraction": node(ClusterID=1.0),
    "encryption key 256": node(EncryptionKey=256),
    "another name": node(Name="m"),
    "another cluster": node(Cluster="f"),
    "node without a name": node(Name=None),
    "addresses as an object": node(IPAddresses={}),
    "a name for an address": node(IPAddresses=[{"Type": "Hostname", "IP": "n.example"}]),
    "an address with a zone": node(IPv6HealthIP="fe80::1%eth0"),
    "an octet with a zero in front": node(IPv4HealthIP="10.1.0.04"),
    "an empty string CIDR": node(IPv4AllocCIDR=""),
    "a CIDR without a length": node(IPv4AllocCIDR="10.1.0.0"),
    "a CIDR that is too long": node(IPv4AllocCIDR="10.1.0.0/33"),
    "a CIDR as a list": node(IPv4AllocCIDR=[]),
    "a mask that is no base64": node(IPv4AllocCIDR={"IP": "10.1.0.0", "Mask": "///"}),
    "labels as a list": node(Labels=[]),
    "a number as a label": node(Labels={"a": 1}),
    "identity beyond 32 bits": ip(ID=2**32),
    "pod's encryption key 256": ip(Key=256),
    "another address": ip(IP="10.1.0.5"),
    "a prefix under an address": ip(Mask="////AA=="),
    "an address under a prefix": ip("10.1.0.4/32"),
    "an annotated address": ip("10.1.0.4@7", IP="10.1.0.4@7"),
    "port 65536": ip(NamedPorts=[{"Name": "x", "Port": 65536, "Protocol": "TCP"}]),
    "an address that Go prints otherwise": ip("::1.2.3.4", IP="::1.2.3.4"),
    "service id 256": service(clusterID=256),
    "service without a cluster": service(cluster=""),
    "service of another name": service(name="v"),
    "a name for a backend": service(backends={"web-0": {}}),
    "a name for a frontend": service(frontends={"": {}}),
    "backend port 65536": service(backends={"10.1.0.4": {"a": {"Protocol": "TCP", "Port": 65536}}}),
    "a number for a flag": service(shared=1),
    "number of 33 bits": identity("k8s:a=b;", 2**32),
    "configuration's id of 33 bits": ("config", b'{"id":4294967296,"capabilities":{}}'),
    "configuration as a list": ("config", b"[]"),
    "no configuration": ("config", b""),
}


def key_of(kind: str) -> bytes:
    return b"cilium/cluster-config/e" if kind == "config" else f"cilium/state/{kind}".encode()


@pytest.mark.parametrize("name", TAKEN)
def test_what_go_writes_comes_out_as_it_went_in(name: str) -> None:
    kind, value = TAKEN[name]
    result = examine(key_of(kind), value)
    assert (result.reason, result.is_identical) == ("", True)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cilium_does_not_take_is_refused(name: str) -> None:
    kind, value = REFUSED[name]
    assert examine(key_of(kind), value).reason


@pytest.mark.parametrize("name", [name for name, (_, value) in TAKEN.items() if value.startswith(b"{")])
def test_names_in_another_case_are_taken(name: str) -> None:
    kind, value = TAKEN[name]
    tree = {key.upper(): item for key, item in json.loads(value).items()}
    assert examine(key_of(kind), go(tree)).reason == ""


@pytest.mark.parametrize(
    "value",
    [
        node(IPv4AllocCIDR="10.1.0.5/24"),
        node(IPv6AllocCIDR="FD00::/64"),
        node(IPv4AllocCIDR="10.1.0.0/024"),
        node(IPv6HealthIP="FD00::1"),
        node(IPv4HealthIP=None),
        node(IPAddresses=[None, {}]),
        ip("fd00::4", IP="FD00:0::4"),
        ip(IP="::ffff:10.1.0.4"),
        ip(HostIP=None, NamedPorts=None),
        service(shared=None),
        service(backends={"10.1.0.4": {"a": {}}}),
        identity("k8s:b=1;k8s:a=1"),
        identity("a;=b;$host"),
    ],
    ids=range(13),
)
def test_what_go_reads_but_writes_otherwise_is_taken_and_not_identical(value: tuple[str, bytes]) -> None:
    result = examine(key_of(value[0]), value[1])
    assert (result.reason, result.is_identical) == ("", False)
