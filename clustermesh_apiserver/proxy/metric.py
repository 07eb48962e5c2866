"""What the proxy counts, and the audit line of every refusal.

Labels come from short, closed lists (roles, methods we know, reasons): a client cannot make new series.
"""

from __future__ import annotations

import logging

from prometheus_client import CollectorRegistry, Counter, Gauge

from clustermesh_apiserver.proxy.authz import Refuse, Role
from clustermesh_apiserver.proxy.method import METHODS

_MAX_TEXT = 256  # of what a client sent us, in one log line

audit = logging.getLogger("clustermesh_apiserver.proxy.audit")


class Metrics:
    """The counters of one proxy, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._refused = Counter(
            "clustermesh_proxy_refused",
            "Requests refused",
            ["role", "method", "reason"],
            registry=self.registry,
        )
        self._requests = Counter(
            "clustermesh_proxy_requests", "Requests sent on", ["role", "method"], registry=self.registry
        )
        self.streams = Gauge("clustermesh_proxy_streams", "Open streams", registry=self.registry)
        self.upstream_up = Gauge(
            "clustermesh_proxy_upstream_up", "Whether etcd answers (1) or not (0)", registry=self.registry
        )
        self.certificate_expiry = Gauge(
            "clustermesh_proxy_certificate_expiry_seconds",
            "When the server certificate expires, in seconds of the epoch",
            registry=self.registry,
        )
        self.reloads = Counter(
            "clustermesh_proxy_certificate_reloads",
            "Changes of certificates",
            ["outcome"],
            registry=self.registry,
        )

    def sent_on(self, role: Role, path: str) -> None:
        self._requests.labels(role.kind.value, _method_label(path)).inc()

    def refuse(self, role: Role, path: str, peer: str, refusal: Refuse) -> None:
        """Count a refusal and say who wanted what. Never the values: they may be secrets."""
        self._refused.labels(role.kind.value, _method_label(path), refusal.reason).inc()
        audit.warning(
            "refused client=%r role=%s peer=%s method=%s reason=%r detail=%s",
            role.name[:_MAX_TEXT],
            role.kind.value,
            peer,
            path[:_MAX_TEXT],
            refusal.reason,
            refusal.detail[:_MAX_TEXT],
        )


def _method_label(path: str) -> str:
    return path.rpartition("/")[2] if path in METHODS else "other"
