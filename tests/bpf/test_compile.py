"""The child process that compiles: what it says when it cannot."""

import json
import os
import subprocess
from pathlib import Path

from bpf import loader
from bpf.requirements import COMPILER_PYTHON

SCRIPT = Path(loader.__file__).with_name("compile.py")


def compiled(job: object, temporary: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMPILER_PYTHON, "-I", SCRIPT],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **({"TMPDIR": str(temporary)} if temporary else {})},
    )


def test_it_is_quiet_when_all_is_well_and_leaves_no_files(tmp_path: Path) -> None:
    done = compiled({"text": "int nothing(struct __sk_buff *skb) { return 0; }", "programs": []}, tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert not any(tmp_path.iterdir())


def test_what_killed_ones_left_is_removed_and_what_is_in_use_or_not_ours_stays(tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in ("clustermesh-bpf-old", "clustermesh-bpf-new", "other"))
    for folder in (old, new, other):
        (folder / "include").mkdir(parents=True)
    (tmp_path / "clustermesh-bpf-link").symlink_to(other)
    for folder in (old, other):
        os.utime(folder, (0, 0))
    compiled({"text": "int nothing(struct __sk_buff *skb) { return 0; }", "programs": []}, tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {new.name, other.name, "clustermesh-bpf-link"}
    assert (other / "include").is_dir()


def test_a_program_that_does_not_exist_is_named() -> None:
    program = {"name": "absent", "type": 3, "attach": None, "pin": "/nowhere/absent"}
    done = compiled({"text": "int here(struct __sk_buff *skb) { return 0; }", "programs": [program]})
    assert done.returncode == 1
    assert "absent" in done.stderr


def test_a_pin_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    program = {"name": "here", "type": 3, "attach": None, "pin": str(tmp_path / "here")}
    done = compiled({"text": "int here(struct __sk_buff *skb) { return 0; }", "programs": [program]})
    assert done.returncode == 1
    assert f"cannot pin here at {tmp_path}" in done.stderr
