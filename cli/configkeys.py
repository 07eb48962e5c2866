"""What each program reads of ConfigMap `cilium-config`, under the names of Cilium's options, or of our
own. Pure.

What is not said there has the program's default.
"""

from __future__ import annotations

from typing import Any

EXPORTER = ("clustermesh-default-global-namespace", "enable-cilium-endpoint-slice", "clustermesh-service-v2")
# agents read the copies, which are never away: a peer's silence is KVStoreMesh's to notice
KVSTOREMESH = ("clustermesh-cache-ttl",)
OPERATOR = ("clustermesh-default-global-namespace", "ip-families")


def variables(config_map: str, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """A container's environment, in which each key is `CLUSTERMESH_<KEY>`."""
    return [
        {
            "name": f"CLUSTERMESH_{key.replace('-', '_').upper()}",
            "valueFrom": {"configMapKeyRef": {"name": config_map, "key": key, "optional": True}},
        }
        for key in keys
    ]
