"""Why a peer is not usable, by name: from what its readers say in words. Pure.

The words come from TLS libraries, gRPC and our own programs: they are matched by the parts that those keep
from one version to the next. What no rule knows is a peer that is down, which is what most of it means.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cli.check import Check
from cli.downcontainers import Down
from cli.meshstatus import UNKNOWN, Connectivity

# The first that matches counts: our own certificate explains why somebody hangs up, not the other way round.
_RULES: Sequence[tuple[str, Check]] = [
    (r"our own .*(expired)", Check.CLIENT_CERTIFICATE_EXPIRED),
    (r"our own .*(not valid before)", Check.CLIENT_CERTIFICATE_CLOCK),
    (r"our own .*(no valid chain)", Check.CA_MISMATCH),
    (r"certificate has expired|certificate expired at", Check.SERVER_CERTIFICATE_EXPIRED),
    (r"certificate is not (yet )?valid", Check.SERVER_CERTIFICATE_CLOCK),
    (r"unable to get (local )?issuer|self.signed|unknown (ca|authority)", Check.CA_MISMATCH),
    (r"Hostname Verification|does not carry the name|Hostname mismatch", Check.SERVER_CERTIFICATE_NAME),
    (r"unsuitable certificate purpose|unsupported certificate purpose", Check.SERVER_CERTIFICATE_USE),
    (r"CERTIFICATE_VERIFY_FAILED", Check.CA_MISMATCH),
    (r"clusterID \d+ is (assigned|already used)", Check.SAME_CLUSTER_ID),
    (r"ClusterID 0 is reserved", Check.CLUSTER_ID_UNSET),
    (r"ClusterID > \d+ is not supported", Check.CLUSTER_ID_RANGE),
    (r"maxConnectedClusters is", Check.CAPACITY_DIFFERS),
    (r"no heartbeat for|their writer has ended", Check.PEER_SILENT),
    (r"no \S*cluster-config\S* within|configuration required but not found", Check.PEER_CONFIG_MISSING),
    (r"PERMISSION_DENIED|permission denied|PermissionDenied", Check.PEER_REFUSES_US),
    # after a good handshake: TLS 1.3 refuses a client without a word
    (r"failed to connect to all addresses.*UNAVAILABLE.*Socket closed", Check.PEER_REFUSES_US),
    (r"failed to connect to all addresses.*UNAVAILABLE.*Unwrap failed", Check.PEER_REFUSES_US),
    (r"synchronization (in progress|status unknown)|not programmed yet|not ready", Check.SYNCING),
    (r"configuration retrieval status unknown|the configuration of \S+ changed", Check.SYNCING),
    (rf"^{UNKNOWN}$", Check.PEER_UNKNOWN),
]

_MENDS = {
    Check.CLIENT_CERTIFICATE_EXPIRED: "run 'clustermesh certs renew{flags}'",
    Check.CLIENT_CERTIFICATE_CLOCK: "set the clocks, then run 'clustermesh certs renew --force{flags}'",
    Check.CA_MISMATCH: "run 'clustermesh connect{flags} --destination-context {peer} --allow-mismatching-ca'",
    Check.SERVER_CERTIFICATE_EXPIRED: "in {peer}, run 'clustermesh certs renew'",
    Check.SERVER_CERTIFICATE_CLOCK: "set {peer}'s clock, then run 'clustermesh certs renew --force' there",
    Check.SERVER_CERTIFICATE_NAME: "in {peer}, run 'clustermesh enable', which issues it anew",
    Check.SERVER_CERTIFICATE_USE: "in {peer}, run 'clustermesh enable', which issues it anew",
    Check.SAME_CLUSTER_ID: "enable one of them with another id (if one was just disconnected: wait)",
    Check.CLUSTER_ID_UNSET: "in {peer}, run 'clustermesh enable --cluster-id ID'",
    Check.CLUSTER_ID_RANGE: "disable {peer} and enable it with an id within the mesh's capacity",
    Check.CAPACITY_DIFFERS: "disable {peer} and enable it with this mesh's --max-connected-clusters",
    Check.PEER_SILENT: "in {peer}, look at the exporter: container apiserver of clustermesh-apiserver",
    Check.PEER_CONFIG_MISSING: "in {peer}: has 'clustermesh status' this name, and is its exporter ready?",
    Check.PEER_REFUSES_US: (
        "in {peer}: has it this name still, is our authority trusted, are we not revoked, is its clock right?"
    ),
    Check.STORE_FULL: "make room in its etcd, then disarm its alarm: see docs/checks/store-full.md",
    Check.STORE_DISK: "make room on its node: it is then started again, and nothing is lost",
    Check.CONTROL_PLANE_DOWN: "see the pods of clustermesh-apiserver: does each container run?",
    Check.SYNCING: "wait: 'clustermesh status{flags} --wait'",
    Check.PEER_UNKNOWN: "the kubelet takes up to a minute to write new files; then see the reader's log",
    Check.PEER_DOWN: "is {peer}'s control plane up, and is TCP to its address open?",
    Check.NOT_ASKED: "is the pod up, and may the API server reach its health port?",
}

# What agents that read KVStoreMesh's copies say of the way to them: it leads to their own control plane.
_OF_THE_WAY = {
    Check.PEER_DOWN,
    Check.PEER_SILENT,
    Check.PEER_REFUSES_US,
    Check.CA_MISMATCH,
    Check.CLIENT_CERTIFICATE_CLOCK,
    Check.CLIENT_CERTIFICATE_EXPIRED,
    Check.SERVER_CERTIFICATE_CLOCK,
    Check.SERVER_CERTIFICATE_EXPIRED,
    Check.SERVER_CERTIFICATE_NAME,
    Check.SERVER_CERTIFICATE_USE,
}
_NO_SPACE = "no space left on device"

# What agents say while KVStoreMesh, which they read, cannot reach the peer: its own words are the cause.
_CONSEQUENCES = {Check.PEER_CONFIG_MISSING, Check.SYNCING, Check.PEER_UNKNOWN}


@dataclass(frozen=True, slots=True)
class Cause:
    """Why `peer` is not usable for `readers`; `peer` is empty when the readers themselves do not answer."""

    peer: str
    check: Check
    mend: str
    readers: tuple[str, ...]


def named(text: str) -> Check:
    """The name of what a reader says in words."""
    return next((check for pattern, check in _RULES if re.search(pattern, text)), Check.PEER_DOWN)


def causes(
    found: Iterable[Connectivity], flags: str, own: str = "", copied: Collection[str] = ()
) -> list[Cause]:
    """Every cause once, with all who suffer from it. `flags` name our own cluster in commands.

    `own` is our cluster, `copied` the peers of which the first of `found` reads our own etcd's copies.
    """
    readers: dict[tuple[str, Check], list[str]] = {}
    for place, connectivity in enumerate(found):
        copies = copied if place == 0 else ()
        for pod, peers in connectivity.errors.items():
            for peer, texts in peers.items():
                for text in texts:
                    check = named(text) if peer else Check.NOT_ASKED
                    key = _at_home(check, own) if peer in copies and check in _OF_THE_WAY else (peer, check)
                    readers.setdefault(key, []).append(pod)
    explained = {peer for peer, check in readers if check not in _CONSEQUENCES}
    return [
        Cause(peer, check, _MENDS[check].format(peer=peer, flags=flags), tuple(sorted(set(pods))))
        for (peer, check), pods in sorted(readers.items(), key=lambda item: (item[0][0], item[0][1].label))
        if not (peer in explained and check in _CONSEQUENCES)
    ]


def _at_home(check: Check, own: str) -> tuple[str, Check]:
    return own, Check.CONTROL_PLANE_DOWN if check is Check.PEER_DOWN else check


def full(pods: Sequence[str]) -> list[Cause]:
    """Our own control planes whose etcd is full: what is there stays, and nothing new gets out."""
    return [Cause("", Check.STORE_FULL, _MENDS[Check.STORE_FULL], tuple(pods))] if pods else []


def stopped(own: str, containers: Iterable[Down], unwritten: Mapping[str, str]) -> list[Cause]:
    """What of our own control plane has ended, in its last words; `unwritten`: exporter -> its etcd's."""
    ended = [
        Cause(own, Check.STORE_DISK, _MENDS[Check.STORE_DISK], (each.pod,))
        if _NO_SPACE in each.words
        else Cause(own, Check.CONTROL_PLANE_DOWN, f"{each.text} ({each.pod})", (each.pod,))
        for each in containers
    ]
    told = {pod for each in ended for pod in each.readers}
    silent = [
        Cause(own, Check.CONTROL_PLANE_DOWN, f"the exporter cannot write to its etcd: {text} ({pod})", (pod,))
        for pod, text in sorted(unwritten.items())
        if pod not in told
    ]
    return [*ended, *silent]


def lines(found: Sequence[Cause]) -> list[str]:
    return [
        f"🩺 {each.peer or ', '.join(each.readers)}: {each.check.title}: {each.mend} ({each.check.label})"
        for each in found
    ]


def as_objects(found: Sequence[Cause]) -> list[dict[str, object]]:
    return [
        {
            "cluster": cause.peer,
            "check": cause.check.label,
            "title": cause.check.title,
            "mend": cause.mend,
            "readers": list(cause.readers),
        }
        for cause in found
    ]
