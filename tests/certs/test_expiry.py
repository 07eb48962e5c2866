from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from certs import expiry, profile
from certs.issue import Authority
from tests.certs.conftest import NOW


def test_each_file_says_how_long_it_is_valid(authority: Authority, tmp_path: Path) -> None:
    leaf = authority.issue(profile.remote(), NOW, validity=timedelta(days=10)).certificate_pem
    files = [tmp_path / name for name in ("remote.crt", "both.crt", "old.crt", "broken.crt", "absent.crt")]
    files[0].write_bytes(leaf)
    files[1].write_bytes(authority.issued.certificate_pem + leaf)
    old = authority.issue(profile.remote(), NOW - timedelta(days=20), validity=timedelta(days=10))
    files[2].write_bytes(old.certificate_pem)
    files[3].write_bytes(b"no certificate")
    family, late = expiry.families("x", [*files, files[0]], NOW)
    assert family.name == "x_certificate_remaining_seconds"
    days = {Path(s.labels["file"]).name: round(s.value / 86400) for s in family.samples}
    assert days == {"remote.crt": 10, "both.crt": 10, "old.crt": -10, "broken.crt": 0, "absent.crt": 0}
    assert len(family.samples) == 5
    assert late.name == "x_certificate_late"
    assert {Path(s.labels["file"]).name: s.value for s in late.samples} == {
        "remote.crt": 0,
        "both.crt": 0,
        "old.crt": 1,
        "broken.crt": 1,
        "absent.crt": 1,
    }
