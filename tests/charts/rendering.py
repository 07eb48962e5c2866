"""Runs under .venv-helm: renders the chart with Helm's own code, once for each line of values on stdin.

A line of answer each: {"objects": [text of a template, …]} or {"error": text}. Needs no cluster.
"""

from __future__ import annotations

import json
import sys

import helm_python as helm  # type: ignore[import-not-found,unused-ignore]


def main(chart: str, namespace: str) -> None:
    with helm.Chart.load(chart) as loaded:
        for line in sys.stdin:
            try:
                values = json.loads(line)
                loaded.validate_schema(values)
                rendered = loaded.render(values, name="mesh", namespace=namespace)
                answer = {"objects": [rendered[name] for name in sorted(rendered)]}
            except helm.HelmError as error:
                answer = {"error": str(error)}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
