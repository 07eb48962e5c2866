"""Writes the chart's definitions of kinds from the one place that has them: python -m tests.charts.crds"""

from __future__ import annotations

from pathlib import Path

import yaml

from cli import crd
from k8s.resource import CRD

FOLDER = Path(__file__).parents[2] / "charts/clustermesh/crds"
HEAD = "# Written by tests/charts/crds.py from cli/crd.py. Helm only ever creates these, as `enable` does.\n"


def files() -> dict[str, str]:
    return {
        f"{body['spec']['names']['plural']}.yaml": HEAD
        + yaml.safe_dump({"apiVersion": CRD.api_version, "kind": CRD.kind, **body}, sort_keys=False)
        for body in crd.definitions()
    }


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text)
