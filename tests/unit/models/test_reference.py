from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.errors import ModelError
from stack.models.reference import DEMO_ID, ModelReference, parse_model_reference


def test_demo_is_the_embedded_model():
    assert parse_model_reference("demo") == ModelReference("demo", DEMO_ID)


@pytest.mark.parametrize("text", ["org/name", "Qwen/Qwen3-0.6B", "a_b/c.d-e", " org/name "])
def test_an_org_and_a_name_are_a_hub_id(text):
    assert parse_model_reference(text) == ModelReference("hub", text.strip())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/models/a", "/models/a"),
        ("./a", "/base/a"),
        ("../a", "/base/../a"),
        (".", "/base"),
        ("~/a", "/home/me/a"),
        ("~", "/home/me"),
    ],
)
def test_a_path_is_a_directory(text, path):
    reference = parse_model_reference(text, home=Path("/home/me"), base=Path("/base"))
    assert (reference.kind, reference.path) == ("directory", Path(path))


@pytest.mark.parametrize(
    "text", ["", "  ", "gpt2", "a/b/c", "org/", "/".join(["o" * 60, "n" * 60]), "a--b/c", "o/n.git", "-a/b"]
)
def test_what_is_none_of_the_three_is_refused_with_the_three_forms(text):
    with pytest.raises(ModelError) as caught:
        parse_model_reference(text)
    assert "demo" in caught.value.hint
    assert "org/name" in caught.value.hint


@pytest.mark.parametrize("text", ["https://huggingface.co/org/name", "hf.co/org/name/tree/main"])
def test_an_address_is_refused_with_the_id_it_holds(text):
    with pytest.raises(ModelError) as caught:
        parse_model_reference(text)
    assert caught.value.hint == "write `org/name`"


def test_a_revision_after_an_at_sign_is_refused_with_where_it_belongs():
    with pytest.raises(ModelError) as caught:
        parse_model_reference("org/name@v1")
    assert 'revision = "v1"' in caught.value.hint


def test_another_users_home_is_refused():
    with pytest.raises(ModelError, match="another user"):
        parse_model_reference("~bob/model")


@given(st.text(max_size=40))
def test_any_text_gives_a_reference_or_a_model_error(text):
    try:
        reference = parse_model_reference(text)
    except ModelError as error:
        assert error.hint
    else:
        assert reference.kind in ("demo", "directory", "hub")
        assert ".." not in reference.id or reference.kind == "directory"
