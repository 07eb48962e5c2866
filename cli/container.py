"""What the containers of the mesh may do on their nodes: nothing that they do not need. Pure.

The agents are the exception, which load programs into the kernel.
"""

from __future__ import annotations

from typing import Any

from cli.settings import CONTROL_LABEL

USER = 65532  # "nonroot" of the images


# The kubelet keeps the end of a failed container's log in the pod's status: `clustermesh status` reads it.
LAST_WORDS = {"terminationMessagePolicy": "FallbackToLogsOnError"}


def hardened() -> dict[str, Any]:
    """What all containers without privileges have. A new value each time: YAML would write a shared one as a
    reference."""
    return {
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        **LAST_WORDS,
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
