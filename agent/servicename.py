"""Addresses of in-cluster names like `clustermesh-apiserver.kube-system.svc`, without DNS (spec 3.1). Pure.

An agent runs in its node's network, where the cluster's DNS may not be known, and where a ClusterIP may
only work once the agent itself has programmed it. So it dials the ready endpoints; the ClusterIP is for when
none is known.
"""

from __future__ import annotations

import re

from agent.services import Services

_NAME = re.compile(r"([^.]+)\.([^.]+)\.svc(?:\.cluster\.local)?\.?")


def addresses(services: Services, host: str) -> tuple[str, ...]:
    """Where the Service called `host` is reached; empty when that is no Service's name or none is known."""
    match = _NAME.fullmatch(host)
    if match is None:
        return ()
    key = f"{match[2]}/{match[1]}"
    service = services.local.get(key)
    ready = [backend.ip for backend in services.local_backends(key) if backend.state == "active"]
    return tuple(ready) or (service.cluster_ips if service else ())
