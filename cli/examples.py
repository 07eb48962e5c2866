"""Examples for the help of commands, by the words that lead there. Pure.

Together in one place, so that they tell one story: clusters east and west, and the service web.
A command whose own text has examples needs none here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy

import click

EXAMPLES: Mapping[str, Sequence[str]] = {
    "clustermesh apply": ("clustermesh apply -f mesh.yaml",),
    "clustermesh certs intermediate": (
        "clustermesh certs intermediate --root ./mesh-root --context east --cluster-name east",
        "clustermesh certs intermediate --root ./mesh-root --context east --destination-context west",
    ),
    "clustermesh certs renew": (
        "clustermesh certs renew --context east",
        "clustermesh certs renew --context east --force --dry-run",
    ),
    "clustermesh certs revoke": (
        "clustermesh certs revoke west --context east --destination-context west",
        "clustermesh certs revoke west --context east --destination-context west --undo",
    ),
    "clustermesh certs root": ("clustermesh certs root ./mesh-root --years 20",),
    "clustermesh certs rotate-ca": (
        "clustermesh certs rotate-ca --context east --destination-context west --dry-run",
        "clustermesh certs rotate-ca --context east --destination-context west",
    ),
    "clustermesh certs show": (
        "clustermesh certs show --context east",
        "clustermesh certs show --context east -o json",
    ),
    "clustermesh certs trust": ("clustermesh certs trust ./mesh-root/root.crt --context east",),
    "clustermesh completion": (
        "source <(clustermesh completion bash)",
        "clustermesh completion fish > ~/.config/fish/completions/clustermesh.fish",
    ),
    "clustermesh connect": (
        "clustermesh connect --context east --destination-context west",
        "clustermesh connect --context east --destination-context west,north --connection-mode mesh",
        "clustermesh connect --destination-context west --destination-endpoint 203.0.113.7:2379",
        "clustermesh connect --context east --export east.yaml",
        "clustermesh connect --context east --import west.yaml --allow-mismatching-ca",
    ),
    "clustermesh disable": ("clustermesh disable --context east",),
    "clustermesh disconnect": (
        "clustermesh disconnect --context east --destination-context west",
        "clustermesh disconnect --context east --cluster west",
    ),
    "clustermesh enable": (
        "clustermesh enable --context east --cluster-name east --cluster-id 1 --wait",
        "clustermesh enable --context east --service-type NodePort --dry-run",
    ),
    "clustermesh inspect-policy-default-local-cluster": (
        "clustermesh inspect-policy-default-local-cluster --context east -A",
    ),
    "clustermesh lab apply": ("clustermesh lab apply east docs/examples/web.yaml",),
    "clustermesh lab delete": ("clustermesh lab delete east docs/examples/web.yaml",),
    "clustermesh lab down": ("clustermesh lab down",),
    "clustermesh lab exec": (
        "clustermesh lab exec east client -- curl -s http://172.20.1.1/",
        "clustermesh lab exec east client -- sh",
    ),
    "clustermesh lab kubectl": ("clustermesh lab kubectl east get pods -A",),
    "clustermesh lab logs": ("clustermesh lab logs east clustermesh-agent --tail 50",),
    "clustermesh lab ps": ("clustermesh lab ps -o json",),
    "clustermesh lab scale": ("clustermesh lab scale east web 3",),
    "clustermesh lab service-ip": (
        "clustermesh lab service-ip east web",
        "clustermesh lab service-ip east web --ipv6",
    ),
    "clustermesh lab status": ("clustermesh lab status -o json",),
    "clustermesh lab up": (
        "export KUBECONFIG=$(clustermesh lab up)",
        "clustermesh lab up --cluster-names paris,oslo,rome --nodes 1",
    ),
    "clustermesh plan": (
        "clustermesh plan -f mesh.yaml",
        "clustermesh plan -f mesh.yaml -o json",
        "clustermesh plan -f mesh.yaml --manifests ./manifests",
    ),
    "clustermesh post-uninstall-cleanup": (
        "clustermesh post-uninstall-cleanup --context east --dry-run",
        "clustermesh post-uninstall-cleanup --context east --force -o json",
    ),
    "clustermesh trace": (
        "clustermesh trace default/client web:80 --context east",
        "clustermesh trace default/client web.default.svc:80 --context east --destination-context west",
        "clustermesh trace default/client 10.2.1.5:8080 --context east -o json",
    ),
    "clustermesh verify": (
        "clustermesh verify --context east",
        "clustermesh verify --context east -o json | jq 'map_values(.equal)'",
    ),
    "clustermesh troubleshoot": (
        "clustermesh troubleshoot --context east",
        "clustermesh troubleshoot west --context east -o json",
    ),
    "clustermesh version": ("clustermesh version -o json",),
    "clustermesh-dbg bpf ct list global": ("clustermesh-dbg bpf ct list global",),
    "clustermesh-dbg bpf endpoint list": ("clustermesh-dbg bpf endpoint list",),
    "clustermesh-dbg bpf ipcache get": ("clustermesh-dbg bpf ipcache get 10.2.1.5",),
    "clustermesh-dbg bpf ipcache match": (
        "clustermesh-dbg bpf ipcache match k8s:app=web k8s:io.cilium.k8s.policy.cluster=west",
    ),
    "clustermesh-dbg bpf ipcache list": ("clustermesh-dbg bpf ipcache list -o json",),
    "clustermesh-dbg bpf lb list": (
        "clustermesh-dbg bpf lb list",
        "clustermesh-dbg bpf lb list --backends",
        "clustermesh-dbg bpf lb list --source-ranges",
    ),
    "clustermesh-dbg bpf metrics list": ("clustermesh-dbg bpf metrics list",),
    "clustermesh-dbg bpf nat list": ("clustermesh-dbg bpf nat list",),
    "clustermesh-dbg bpf nodeid list": ("clustermesh-dbg bpf nodeid list",),
    "clustermesh-dbg bpf policy get": ("clustermesh-dbg bpf policy get 12",),
    "clustermesh-dbg bpf policy list": ("clustermesh-dbg bpf policy list -o json",),
    "clustermesh-dbg endpoint get": (
        "clustermesh-dbg endpoint get 3",
        "clustermesh-dbg endpoint get pod-name:default/client",
    ),
    "clustermesh-dbg endpoint list": ("clustermesh-dbg endpoint list",),
    "clustermesh-dbg identity get": (
        "clustermesh-dbg identity get 131079",
        "clustermesh-dbg identity get --label reserved:health",
    ),
    "clustermesh-dbg identity list": (
        "clustermesh-dbg identity list -o json",
        "clustermesh-dbg identity list k8s:app=web k8s:io.cilium.k8s.policy.cluster=west",
        "clustermesh-dbg identity list --endpoints",
    ),
    "clustermesh-dbg kvstore check": ("clustermesh-dbg kvstore check dump.json -o json",),
    "clustermesh-dbg kvstore get": (
        "clustermesh-dbg kvstore get cilium/cluster-config/east",
        "clustermesh-dbg kvstore get cilium/state/nodes/v1/ --recursive"
        " --kvstore-opt etcd.config=/var/lib/cilium/clustermesh/west",
    ),
    "clustermesh-dbg map get": ("clustermesh-dbg map get cilium_lxc",),
    "clustermesh-dbg map list": ("clustermesh-dbg map list",),
    "clustermesh-dbg monitor": (
        "clustermesh-dbg monitor --type drop",
        "clustermesh-dbg monitor --type trace --every 100 -o json",
    ),
    "clustermesh-dbg node list": ("clustermesh-dbg node list",),
    "clustermesh-dbg nodeid list": ("clustermesh-dbg nodeid list -o json",),
    "clustermesh-dbg post-uninstall-cleanup": (
        "clustermesh-dbg post-uninstall-cleanup --dry-run",
        "clustermesh-dbg post-uninstall-cleanup --force",
        "clustermesh-dbg post-uninstall-cleanup --force --bpf-state -o json",
    ),
    "clustermesh-dbg service list": (
        "clustermesh-dbg service list --clustermesh-affinity",
        "clustermesh-dbg service list -o yaml",
        "clustermesh-dbg service list -o jsonpath='{range [*]}{.spec.id} {.spec.flags.name}{\"\\n\"}{end}'",
    ),
    "clustermesh-dbg status": (
        "clustermesh-dbg status --all-clusters",
        "clustermesh-dbg status --all-nodes",
        "clustermesh-dbg status --brief",
    ),
    "clustermesh-dbg trace": (
        "clustermesh-dbg trace default/client web:80",
        "clustermesh-dbg trace default/client 172.20.1.5:53 --protocol udp",
        "clustermesh-dbg trace 10.1.1.4 10.2.1.5:8080",
        "clustermesh-dbg trace identity:131079 10.1.1.4:8080",
        "clustermesh-dbg trace client:192.0.2.9 198.18.1.11:30080",
    ),
    "clustermesh-dbg troubleshoot clustermesh": (
        "clustermesh-dbg troubleshoot clustermesh west",
        "clustermesh-dbg troubleshoot clustermesh -o json",
    ),
    "clustermesh-dbg troubleshoot kvstore": (
        "clustermesh-dbg troubleshoot kvstore --etcd-config /var/lib/cilium/etcd-config.yaml",
    ),
    "clustermesh-dbg verify": (
        "clustermesh-dbg verify",
        "clustermesh-dbg verify -o json | jq '.maps[] | select(.counts.missing > 0)'",
    ),
    "clustermesh-dbg version": ("clustermesh-dbg version",),
}


def with_examples(ctx: click.Context, name: str, command: click.Command | None) -> click.Command | None:
    """The command that is called `name` below `ctx`, with its examples at the end of its help."""
    if command is not None and not command.epilog:
        lines = EXAMPLES.get(f"{path(ctx)} {name}", ())
        if lines:
            command = copy(command)  # two programs may have the same one
            command.epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
    return command


def path(ctx: click.Context) -> str:
    """The words that lead to a group. The program's own name may be anything: its group says it."""
    words: list[str] = []
    here: click.Context | None = ctx
    while here is not None and here.parent is not None:
        words.insert(0, here.info_name or "")
        here = here.parent
    program = getattr(here.command, "program", "") if here else ""
    return " ".join([program or "clustermesh", *words])
