"""What the proxy counts, and the audit line of every refusal.

Labels come from short, closed lists (roles, methods we know, reasons): a client cannot make new series.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from clustermesh_apiserver.proxy.audit import AuditBudget
from clustermesh_apiserver.proxy.authz import Allow, Refuse, Role, RoleKind
from clustermesh_apiserver.proxy.caller import Caller
from clustermesh_apiserver.proxy.hub import Totals
from clustermesh_apiserver.proxy.method import METHODS

_MAX_CLIENTS = 256  # with series of their own: more than a mesh has clusters
_MAX_TEXT = 256  # of what a client sent us, in one log line

audit = logging.getLogger("clustermesh_apiserver.proxy.audit")


class Metrics:
    """The counters of one proxy, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._audit = AuditBudget()
        self._clients: set[str] = set()
        self._refused = Counter(
            "clustermesh_proxy_refused",
            "Requests refused",
            ["client", "role", "method", "reason"],
            registry=self.registry,
        )
        self._requests = Counter(
            "clustermesh_proxy_requests", "Requests sent on", ["role", "method"], registry=self.registry
        )
        self._hidden = Counter(
            "clustermesh_proxy_hidden",
            "Requests for entries that their client may not see, answered as if there were none",
            ["client", "method"],
            registry=self.registry,
        )
        self.slow_readers = Counter(
            "clustermesh_proxy_slow_readers",
            "Streams ended because their client does not read (stalled) or not fast enough (lapsed)",
            ["kind"],
            registry=self.registry,
        )
        self.upstream_up = Gauge(
            "clustermesh_proxy_upstream_up", "Whether etcd answers (1) or not (0)", registry=self.registry
        )
        self.certificate_expiry = Gauge(
            "clustermesh_proxy_certificate_expiry_seconds",
            "When the server certificate expires, in seconds of the epoch",
            registry=self.registry,
        )
        self.certificate_seconds = Gauge(
            "clustermesh_proxy_certificate_seconds_left",
            "Seconds until the server certificate expires; negative when it has",
            registry=self.registry,
        )
        self.certificate_late = Gauge(
            "clustermesh_proxy_certificate_late",
            "Whether the server certificate should long have been renewed (1) or not (0)",
            registry=self.registry,
        )
        self.access_reloads = Counter(
            "clustermesh_proxy_access_reloads",
            "Changes of the users' list, of the revoked and of what peers see",
            ["outcome"],
            registry=self.registry,
        )
        self.reloads = Counter(
            "clustermesh_proxy_certificate_reloads",
            "Changes of certificates",
            ["outcome"],
            registry=self.registry,
        )

    def observe(self, streams: Callable[[], int], totals: Callable[[], Totals]) -> None:
        """Show these too, as they are whenever somebody looks."""
        self.registry.register(_Observed(streams, totals))

    def allow(self, caller: Caller, path: str, allowed: Allow) -> None:
        """Count what is sent on; of what a client may not see, also by client."""
        role = caller.role
        self._requests.labels(role.kind.value, _method_label(path)).inc()
        if allowed.hides:
            self._hidden.labels(self._client(role), _method_label(path)).inc()
            self._write("hidden", caller, path, "see", "answered as if there were nothing")

    def refuse(self, caller: Caller, path: str, refusal: Refuse) -> None:
        """Count a refusal and say who wanted what. Never the values: they may be secrets."""
        role = caller.role
        self._refused.labels(self._client(role), role.kind.value, _method_label(path), refusal.reason).inc()
        self._write("refused", caller, path, refusal.reason, refusal.detail)

    def _write(self, what: str, caller: Caller, path: str, reason: str, detail: str) -> None:
        role = caller.role
        left_out = self._audit.line(f"{role.name}@{caller.address}", time.monotonic())
        if left_out is None:
            return
        audit.warning(
            "%s client=%r role=%s peer=%s method=%s reason=%r detail=%s%s",
            what,
            role.name[:_MAX_TEXT],
            role.kind.value,
            caller.peer,
            path[:_MAX_TEXT],
            reason,
            detail[:_MAX_TEXT],
            f" left_out={left_out}" if left_out else "",
        )

    def _client(self, role: Role) -> str:
        """A client's name as a label: an authority may issue many, but not many series to us."""
        if role.kind is RoleKind.UNKNOWN:
            return ""
        if len(self._clients) < _MAX_CLIENTS:
            self._clients.add(role.name)
        return role.name if role.name in self._clients else "other"


class _Observed(Collector):
    def __init__(self, streams: Callable[[], int], totals: Callable[[], Totals]) -> None:
        self._streams = streams
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        totals = self._totals()
        for name, text, value in (
            ("streams", "Open streams", self._streams()),
            ("watchers", "Watches of all clients", totals.watchers),
            ("feeds", "Watches at etcd, each shared by all watchers of the same range", totals.feeds),
            ("ring_bytes", "Recent events kept for slow and returning watchers", totals.ring_bytes),
            ("merge_window_seconds", "How long events wait for more now", totals.window_seconds),
        ):
            yield GaugeMetricFamily(f"clustermesh_proxy_{name}", text, value)
        yield CounterMetricFamily("clustermesh_proxy_batches", "Messages with events sent", totals.batches)
        yield CounterMetricFamily("clustermesh_proxy_deliveries", "Events sent", totals.deliveries)


def _method_label(path: str) -> str:
    return path.rpartition("/")[2] if path in METHODS else "other"
