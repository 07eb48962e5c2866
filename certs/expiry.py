"""How long the certificates that a process uses are still valid, for Prometheus.

Reads the files when it is asked: they are replaced while the process runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric

from certs.check import load_chain
from certs.errors import CertificateError


def families(prefix: str, files: Iterable[Path], now: datetime) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        f"{prefix}_certificate_remaining_seconds",
        "Until the first certificate in the file expires; 0 where the file cannot be used",
        labels=["file"],
    )
    for file in sorted(set(files)):
        family.add_metric([str(file)], remaining_seconds(file, now))
    yield family


def remaining_seconds(file: Path, now: datetime) -> float:
    """Negative once it has expired. Of several certificates, that of the one that expires first."""
    try:
        chain = load_chain(file.read_bytes())
    except (CertificateError, OSError):
        return 0.0
    return min((certificate.not_valid_after_utc - now).total_seconds() for certificate in chain)
