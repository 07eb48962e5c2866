from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import preflight


def test_this_machine_has_all_that_is_needed() -> None:
    assert preflight.missing() is None


def test_a_kernel_without_ipv6_is_told_of(tmp_path: Path) -> None:
    assert preflight.without_ipv6() is None
    (tmp_path / "proc/sys/net/ipv4").mkdir(parents=True)
    assert "IPv6 switched off" in (preflight.without_ipv6(tmp_path) or "")


@pytest.mark.parametrize(
    ("release", "version"), [("6.18.44-fc-v595", (6, 18)), ("6.1.0-28-amd64", (6, 1)), ("odd", (0,))]
)
def test_kernel_releases_compare_as_numbers(release: str, version: tuple[int, ...]) -> None:
    assert preflight.parse_release(release) == version


@given(st.text())
def test_no_release_text_breaks_the_check(release: str) -> None:
    assert isinstance(preflight.parse_release(release), tuple)


def test_an_unmounted_cgroup2_is_named_with_the_command_that_mends_it(tmp_path: Path) -> None:
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/net").touch()
    (tmp_path / "proc/filesystems").write_text("nodev\tbpf\n")
    (tmp_path / "proc/mounts").write_text("tmpfs /run tmpfs rw 0 0\n")
    assert "mount -t cgroup2" in (preflight.missing(tmp_path) or "")


def test_a_kernel_without_network_namespaces_is_named(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    assert "CONFIG_NET_NS" in (preflight.missing(tmp_path) or "")


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        ("release", "5.10.0-8-amd64", "5.10.0-8-amd64 is too old"),
        ("machine", "riscv64", "riscv64"),
        ("system", "Darwin", "Linux is needed"),
    ],
)
def test_the_wrong_machine_is_named(
    attribute: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight.platform, attribute, lambda: value)
    assert words in (preflight.missing() or "")
