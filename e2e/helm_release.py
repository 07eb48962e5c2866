"""Runs under .venv-helm: releases in clusters, by Helm's own code. Requests on stdin, a line of answer each.

Releases are remembered in this process: Helm stores them with a client that speaks only protobuf, which the
lab's API does not.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack

import helm_python as helm  # type: ignore[import-not-found,unused-ignore]


def main(chart: str, kubeconfig: str, contexts: str) -> None:
    with ExitStack() as stack:
        clusters = {
            name: stack.enter_context(
                helm.Config(
                    namespace="kube-system",
                    kubeconfig_path=kubeconfig,
                    kube_context=name,
                    storage_driver="memory",
                )
            )
            for name in contexts.split(",")
        }
        for line in sys.stdin:
            action, name, values = json.loads(line)
            try:
                if action == "uninstall":
                    clusters[name].uninstall("mesh")
                else:
                    getattr(clusters[name], action)(chart, "mesh", values)
                answer = "ok"
            except helm.HelmError as error:
                answer = str(error)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
