"""The chart, rendered by Helm's own code in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/clustermesh"
HELM_PYTHON = ROOT / ".venv-helm/bin/python"
NAMESPACE = "mesh-system"

Body = dict[str, Any]
Objects = dict[tuple[str, str], Body]  # (kind, name) -> object
Render = Callable[[Body], Objects]


class ChartError(Exception):
    """Helm refuses the values."""


@pytest.fixture(scope="session")
def render() -> Iterator[Render]:
    """The objects for some values, which are completed by a name and an id."""
    assert HELM_PYTHON.exists(), "the chart's tests need .venv-helm: './run unit tests/charts' makes it"
    command = [str(HELM_PYTHON), str(Path(__file__).parent / "rendering.py"), str(CHART), NAMESPACE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None

        def ask(values: Body) -> Objects:
            values = {"cluster": {"name": "east", "id": 1}, **values}
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(json.dumps(values) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            if "error" in answer:
                raise ChartError(answer["error"])
            return _objects(answer["objects"])

        yield ask
        process.stdin.close()


def _objects(texts: list[str]) -> Objects:
    bodies = [
        body
        for text in texts
        if "apiVersion" in text
        for body in yaml.safe_load_all(text)
        if body is not None
    ]
    found = {(body["kind"], body["metadata"]["name"]): body for body in bodies}
    assert len(found) == len(bodies), "an object is there twice"
    return found
