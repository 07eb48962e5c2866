"""Certificates for tests: an authority, and what it issues."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TypedDict

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class ClientFiles(TypedDict):
    """A client's files, as the options of EtcdConfig."""

    trusted_ca_file: Path
    cert_file: Path
    key_file: Path


class Authority:
    def __init__(self, name: str) -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(self._name, self._key).issuer_name(self._name)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = builder.sign(self._key, hashes.SHA256())

    def issue(self, common_name: str, *names: str) -> tuple[bytes, bytes]:
        """Certificate and key as PEM. etcd dials itself by address, hence 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        alternatives = [*map(x509.DNSName, names), x509.IPAddress(ip_address("127.0.0.1"))]
        builder = _builder(subject, key).issuer_name(self._name)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return _pem(builder.sign(self._key, hashes.SHA256())), _key_pem(key)

    def client_files(self, directory: Path) -> ClientFiles:
        certificate, key = self.issue("remote")
        files: ClientFiles = {
            "trusted_ca_file": directory / "ca.crt",
            "cert_file": directory / "client.crt",
            "key_file": directory / "client.key",
        }
        files["trusted_ca_file"].write_bytes(_pem(self.certificate))
        files["cert_file"].write_bytes(certificate)
        files["key_file"].write_bytes(key)
        return files


def server_arguments(authority: Authority, directory: Path, name: str) -> list[str]:
    """etcd's arguments for mutual TLS."""
    certificate, key = authority.issue("server", name)
    files = {
        "--cert-file": ("server.crt", certificate),
        "--key-file": ("server.key", key),
        "--trusted-ca-file": ("server-ca.crt", _pem(authority.certificate)),
    }
    for file, content in files.values():
        (directory / file).write_bytes(content)
    return ["--client-cert-auth", *(f"{option}={directory / file}" for option, (file, _) in files.items())]


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(minutes=1),
        not_valid_after=now + timedelta(days=1),
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
