"""What is wrong with the files that we show to a peer, in words. For the status of a failing connection.

A server that refuses a client's certificate just hangs up: TLS 1.3 has no room for the reason. Often the
reason is here on our side, so we look. This explains; it never keeps anybody from dialling.
"""

from __future__ import annotations

from datetime import datetime

from certs import bundle
from certs.check import Purpose, check, require_pair
from certs.errors import CertificateError
from kvstore.config import EtcdConfig


def complaints(config: EtcdConfig, now: datetime) -> str:
    """What a peer that trusts the authorities we trust would object to; empty when nothing."""
    if config.cert_file is None or config.key_file is None or config.trusted_ca_file is None:
        return ""
    try:
        certificate = config.cert_file.read_bytes()
        require_pair(certificate, config.key_file.read_bytes())
        trusted = bundle.parse(config.trusted_ca_file.read_bytes())
        findings = check(certificate, trusted, purpose=Purpose.CLIENT, now=now)
    except CertificateError as error:
        return f"our own {config.cert_file.name}: {error}"
    except OSError as error:
        return f"our own {error.filename}: {error.strerror}"
    return "; ".join(f"our own {config.cert_file.name}: {finding.text}" for finding in findings)
