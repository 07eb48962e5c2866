"""Certificates as other programs see them: openssl, and a real TLS handshake."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certs import profile
from certs.errors import MaterialError
from certs.issue import Authority, Issued
from certs.profile import Profile
from tests.certs.conftest import NOW

HANDSHAKE_SECONDS = 5.0
PROFILES = [
    profile.server("kube-system", ip_addresses=["198.18.1.2"]),
    profile.admin("east"),
    profile.local("east"),
    profile.remote(),
    profile.remote("east"),
]


def leaf(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.certificate_pem)


@pytest.mark.parametrize("of", PROFILES, ids=lambda of: of.common_name)
def test_openssl_finds_nothing_to_object_to_in_strict_mode(
    of: Profile, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "ca.crt").write_bytes(authority.issued.certificate_pem)
    (tmp_path / "tls.crt").write_bytes(authority.issue(of, NOW).certificate_pem)
    purpose = "sslserver" if of.server else "sslclient"
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-attime", str(int(NOW.timestamp()))]
    result = subprocess.run(
        [*command, "-CAfile", tmp_path / "ca.crt", tmp_path / "tls.crt"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_server_certificate_carries_every_name_that_a_peer_may_dial(authority: Authority) -> None:
    issued = leaf(authority.issue(profile.server("kube-system", dns_names=["mesh.example"]), NOW))
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {
        "clustermesh-apiserver.cilium.io",
        "*.mesh.cilium.io",
        "clustermesh-apiserver.kube-system.svc",
        "localhost",
        "mesh.example",
    } <= set(names.get_values_for_type(x509.DNSName))
    assert {str(ip) for ip in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "::1"}


@pytest.mark.parametrize(
    ("of", "common_name"),
    [
        (profile.server("mesh"), "clustermesh-apiserver.mesh.svc"),
        (profile.admin("east"), "admin-east"),
        (profile.local("east"), "local-east"),
        (profile.remote(), "remote"),
        (profile.remote("east"), "remote-east"),
    ],
)
def test_the_common_name_is_the_etcd_user_of_the_wire_contract(
    of: Profile, common_name: str, authority: Authority
) -> None:
    assert leaf(authority.issue(of, NOW)).subject.rfc4514_string() == f"CN={common_name}"


def test_a_fresh_certificate_is_valid_for_a_peer_whose_clock_is_late(authority: Authority) -> None:
    assert leaf(authority.issue(profile.remote(), NOW)).not_valid_before_utc == NOW - timedelta(minutes=5)


def test_no_leaf_outlives_its_authority(authority: Authority) -> None:
    later = NOW + timedelta(days=1000)
    issued = leaf(authority.issue(profile.remote(), later))
    assert (
        issued.not_valid_after_utc == authority.certificate.not_valid_after_utc == NOW + timedelta(days=1095)
    )


def test_an_authority_is_the_same_after_storing_and_loading(authority: Authority) -> None:
    loaded = Authority.load(authority.issued.certificate_pem, authority.issued.key_pem)
    assert loaded.certificate == authority.certificate
    leaf(loaded.issue(profile.remote(), NOW)).verify_directly_issued_by(authority.certificate)


def test_an_authority_with_another_ones_key_is_refused(authority: Authority) -> None:
    with pytest.raises(MaterialError, match="does not belong"):
        Authority.load(authority.issued.certificate_pem, Authority.create(NOW).issued.key_pem)


def test_a_private_key_never_shows_when_its_holder_is_printed(authority: Authority) -> None:
    issued = authority.issue(profile.remote(), NOW)
    assert "PRIVATE" not in repr(issued)
    assert isinstance(authority.key, ec.EllipticCurvePrivateKey)
    assert "PrivateKey" not in repr(authority)


def test_both_sides_of_a_handshake_accept_each_other(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = Authority.create(now)
    server = context(ssl.PROTOCOL_TLS_SERVER, authority, authority.issue(profile.server("ns"), now), tmp_path)
    client = context(ssl.PROTOCOL_TLS_CLIENT, authority, authority.issue(profile.remote(), now), tmp_path)
    with tls_listener(server) as port, dial(client, port, "west.mesh.cilium.io") as connection:
        assert connection.recv(64) == b"remote"


def test_a_name_that_the_server_does_not_carry_fails_the_handshake(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = Authority.create(now)
    server = context(ssl.PROTOCOL_TLS_SERVER, authority, authority.issue(profile.server("ns"), now), tmp_path)
    client = context(ssl.PROTOCOL_TLS_CLIENT, authority, authority.issue(profile.remote(), now), tmp_path)
    with (
        tls_listener(server) as port,
        pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"),
        dial(client, port, "a.b.mesh.cilium.io"),
    ):
        pass


def context(protocol: int, authority: Authority, issued: Issued, folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(protocol)
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=authority.issued.certificate_pem.decode())
    both = folder / "pair.pem"
    both.write_bytes(issued.certificate_pem + issued.key_pem)
    made.load_cert_chain(both)
    return made


@contextmanager
def tls_listener(server: ssl.SSLContext) -> Iterator[int]:
    """Answers one connection with the common name of its client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(HANDSHAKE_SECONDS)
        thread = threading.Thread(target=answer, args=(listener, server))
        thread.start()
        yield listener.getsockname()[1]
        thread.join(HANDSHAKE_SECONDS)


def answer(listener: socket.socket, server: ssl.SSLContext) -> None:
    plain, _ = listener.accept()
    with closing(plain):
        plain.settimeout(HANDSHAKE_SECONDS)
        try:
            with server.wrap_socket(plain, server_side=True) as connection:
                certificate = connection.getpeercert() or {}
                connection.sendall(dict(pair[0] for pair in certificate["subject"])["commonName"].encode())
        except (ssl.SSLError, ConnectionError):
            return


@contextmanager
def dial(client: ssl.SSLContext, port: int, name: str) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", port), HANDSHAKE_SECONDS) as plain,
        client.wrap_socket(plain, server_hostname=name) as connection,
    ):
        yield connection
