from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import LabError
from lab.objectfile import parse

EXAMPLES = Path(__file__).parent.parent.parent / "docs/examples"


@pytest.mark.parametrize(
    ("file", "kinds"),
    [("web.yaml", ["Deployment", "Service", "Deployment"]), ("no-east-client.yaml", ["CiliumNetworkPolicy"])],
)
def test_the_examples_of_the_documentation_are_objects_we_can_apply(file: str, kinds: list[str]) -> None:
    objects = parse((EXAMPLES / file).read_bytes())
    assert [kind.kind for kind, _ in objects] == kinds
    assert {body["metadata"]["namespace"] for _, body in objects} == {"default"}


def test_a_list_is_its_items_and_an_empty_document_is_nothing() -> None:
    item = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"
    objects = parse(f"---\n---\n{{apiVersion: v1, kind: List, items: [{item}, {item}]}}".encode())
    assert [body["metadata"]["name"] for _, body in objects] == ["shop", "shop"]
    assert "namespace" not in objects[0][1]["metadata"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "not YAML"),
        ("just words", "document 1: not an object"),
        ("{kind: Service, apiVersion: v2}", "document 1: unknown kind Service of apiVersion v2"),
        ("---\nkind: Pod\napiVersion: v1\n", "document 1: Pod without metadata.name"),
    ],
)
def test_a_mistake_names_the_document(text: str, words: str) -> None:
    with pytest.raises(LabError, match=words):
        parse(text.encode())


@given(st.binary(max_size=200))
def test_nothing_else_comes_out_of_arbitrary_bytes(text: bytes) -> None:
    try:
        objects = parse(text)
    except LabError as error:
        assert str(error)
    else:
        assert isinstance(objects, list)
