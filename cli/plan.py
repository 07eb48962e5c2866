"""`clustermesh plan` and `clustermesh apply`: make clusters know each other as one file says."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from cli import facts, meshfile, meshplan, peerbundle, secret, users, yamltext
            (directory / f"{name}.yaml").write_text(yaml.safe_dump_all(bodies, sort_keys=False))
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from None
    say(f"{directory} has the objects of {', '.join(mesh.reads)}")


def _shown(change: Change) -> dict[str, Any]:
    return {
        "cluster": change.cluster,
        "action": change.action.value,
        "peer": change.peer,
        "addresses": [str(address) for address in change.addresses],
        "rule": change.rule,
    }
