"""The commands of `clustermesh checks`: names only; each is imported when it is used."""

from __future__ import annotations

from cli.lazy import Entry, LazyGroup

checks = LazyGroup(
    "checks",
    entries={
        "list": Entry("cli.checks", "list_checks", "List every check by its name."),
        "run": Entry("cli.checks", "run_checks", "Say what connect would refuse, and change nothing."),
    },
    help="What is checked before clusters are connected, and what status names.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)
