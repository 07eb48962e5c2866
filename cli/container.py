"""What the containers of the mesh may do on their nodes: nothing that they do not need. Pure.

The agents are the exception, which load programs into the kernel.
"""

from __future__ import annotations

from typing import Any

from cli.settings import CONTROL_LABEL

USER = 65532  # "nonroot" of the images


def hardened() -> dict[str, Any]:
    """A container's securityContext. A new value each time: YAML would write a shared one as a reference."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def unprivileged() -> dict[str, Any]:
    """A pod's securityContext. `fsGroup`: mounted Secrets and etcd's data are this group's."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def on_control_node() -> dict[str, Any]:
    return {
        "hostNetwork": True,
        "nodeSelector": {CONTROL_LABEL: ""},
        "tolerations": [{"operator": "Exists"}],
    }
