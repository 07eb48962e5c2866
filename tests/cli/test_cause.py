"""Recorded words of readers, and the cause that each has: what a broken mesh is called."""

from __future__ import annotations

import pytest

from aiokit.wait import eventually
from cli import cause
from cli.check import Check
from cli.meshstatus import Connectivity
from kvstore.memory import MemoryBackend
from tests.agent.peerdata import PeerData
from tests.agent.peering import Peering
from tests.agent.values import tables

AT = "etcd: 0/1 connected: west.mesh.cilium.io:2379 at 198.18.2.2:2379: "
FAILED = AT + "failed to connect to all addresses; last error: "
VERIFY = (
    FAILED + "UNKNOWN: ipv4:198.18.2.2:2379: Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: "
    "error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: "
)

RECORDED = [
    (AT + "Stream removed (Socket closed)", Check.PEER_DOWN),
    (
        FAILED + "UNKNOWN: ipv4:198.18.2.2:2379: Failed to connect to remote host: Connection refused",
        Check.PEER_DOWN,
    ),
    ("Waiting for initial connection to be established", Check.PEER_DOWN),
    ("", Check.PEER_DOWN),
    (VERIFY + "certificate has expired: OK", Check.SERVER_CERTIFICATE_EXPIRED),
    (VERIFY + "certificate is not yet valid: OK", Check.SERVER_CERTIFICATE_CLOCK),
    (VERIFY + "unable to get local issuer certificate: OK", Check.CA_MISMATCH),
    (VERIFY + "self signed certificate in certificate chain: OK", Check.CA_MISMATCH),
    (
        FAILED + "UNKNOWN: ipv4:198.18.2.2:2379: Custom verification check failed with error: "
        "UNAUTHENTICATED: Hostname Verification Check failed.",
        Check.SERVER_CERTIFICATE_NAME,
    ),
    (
        FAILED + "UNAVAILABLE: ipv4:198.18.2.2:2379: Socket closed (our own common-etcd-client.crt: the "
        "certificate expired at 2026-11-25T16:28:26+00:00; our own common-etcd-client.crt: no valid chain "
        "from the issuer CN=Cilium CA to the trust bundle)",
        Check.CLIENT_CERTIFICATE_EXPIRED,
    ),
    (
        FAILED + "UNAVAILABLE: ipv4:198.18.2.2:2379: Socket closed (our own common-etcd-client.crt: the "
        "certificate is not valid before 2026-11-27T01:55:32+00:00)",
        Check.CLIENT_CERTIFICATE_CLOCK,
    ),
    (FAILED + "UNAVAILABLE: ipv4:198.18.2.2:2379: Socket closed", Check.PEER_REFUSES_US),
    (
        FAILED + "UNAVAILABLE: ipv4:198.18.2.2:2379: Unwrap failed (TSI_DATA_CORRUPTED)",
        Check.PEER_REFUSES_US,
    ),
    ("Err: cilium/cluster-config/west and 3 ips are gone: their writer has ended", Check.PEER_SILENT),
    (
        AT + "Socket closed (our own c.crt: no valid chain from the issuer CN=x to the trust bundle)",
        Check.CA_MISMATCH,
    ),
    ("Err: clusterID 1 is assigned to the local cluster", Check.SAME_CLUSTER_ID),
    ("Err: clusterID 3 is already used by north", Check.SAME_CLUSTER_ID),
    ("Err: ClusterID 0 is reserved", Check.CLUSTER_ID_UNSET),
    ("Err: ClusterID > 255 is not supported", Check.CLUSTER_ID_RANGE),
    ("Err: maxConnectedClusters is 511, ours is 255", Check.CAPACITY_DIFFERS),
    ("Err: no heartbeat for 121 s", Check.PEER_SILENT),
    ("Err: no cilium/cluster-config/west within 180 s", Check.PEER_CONFIG_MISSING),
    ("remote cluster configuration required but not found", Check.PEER_CONFIG_MISSING),
    ("Err: PERMISSION_DENIED: etcdserver: permission denied", Check.PEER_REFUSES_US),
    ("synchronization in progress for endpoints, services", Check.SYNCING),
    ("not programmed yet", Check.SYNCING),
    ("Err: the configuration of west changed", Check.SYNCING),
    ("unknown status", Check.PEER_UNKNOWN),
]


@pytest.mark.parametrize(("text", "check"), RECORDED)
def test_what_a_reader_says_has_one_name(text: str, check: Check) -> None:
    assert cause.named(text) is check


def connectivity(*errors: tuple[str, str, str]) -> Connectivity:
    found: dict[str, dict[str, list[str]]] = {}
    for pod, peer, text in errors:
        found.setdefault(pod, {}).setdefault(peer, []).append(text)
    return Connectivity(len(found), len(found), [], [], found)


def test_every_cause_has_something_that_mends_it() -> None:
    for text, check in RECORDED:
        (found,) = cause.causes([connectivity(("a", "west", text))], " --context east")
        assert (found.peer, found.check, found.readers) == ("west", check, ("a",))
        assert found.mend
        assert "{" not in found.mend
        (line,) = cause.lines([found])
        assert line.endswith(f"({check.label})")


def test_many_readers_with_one_trouble_are_one_cause() -> None:
    agents = connectivity(*((f"agent-{n}", "west", "Err: no heartbeat for 130 s") for n in range(3)))
    (found,) = cause.causes([agents], "")
    assert found.readers == ("agent-0", "agent-1", "agent-2")


def test_what_agents_lack_because_kvstoremesh_cannot_read_is_no_cause_of_its_own() -> None:
    agents = connectivity(("agent-1", "west", "remote cluster configuration required but not found"))
    mirror = connectivity(("mesh-1", "west", "Err: clusterID 1 is assigned to the local cluster"))
    (found,) = cause.causes([agents, mirror], "")
    assert (found.check, found.readers) == (Check.SAME_CLUSTER_ID, ("mesh-1",))


def test_a_pod_that_cannot_be_asked_is_named_itself() -> None:
    (found,) = cause.causes([connectivity(("agent-1", "", "no answer within 5 s"))], "")
    assert found.check is Check.NOT_ASKED
    assert "agent-1" in cause.lines([found])[0]
    assert cause.as_objects([found])[0]["check"] == "not-asked"


async def test_a_peer_with_our_id_is_named_so_by_its_own_words() -> None:
    store = MemoryBackend()
    await PeerData(id=1).publish(store)
    peering = Peering(store, tables())  # of cluster 1
    async with peering.running():
        await eventually(lambda: cause.named(peering.peer.status().text) is Check.SAME_CLUSTER_ID)
