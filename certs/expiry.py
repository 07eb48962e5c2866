"""How long the certificates that a process uses are still valid, for Prometheus.

Reads the files when it is asked: they are replaced while the process runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509
from prometheus_client.core import GaugeMetricFamily, Metric

from certs.check import load_chain
from certs.errors import CertificateError
from certs.reissue import life_of


def families(prefix: str, files: Iterable[Path], now: datetime) -> Iterator[Metric]:
    remaining = GaugeMetricFamily(
        f"{prefix}_certificate_remaining_seconds",
        "Until the first certificate in the file expires; 0 where the file cannot be used",
        labels=["file"],
    )
    late = GaugeMetricFamily(
        f"{prefix}_certificate_late",
        "Whether a certificate in the file should long have been renewed (1) or not (0)",
        labels=["file"],
    )
    for file in sorted(set(files)):
        remaining.add_metric([str(file)], remaining_seconds(file, now))
        late.add_metric([str(file)], is_late(file, now))
    yield from (remaining, late)


def remaining_seconds(file: Path, now: datetime) -> float:
    """Negative once it has expired. Of several certificates, that of the one that expires first."""
    chain = _chain(file)
    return (
        min((certificate.not_valid_after_utc - now).total_seconds() for certificate in chain)
        if chain
        else 0.0
    )


def is_late(file: Path, now: datetime) -> bool:
    """Whether any certificate in it has less than a sixth of its life left; also where it cannot be read."""
    chain = _chain(file)
    return not chain or any(life_of(certificate).is_late(now) for certificate in chain)


def _chain(file: Path) -> list[x509.Certificate]:
    try:
        return load_chain(file.read_bytes())
    except (CertificateError, OSError):
        return []
