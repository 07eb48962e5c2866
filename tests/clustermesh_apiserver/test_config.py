"""Settings that contradict the mesh's rules are refused with one plain line that names the flag."""

from pathlib import Path

import pytest

from clustermesh_apiserver import config
from clustermesh_apiserver.config import ConfigError
from clustermesh_apiserver.pace import Pace


def test_a_legal_name_and_id_make_a_scope() -> None:
    scope = config.cluster_scope("east", 511, 511)
    assert (scope.name, scope.cluster_id, scope.layout.shift) == ("east", 511, 15)


@pytest.mark.parametrize(
    ("name", "cluster_id", "capacity", "reason"),
    [
        ("east", 0, 255, "--cluster-id must be between 1 and 255"),
        ("east", 256, 255, "--cluster-id must be between 1 and 255"),
        ("east", 512, 511, "--cluster-id must be between 1 and 511"),
        ("east", 1, 300, "--max-connected-clusters must be 255 or 511"),
        ("default", 1, 255, "--cluster-name 'default' means unset"),
        ("East", 1, 255, "--cluster-name: .*East"),
        ("", 1, 255, "--cluster-name: "),
        ("a" * 33, 1, 255, "--cluster-name: .*32"),
        ("east\n", 1, 255, "--cluster-name: "),
    ],
)
def test_an_illegal_cluster_is_refused(name: str, cluster_id: int, capacity: int, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        config.cluster_scope(name, cluster_id, capacity)


def test_options_of_ciliums_client_are_accepted_alone_or_together() -> None:
    assert config.parse_options(["etcd.config=/a.yaml,etcd.qps=20", "etcd.bootstrapQps=10000"]) == {
        "etcd.config": "/a.yaml",
        "etcd.qps": "20",
        "etcd.bootstrapQps": "10000",
    }


@pytest.mark.parametrize(
    ("options", "pace"),
    [
        ([], None),
        (["etcd.bootstrapQps=500"], None),
        (["etcd.qps=20"], Pace(20.0, 10_000.0)),
        (["etcd.qps=20,etcd.bootstrapQps=500"], Pace(20.0, 500.0)),
    ],
)
def test_requests_are_bounded_where_a_rate_is_given(options: list[str], pace: Pace | None) -> None:
    assert config.parse_pace(options) == pace


@pytest.mark.parametrize("text", ["0", "-1", "fast", "nan", "inf"])
def test_a_rate_that_lets_nothing_through_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"etcd\.qps"):
        config.parse_pace([f"etcd.qps={text}"])


@pytest.mark.parametrize("option", ["etcd.config", "etcd.config=", "etcd.cert=/x", "=x"])
def test_an_unknown_or_malformed_option_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match="--kvstore-opt"):
        config.parse_options([option])


def test_the_etcd_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "etcd.yaml"
    file.write_text("endpoints:\n- https://127.0.0.1:2379\ntrusted-ca-file: /ca.crt\n")
    etcd = config.etcd_config([f"etcd.config={file}"])
    assert etcd.endpoints == ("https://127.0.0.1:2379",)
    assert etcd.trusted_ca_file == Path("/ca.crt")


def test_a_missing_or_misspelt_etcd_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "etcd.yaml"
    with pytest.raises(ConfigError, match=str(file)):
        config.etcd_config([f"etcd.config={file}"])
    file.write_text("endpoint: [a]\n")
    with pytest.raises(ConfigError, match="endpoint: unknown key"):
        config.etcd_config([f"etcd.config={file}"])


@pytest.mark.parametrize(
    ("options", "endpoint", "reason"),
    [
        ([], "", "where is etcd"),
        (["etcd.config=/x"], "http://127.0.0.1:2378", "not both"),
        ([], "http://192.0.2.1:2378", "only a loopback address"),
        ([], "http://etcd.example.org:2378", "only a loopback address"),
        ([], "https://127.0.0.1:2378", "is not http://HOST:PORT"),
        ([], "127.0.0.1:2378", "is not http://HOST:PORT"),
        ([], "http://127.0.0.1", "is not http://HOST:PORT"),
        ([], "http://127.0.0.1:x", "is not http://HOST:PORT"),
    ],
)
def test_an_unusable_place_for_etcd_is_refused(options: list[str], endpoint: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        config.etcd_config(options, endpoint)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:2378", "http://localhost:2378", "http://[::1]:2378"])
def test_a_loopback_etcd_needs_no_tls(endpoint: str) -> None:
    assert config.etcd_config([], endpoint).endpoints == (endpoint,)


@pytest.mark.parametrize(("text", "seconds"), [("15m", 900), ("25s", 25), ("1h30m", 5400), ("24h", 86400)])
def test_durations_are_read_as_go_writes_them(text: str, seconds: int) -> None:
    assert config.parse_duration(text, "--kvstore-lease-ttl") == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "24s", "25h", "15m ", "-15m", "1.5h"])
def test_an_unreadable_or_extreme_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--kvstore-lease-ttl"):
        config.parse_duration(text, "--kvstore-lease-ttl")


def test_an_address_is_gos() -> None:
    assert config.parse_address("", "--x") is None
    assert config.parse_address(":9962", "--x") == ("0.0.0.0", 9962)
    assert config.parse_address("[::1]:1", "--x") == ("::1", 1)
    for wrong in ("9962", "localhost", "host:port", "http://h:1", ":70000"):
        with pytest.raises(ConfigError, match="--x"):
            config.parse_address(wrong, "--x")
