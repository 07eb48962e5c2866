from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.dbg.__main__ import main
from mesh.addressing import ClusterID
from mesh.endpointslice import ClusterEndpointSlice, encode
from mesh.sliceendpoint import Endpoint
from tests.mesh import golden


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["kvstore", "check", *arguments], input=stdin)


def run_on(entries: list[dict[str, Any]], *arguments: str) -> Result:
    return run("-", *arguments, stdin=json.dumps(entries).encode())


@pytest.mark.parametrize(("name", "total", "refused"), [(golden.FILES[0], 75, 2), (golden.FILES[1], 80, 0)])
def test_a_recorded_dump_is_understood_to_the_byte(name: str, total: int, refused: int) -> None:
    result = run(str(golden.FOLDER / name))
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert [report[key] for key in ("total", "decoded", "identical")] == [
        total,
        total - refused,
        total - refused,
    ]
    assert len(report["rejected"]) == refused


def test_what_is_refused_is_named_with_its_reason() -> None:
    result = run_on(
        [{"key": "cilium/state/nodes/v1/n", "value": '{"Name":"n"}', "note": "x", "lease_ttl": 900}]
    )
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "total": 1,
        "decoded": 0,
        "identical": 0,
        "rejected": [{"key": "cilium/state/nodes/v1/n", "reason": "cluster is unset"}],
    }


def test_what_comes_out_otherwise_is_a_failure_and_named_on_stderr() -> None:
    result = run_on([{"key": "cilium/cluster-config/east", "value": "{}"}])
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["decoded"], report["identical"], report["rejected"]) == (1, 0, [])
    assert result.stderr == "not identical: cilium/cluster-config/east\n"


def test_values_that_are_no_text_come_in_base64() -> None:
    part = ClusterEndpointSlice("east", ClusterID(1), "shop", "web-1", endpoints=(Endpoint(("10.1.0.4",)),))
    suffix, value = encode(part)
    prefix = "cilium/state/endpointslices/v1/east/"
    result = run_on(
        [
            {"key": prefix + suffix, "value_b64": b64encode(value).decode()},
            {"key": prefix + "shop/web-2", "value_b64": b64encode(value).decode()},
            {"key": prefix + suffix, "value_b64": b64encode(value[:-1]).decode()},
            {"key": "cilium/.heartbeat", "value_b64": ""},
        ]
    )
    report = json.loads(result.stdout)
    assert [report[key] for key in ("total", "decoded", "identical")] == [4, 2, 2]
    assert [item["reason"].partition(":")[0] for item in report["rejected"]] == [
        "namespaced name does not match key",
        "invalid zstd frame",
    ]


def test_the_help_says_what_identical_means() -> None:
    help_text = " ".join(run("--help").stdout.split())
    assert "how endpoint slices are compressed" in help_text
    assert "Exit status: 0" in help_text


def test_an_empty_dump_is_fine() -> None:
    assert json.loads(run_on([]).stdout) == {"total": 0, "decoded": 0, "identical": 0, "rejected": []}


def test_the_table_counts_reasons() -> None:
    result = run_on([{"key": "a", "value": ""}, {"key": "b", "value": ""}], "-o", "table")
    assert result.stdout.splitlines() == [
        "Total      2",
        "Decoded    0",
        "Identical  0",
        "Rejected   2",
        "        2  unknown key",
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[1]",
        b'[{"value":""}]',
        b'[{"key":"a"}]',
        b'[{"key":"a","value":"","value_b64":""}]',
        b'[{"key":"a","value_b64":"?"}]',
        b'[{"key":"a","value":"\xff"}]',
        b'[{"key":"a","x":' + b"[" * 100_000,
    ],
    ids=range(9),
)
def test_a_file_that_is_no_dump_is_said_to_be_none(text: bytes) -> None:
    result = run("-", stdin=text)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("-: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    result = run(str(tmp_path / "absent.json"))
    assert result.exit_code == 2
    assert "absent.json" in result.stderr


def test_a_template_takes_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "dump.json"
    file.write_text("[]")
    result = CliRunner().invoke(main, ["kvstore", "check", str(file), "-o", "jsonpath={.total} {.rejected}"])
    assert (result.exit_code, result.stdout) == (0, "0 []\n")
