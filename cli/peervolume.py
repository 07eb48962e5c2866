"""What pods mount of other clusters: configurations, client certificates, rules. Pure."""

from __future__ import annotations

from typing import Any

from cli import peerfile, secret
from cli.settings import PEERS_SECRET
from peering import rules


def agent_files() -> list[dict[str, Any]]:
    """The peers' configurations, both client certificates, as a mesh may turn KVStoreMesh on and off, and
    what the peers may claim."""
    return [
        files(PEERS_SECRET),
        client_files(secret.REMOTE, peerfile.REMOTE_CLIENT),
        client_files(secret.LOCAL, peerfile.LOCAL_CLIENT),
        {"configMap": rules_of(rules.CLAIMS_FILE)},
    ]


def rules_of(file: str) -> dict[str, Any]:
    """One file of what peers may; without it nobody is restricted."""
    return {"name": rules.CONFIG_MAP, "optional": True, "items": [{"key": file, "path": file}]}


def files(name: str) -> dict[str, Any]:
    return {"secret": {"name": name, "optional": True}}


def client_files(name: str, client: str) -> dict[str, Any]:
    """A client certificate under the names that the peers' configurations refer to."""
    paths = {"tls.crt": f"{client}.crt", "tls.key": f"{client}.key", "ca.crt": f"{client}-ca.crt"}
    items = [{"key": key, "path": path} for key, path in paths.items()]
    return {"secret": {"name": name, "optional": True, "items": items}}
