"""`clustermesh-dbg post-uninstall-cleanup`: remove from this node what its agent left there.

No agent is there to be asked, so this is the one command that does an agent's work itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from agent import cleanup, leftovers
from agent.cleanup import Places
from agent.config import DEFAULT_BPF_ROOT, DEFAULT_STATE_DIR
from agent.errors import AgentError
from agent.leftovers import Item, Kept, Kind, Plan
from bpf.errors import BPFError
from cli.dbg.agent import with_host
from cli.dbg.column import columns
from cli.dbg.output import Output, with_output
from cli.running import confirms_removal, say

PRESENT, REMOVED, FAILED = "present", "removed", "failed"
_DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.command("post-uninstall-cleanup")
@click.option("-f", "--force", is_flag=True, help="Remove without asking.")
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@click.option("--all-state", is_flag=True, help="Everything: the default.")
@click.option(
    "--bpf-state", is_flag=True, help="Programs and maps only: devices, routes and endpoints' records stay."
)
@click.option(
    "--bpf-root",
    type=_DIRECTORY,
    envvar="CLUSTERMESH_BPF_ROOT",
    default=DEFAULT_BPF_ROOT,
    show_default=True,
    help="As the agent's.",
)
@click.option(
    "--state-dir",
    type=_DIRECTORY,
    envvar="CLUSTERMESH_STATE_DIR",
    default=DEFAULT_STATE_DIR,
    show_default=True,
    help="As the agent's.",
)
@with_host
@with_output
def post_uninstall_cleanup(
    *,
    host: str,
    force: bool,
    dry_run: bool,
    all_state: bool,
    bpf_state: bool,
    bpf_root: Path,
    state_dir: Path,
    output: Output,
) -> None:
    """Remove what a stopped agent left on this node: pods' devices, programs, maps, routes, records.

    Lists it, and asks. Pods of this node have no network afterwards until they are made again. Run it as
    root in the node's network namespace; while an agent runs there it refuses. What cannot be told to be
    ours stays. Ended early, it is run again. Exit 1 when something of ours is still there.
    """
    if not output.is_table and not (force or dry_run):
        raise click.UsageError(f"-o {output} does not ask: give --force or --dry-run")
    places = Places(bpf_root, state_dir, Path(host.removeprefix("unix://")))
    kinds = leftovers.BPF_STATE if bpf_state and not all_state else frozenset(Kind)
    with _in_words(), cleanup.without_agent(places):
        plan = leftovers.plan(cleanup.look(places), kinds)
        if output.is_table:
            _show(plan)
        is_wanted = not dry_run and (force or _is_confirmed(plan))
        failures = _remove(places, plan.remove) if is_wanted else None
    if not output.is_table:
        click.echo(output.of_object(as_json(plan, failures)), nl=False)
    elif failures is not None:
        _report(plan, failures)
    if not (dry_run or is_clean(plan, failures)):
        raise SystemExit(1)


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except (AgentError, BPFError, OSError) as error:
        say(f"error: {error}")
        raise SystemExit(1) from error


def _is_confirmed(plan: Plan) -> bool:
    return not plan.remove or confirms_removal()


def _remove(places: Places, items: Sequence[Item]) -> dict[Item, str]:
    """What did not go, and why."""
    failures = {item: reason for item in items if (reason := cleanup.remove(item))}
    cleanup.remove_folders(places)
    return failures


def is_clean(plan: Plan, failures: dict[Item, str] | None) -> bool:
    """Whether nothing of ours is left."""
    left = plan.remove if failures is None else failures
    return not left and not any(each.is_ours for each in plan.keep)


def as_json(plan: Plan, failures: dict[Item, str] | None) -> dict[str, Any]:
    """`failures` None: nothing was tried."""

    def state(item: Item) -> dict[str, str]:
        if failures is None:
            return {"state": PRESENT}
        return {"state": FAILED, "reason": failures[item]} if item in failures else {"state": REMOVED}

    return {
        "clean": is_clean(plan, failures),
        "items": [
            {"kind": item.kind.value, "name": item.name, "about": item.about, **state(item)}
            for item in plan.remove
        ],
        "kept": [
            {"kind": each.kind.value, "name": each.name, "reason": each.reason, "ours": each.is_ours}
            for each in plan.keep
        ],
    }


def _show(plan: Plan) -> None:
    if plan.remove:
        rows = [(item.kind.value, item.name, item.about) for item in plan.remove]
        click.echo(columns(("KIND", "TO BE REMOVED", "ABOUT"), rows), nl=False)
    else:
        click.echo("nothing of an agent's is on this node")
    for each in plan.keep:
        say(f"stays: {_words(each)}")


def _words(kept: Kept) -> str:
    return f"{kept.kind.value} {kept.name}: {kept.reason}"


def _report(plan: Plan, failures: dict[Item, str]) -> None:
    for item, reason in failures.items():
        say(f"error: {item.kind.value} {item.name} is still there: {reason}")
    say(f"{len(plan.remove) - len(failures)} removed")
