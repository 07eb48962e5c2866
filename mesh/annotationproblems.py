"""What of a Service's annotations says nothing that can be read, of the mesh or of its own cluster. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from mesh import localoptions
from mesh.preference import read


def annotation_problems(annotations: Mapping[str, str]) -> tuple[str, ...]:
    return (*read(annotations).problems, *localoptions.problems(annotations))
