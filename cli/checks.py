"""`clustermesh checks`: the names of all checks, and those before a connection alone, changing nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import msgspec

from cli import check
from cli.check import Check, Finding
from cli.checkoption import with_dial, with_skip_check
from cli.completing import complete_context
from cli.members import members, surveys
from cli.preflight import findings
from cli.running import run
from cli.target import Target, split, with_target


@click.command("list")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_checks(*, output: str) -> None:
    """List every check by its name; docs/checks/NAME.md says what it means and what mends it.

    \b
    Examples:
      clustermesh checks list
      clustermesh checks list -o json
    """
    if output == "json":
        known = [
            {"name": each.label, "title": each.title, "skippable": each in check.SKIPPABLE} for each in Check
        ]
        click.echo(msgspec.json.encode(known))
        return
    width = max(len(each.label) for each in Check)
    for each in Check:
        click.echo(f"{each.label:<{width}}  {each.title}")


@click.command("run")
@with_target
@click.option(
    "--destination-context",
    "contexts",
    multiple=True,
    shell_complete=complete_context,
    help="Context of a cluster to connect to; repeat it or separate several by commas.",
)
@click.option("--allow-mismatching-ca", is_flag=True, help="As connect has it.")
@with_skip_check
@with_dial
@click.option("-o", "--output", type=click.Choice(["summary", "json"]), default="summary", show_default=True)
def run_checks(
    *,
    target: Target,
    contexts: tuple[str, ...],
    allow_mismatching_ca: bool,
    skip_check: tuple[Check, ...],
    dial: bool | None,
    output: str,
) -> None:
    """Say what connect would refuse, and change nothing; exit 1 if it would.

    \b
    Examples:
      clustermesh checks run --context east --destination-context west
      clustermesh checks run --context east -o json
    """
    work = _run(
        target, split(contexts), allow_mismatching_ca=allow_mismatching_ca, skip=skip_check, dial=dial
    )
    found = run(work)
    if output == "json":
        click.echo(msgspec.json.encode([as_object(each) for each in found]))
    else:
        for each in found:
            click.echo(f"{'❌' if each.refuses else '⚠️ '} {each.text}")
        if not found:
            click.echo("✅ Nothing speaks against it")
    if any(each.refuses for each in found):
        raise SystemExit(1)


async def _run(
    target: Target,
    contexts: list[str],
    *,
    allow_mismatching_ca: bool,
    skip: tuple[Check, ...],
    dial: bool | None,
) -> list[Finding]:
    async with members(target, contexts) as found:
        local, *remotes = await surveys(list(found.values()), datetime.now(UTC), dial=dial)
    return findings(local, remotes, allow_mismatching_ca=allow_mismatching_ca, skip=skip)


def as_object(finding: Finding) -> dict[str, object]:
    return {
        "check": finding.check.label,
        "refuses": finding.refuses,
        "reason": finding.reason,
        "mend": finding.mend,
    }
