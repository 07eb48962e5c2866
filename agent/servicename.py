"""Addresses of in-cluster names like `clustermesh-apiserver.kube-system.svc`, without DNS (spec 3.1). Pure.

An agent runs in its node's network, where the cluster's DNS may not be known, and where a ClusterIP may
only work once the agent itself has programmed it. So it dials the ready endpoints; the ClusterIP is for when
none is known.
"""

from __future__ import annotations

from agent.services import Services
from peering.servicename import service_key


def addresses(services: Services, host: str) -> tuple[str, ...]:
    """Where the Service called `host` is reached; empty when that is no Service's name or none is known."""
    key = service_key(host)
    if not key:
        return ()
    service = services.local.get(key)
    ready = [backend.ip for backend in services.local_backends(key) if backend.state == "active"]
    return tuple(ready) or (service.cluster_ips if service else ())
