"""The proxy's certificate, key and trust bundle: read from a directory, followed while it runs.

Promises: new connections get what the directory holds now, open ones live on (unless their authority has
left the bundle: `gate` sees to that); files that do not fit
together (half written, expired bundle, wrong key) are reported and the last good ones stay in use.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from aiokit import directory
from certs import bundle, own
from certs.check import load_chain, require_pair
from certs.errors import CertificateError
from certs.renew import Life
from clustermesh_apiserver.proxy.metric import Metrics

CERTIFICATE, KEY, TRUST = "tls.crt", "tls.key", "ca.crt"  # the names in a kubernetes.io/tls Secret

Own = tuple[x509.Certificate, ...]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Material:
    """Files that fit together. `own`: the authorities of this cluster itself (`certs.own`)."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    trust: bundle.TrustBundle
    begins: datetime
    expires: datetime
    own: Own = ()

    def hindrance(self, now: datetime) -> str:
        """Why clients refuse it at this time; empty when they do not."""
        if now >= self.expires:
            return f"the certificate expired at {self.expires.isoformat()}"
        if now < self.begins:
            return f"the certificate is not valid before {self.begins.isoformat()}"
        return ""

    def context(self) -> ssl.SSLContext:
        """For handshakes: TLS 1.3, HTTP/2, and a client's certificate. Raises CertificateError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["h2"])
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # whatever is in the bundle is trusted
        context.num_tickets = 0  # who comes back shows its certificate again
        try:
            context.load_verify_locations(cadata=self.trust.pem.decode())
            _load_pair(context, self.certificate_pem + b"\n" + self.key_pem)
        except (ssl.SSLError, ValueError) as error:
            raise CertificateError(f"TLS does not take them: {error}") from error
        return context


def read_material(files: Mapping[str, bytes]) -> Material:
    """Check the three files against each other. Raises CertificateError."""
    missing = [name for name in (CERTIFICATE, KEY, TRUST) if name not in files]
    if missing:
        raise CertificateError(f"missing: {', '.join(missing)}")
    require_pair(files[CERTIFICATE], files[KEY])
    trust = bundle.parse(files[TRUST])
    leaf, *between = load_chain(files[CERTIFICATE])
    signers = own.signers(leaf, [*between, *trust.certificates])
    if own.OWN in files:
        signers += bundle.parse(files[own.OWN]).certificates
    begins, expires = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    return Material(files[CERTIFICATE], files[KEY], trust, begins, expires, signers)


def _load_pair(context: ssl.SSLContext, pem: bytes) -> None:
    """Python takes certificates only from files: this one is in memory, and only ours."""
    file = os.memfd_create("certificate")
    try:
        os.write(file, pem)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)


class Certificates:
    """The newest good material of a directory."""

    def __init__(
        self,
        path: Path,
        metrics: Metrics,
        trust: Callable[[bundle.TrustBundle, Own], None] = lambda _all, _own: None,
    ) -> None:
        """`trust` is told which authorities count, and which are our own, and again whenever they change."""
        self._trust = trust
        self.loaded = asyncio.Event()
        self._path = path
        self._metrics = metrics
        self._material: Material | None = None
        self._context: ssl.SSLContext | None = None

    @property
    def hindrance(self) -> str:
        """Why clients cannot be served; empty when they can."""
        if self._material is None:
            return "no certificate could be read yet"
        return self._material.hindrance(datetime.now(UTC))

    async def follow(self) -> None:
        """Read the directory again whenever it changes, until cancelled."""
        async for files in directory.changes(self._path):
            self._offer(files)

    def context(self) -> ssl.SSLContext:
        """For a handshake that begins now. Only once `loaded`."""
        assert self._context is not None
        return self._context

    def _offer(self, files: Mapping[str, bytes]) -> None:
        try:
            material = read_material(files)
            context = material.context()
        except CertificateError as error:
            self._metrics.reloads.labels("refused").inc()
            log.error("certificates not usable directory=%s error=%s", self._path, error)
            return
        self._material, self._context = material, context
        self._metrics.reloads.labels("ok").inc()
        self._metrics.certificate_expiry.set(material.expires.timestamp())
        self._metrics.certificate_seconds.set_function(
            lambda: material.expires.timestamp() - datetime.now(UTC).timestamp()
        )
        life = Life(material.begins, material.expires)
        self._metrics.certificate_late.set_function(lambda: life.is_late(datetime.now(UTC)))
        if not material.own:
            log.error("no authority signed our own certificate: our clients are refused, see %s", own.OWN)
        self._trust(material.trust, material.own)
        log.info("certificates loaded directory=%s expires=%s", self._path, material.expires.isoformat())
        if hindrance := self.hindrance:
            log.error("clients will refuse us directory=%s reason=%s", self._path, hindrance)
        self.loaded.set()
