"""Who gets through the handshake, and certificates that change under a running proxy."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta

import grpc
import grpc.aio
import pytest

from aiokit.wait import eventually
from certs import profile
from certs.errors import CertificateError
from certs.issue import Authority, Issued
from clustermesh_apiserver.proxy.certificate import read_material
from clustermesh_apiserver.proxy.method import STATUS, WATCH
from tests.clustermesh_apiserver.proxy.conftest import DIALLED, Mesh, write_secret
from tests.clustermesh_apiserver.proxy.test_watch import answer, create, put

REMOTE = profile.remote()


def now() -> datetime:
    return datetime.now(UTC)


async def status(channel: grpc.aio.Channel) -> grpc.StatusCode:
    call = channel.unary_unary(STATUS.path)(b"", timeout=2.0)
    return await call.code()  # type: ignore[no-any-return]


async def test_a_client_without_a_certificate_does_not_get_through_the_handshake(mesh: Mesh) -> None:
    credentials = grpc.ssl_channel_credentials(mesh.authority.issued.certificate_pem)
    options = [("grpc.ssl_target_name_override", DIALLED)]
    async with grpc.aio.secure_channel(mesh.address, credentials, options=options) as channel:
        assert await status(channel) is grpc.StatusCode.UNAVAILABLE


async def test_a_client_of_an_authority_that_we_do_not_trust_is_turned_away(
    mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    async with mesh.channel(REMOTE, authority=Authority.create(now())) as channel:
        assert await status(channel) is grpc.StatusCode.UNAVAILABLE
    assert "handshake failed peer=ipv4:127.0.0.1:" in caplog.text
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text


async def test_an_expired_client_certificate_is_turned_away(mesh: Mesh) -> None:
    async with mesh.channel(REMOTE, validity=timedelta(seconds=-1)) as channel:
        assert await status(channel) is grpc.StatusCode.UNAVAILABLE


async def test_plain_text_gets_nothing(mesh: Mesh) -> None:
    async with grpc.aio.insecure_channel(mesh.address) as channel:
        assert await status(channel) is grpc.StatusCode.UNAVAILABLE


async def test_new_connections_get_the_new_certificate_and_open_streams_live_on(mesh: Mesh) -> None:
    before = await served_certificate(mesh)
    async with mesh.channel(REMOTE) as channel:
        stream = channel.stream_stream(WATCH.path)()
        await stream.write(create())
        await answer(stream)
        write_secret(
            mesh.cert_dir, mesh.authority.issue(profile.server("kube-system"), now()), mesh.authority
        )
        await eventually(lambda: is_served_another(mesh, before))
        await put(mesh, "cilium/state/after", "1")
        assert (await answer(stream)).events[0].kv.key == b"cilium/state/after"


async def test_an_authority_taken_out_of_the_bundle_lets_nobody_in_any_more(mesh: Mesh) -> None:
    new = Authority.create(now())
    server = mesh.authority.issue(profile.server("kube-system"), now())
    write_secret(mesh.cert_dir, server, mesh.authority, new)
    await eventually(lambda: lets_in(mesh, new))
    assert await lets_in(mesh, mesh.authority)
    write_secret(mesh.cert_dir, server, new)
    await eventually(lambda: lets_not_in(mesh, mesh.authority))
    assert await lets_in(mesh, new)


async def test_files_that_do_not_fit_together_are_reported_and_the_old_ones_stay(
    mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    before = await served_certificate(mesh)
    certificate = mesh.authority.issue(profile.server("kube-system"), now())
    other = mesh.authority.issue(profile.server("kube-system"), now())
    write_secret(mesh.cert_dir, Issued(certificate.certificate_pem, other.key_pem), mesh.authority)
    await eventually(lambda: "does not belong" in caplog.text)
    assert await served_certificate(mesh) == before
    assert "PRIVATE KEY" not in caplog.text


@pytest.mark.parametrize("absent", ["tls.crt", "tls.key", "ca.crt"])
def test_a_missing_file_is_named(absent: str) -> None:
    files = secret_files()
    assert read_material(files).expires > now()
    del files[absent]
    with pytest.raises(CertificateError, match=absent):
        read_material(files)


@pytest.mark.parametrize(
    ("day", "said"), [(-1, "not valid before"), (1, ""), (6, "expired at")], ids=["early", "in time", "late"]
)
def test_a_certificate_out_of_its_time_is_no_certificate_to_serve_with(day: int, said: str) -> None:
    begins = now()
    authority = Authority.create(begins)
    issued = authority.issue(profile.server("ns"), begins, validity=timedelta(days=5))
    trust = authority.issued.certificate_pem
    material = read_material({"tls.crt": issued.certificate_pem, "tls.key": issued.key_pem, "ca.crt": trust})
    hindrance = material.hindrance(begins + timedelta(days=day))
    assert said in hindrance
    assert bool(said) == bool(hindrance)


def test_the_private_key_is_not_in_what_is_printed() -> None:
    assert "PRIVATE" not in repr(read_material(secret_files()))


def secret_files() -> dict[str, bytes]:
    authority = Authority.create(now())
    issued = authority.issue(profile.server("ns"), now())
    trust = authority.issued.certificate_pem
    return {"tls.crt": issued.certificate_pem, "tls.key": issued.key_pem, "ca.crt": trust}


async def served_certificate(mesh: Mesh) -> bytes:
    """The server certificate in DER, as a client sees it."""
    viewer = mesh.folder / "viewer"
    write_secret(viewer, mesh.authority.issue(REMOTE, now()), mesh.authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(viewer / "tls.crt", viewer / "tls.key")
    _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", mesh.proxy.port, ssl=context), 5)
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return shown


async def is_served_another(mesh: Mesh, before: bytes) -> bool:
    return await served_certificate(mesh) != before


async def lets_in(mesh: Mesh, authority: Authority) -> bool:
    async with mesh.channel(REMOTE, authority=authority) as channel:
        return await status(channel) is grpc.StatusCode.OK


async def lets_not_in(mesh: Mesh, authority: Authority) -> bool:
    return not await lets_in(mesh, authority)
