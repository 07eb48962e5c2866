from __future__ import annotations

from pathlib import Path

import pytest

from kvstore.config import ConfigError, Endpoint, EtcdConfig, HostAlias, load, parse

WHOLE = """
endpoints:
- https://east.mesh.cilium.io:2379
trusted-ca-file: /certs/ca.crt
key-file:        /certs/client.key
cert-file:       /certs/client.crt
cilium-host-aliases:
- hostname: east.mesh.cilium.io
  ips: [192.0.2.80, "2001:db8:0::1"]
"""


def test_ciliums_whole_file_is_read() -> None:
    assert parse(WHOLE, "east") == EtcdConfig(
        endpoints=("https://east.mesh.cilium.io:2379",),
        trusted_ca_file=Path("/certs/ca.crt"),
        cert_file=Path("/certs/client.crt"),
        key_file=Path("/certs/client.key"),
        host_aliases=(HostAlias("east.mesh.cilium.io", ("192.0.2.80", "2001:db8::1")),),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("endpoints: [http://a]\ntrusted-ca: x", "trusted-ca: unknown key"),
        ("endpoints: [http://a]\n7: x", "7: unknown key"),
        ("trusted-ca-file: x", "endpoints: a list of one or more strings"),
        ("endpoints: []", "endpoints: a list of one or more strings"),
        ("endpoints: http://a", "endpoints: a list of one or more strings"),
        ("endpoints: [http://a]\nendpoints: [http://b]", "endpoints: given twice"),
        ("endpoints: ['ftp://a:1']", "is not http"),
        ("endpoints: ['http://a:port']", "endpoints: 'http://a:port'"),
        ("endpoints: ['http://a:1/path']", "is not http"),
        ("endpoints: ['http://user:secret@a:1']", "must not carry a user or password"),
        ("endpoints: [http://a]\ncert-file: x", "cert-file and key-file: both or none"),
        ("endpoints: [http://a]\nkey-file: 7\ncert-file: x", "key-file: a file name is needed"),
        ("- a", "not a YAML mapping"),
        ("{", "not YAML"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_the_key(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "the/file")

    assert str(caught.value).startswith("the/file: ")
    assert complaint in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("aliases", "complaint"),
    [
        ("[{hostname: '', ips: [192.0.2.1]}]", "hostname: must not be empty"),
        ("[{ips: [192.0.2.1]}]", "hostname: must not be empty"),
        ("[{hostname: a, ips: []}]", "ips of a: a list of one or more strings"),
        ("[{hostname: a, ips: [west]}]", "ips of a: 'west'"),
        ("[{hostname: a, ips: [192.0.2.1], port: 1}]", "port: unknown key"),
        ("[{hostname: a, ips: [192.0.2.1]}, {hostname: a, ips: [192.0.2.2]}]", "a is given twice"),
        ("[a]", "each item needs hostname and ips"),
        ("a", "a list is needed"),
    ],
)
def test_a_bad_host_alias_is_refused(aliases: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match="cilium-host-aliases: ") as caught:
        parse(f"endpoints: [http://a]\ncilium-host-aliases: {aliases}", "file")

    assert complaint in str(caught.value)


def test_an_endpoint_without_a_scheme_is_secure_when_a_ca_is_given() -> None:
    plain = EtcdConfig(("127.0.0.1:2379",))
    secure = EtcdConfig(("[::1]:2379", "http://a"), trusted_ca_file=Path("ca"))

    assert plain.split_endpoints() == (Endpoint("127.0.0.1", 2379, secure=False),)
    assert secure.split_endpoints() == (Endpoint("::1", 2379, secure=True), Endpoint("a", 2379, secure=False))
    assert secure.split_endpoints()[0].authority == "[::1]:2379"


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent: No such file"):
        load(tmp_path / "absent")


def test_a_file_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "east").write_text(WHOLE)

    assert load(tmp_path / "east") == parse(WHOLE, "east")
