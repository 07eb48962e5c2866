"""Readiness probes: is a container ready for traffic? Asked from its node, as a real kubelet does.

`Streak` decides (pure), `ask` connects. Until the first success the lab asks ten times a second, whatever
the period says: people wait for labs.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass

from lab import netns
from lab.errors import PodConfigError
from lab.manifest import Container, HTTPGet, Probe, TCPSocket

EAGER_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Streak:
    """The state of one container's probe."""

    is_ready: bool = False
    failures: int = 0

    def after(self, success: bool, probe: Probe) -> Streak:
        if success:
            return Streak(is_ready=True)
        failures = self.failures + 1
        return Streak(self.is_ready and failures < probe.failureThreshold, failures)

    def pause_seconds(self, probe: Probe) -> float:
        return float(max(1, probe.periodSeconds)) if self.is_ready else EAGER_SECONDS


def port_of(container: Container, port: int | str) -> int:
    """A probe's port by number or by name. Raises PodConfigError for an unknown name."""
    if isinstance(port, int):
        return port
    for each in container.ports:
        if each.name == port:
            return each.containerPort
    if port.isascii() and port.isdigit():
        return int(port)
    raise PodConfigError(f"container {container.name}: a probe names port {port!r}, which it does not have")


async def ask(probe: Probe, container: Container, pod_ip: str, node_namespace: str) -> bool:
    """One attempt. Probes of kinds the lab does not know count as success."""
    if probe.httpGet:
        get = probe.httpGet
        port = port_of(container, get.port)
        return await netns.run_async(
            node_namespace, lambda: _http(get, get.host or pod_ip, port, probe.timeoutSeconds)
        )
    if probe.tcpSocket:
        tcp: TCPSocket = probe.tcpSocket
        port = port_of(container, tcp.port)
        return await netns.run_async(
            node_namespace, lambda: _tcp(tcp.host or pod_ip, port, probe.timeoutSeconds)
        )
    return True


def _http(get: HTTPGet, host: str, port: int, timeout: float) -> bool:
    try:
        connection = (
            http.client.HTTPSConnection(host, port, timeout=timeout, context=_unverified())
            if get.scheme.upper() == "HTTPS"
            else http.client.HTTPConnection(host, port, timeout=timeout)
        )
        try:
            connection.request("GET", get.path or "/", headers={"Connection": "close"})
            return 200 <= connection.getresponse().status < 400
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return False


def _unverified() -> ssl.SSLContext:
    """A probe asks whether somebody answers, not who: as in Kubernetes."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _tcp(host: str, port: int, timeout: float) -> bool:
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError:
        return False
    return True
