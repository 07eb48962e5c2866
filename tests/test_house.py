"""Promises about the house itself that no linter checks."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_no_package_hides_a_standard_library_module() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages
    assert not packages & sys.stdlib_module_names
