"""The addresses and identities that we know, as Cilium lists them (spec 8.1). Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from agent import status
from agent.convert import contains
from agent.ipcache import IPCache, Level
from agent.tables import Tables
from mesh.addressing import Identity, ReservedIdentity
from mesh.cidr import labels_of
from mesh.identity import reserved_labels

SOURCES = {
    Level.OWN_NODE: "local",
    Level.API_SERVER: "kube-apiserver",
    Level.LOCAL_NODE: "custom-resource",
    Level.LOCAL_ENDPOINT: "custom-resource",
    Level.PEER_NODE: "clustermesh",
    Level.PEER_ENDPOINT: "clustermesh",
    Level.CIDR: "generated",
    Level.RECOVERED_OWN: "restored",
    Level.RECOVERED: "restored",
}


def addresses(cache: IPCache, wanted: str = "") -> list[dict[str, Any]]:
    """Every ipcache entry we want, or those inside the CIDR `wanted`. ValueError for what is no CIDR."""
    found = []
    for prefix, entry in cache.wanted.entries.items():
        if wanted and not contains([wanted], prefix):
            continue
        rank = cache.rank_of(prefix)
        level = rank.level if rank else Level.RECOVERED
        owner = {"name": rank.owner, "cluster": rank.peer} if rank else {}
        found.append(
            {
                "cidr": prefix,
                "identity": entry.identity,
                "hostIP": entry.tunnel or "",
                "encryptKey": entry.encrypt_key,
                "metadata": {"source": SOURCES[level], **owner},
            }
        )
    return found


def identities(tables: Tables | None) -> list[dict[str, Any]]:
    """Reserved ones, those of clusters, and our own prefixes'; without tables the reserved ones alone."""
    known = tables.identities.all if tables else {}
    reserved = [
        status.identity(int(number), reserved_labels(number))
        for number in ReservedIdentity
        if number and Identity(number) not in known
    ]
    prefixes = tables.policies.cidrs.all if tables else {}
    local = [status.identity(int(n), labels_of(prefixes[n])) for n in sorted(prefixes)]
    return reserved + [status.identity(int(n), known[n]) for n in sorted(known)] + local


def endpoint_identities(tables: Tables | None) -> list[dict[str, Any]]:
    """Those of this node's endpoints, and how many have each."""
    endpoints = tables.endpoints.values() if tables else ()
    counts = Counter(endpoint.identity for endpoint in endpoints)
    labels = {endpoint.identity: list(endpoint.labels) for endpoint in endpoints}
    return [
        {"identity": {"id": number, "labels": labels[number]}, "refCount": counts[number]}
        for number in sorted(counts)
    ]
