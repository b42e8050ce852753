import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.config.toml_text import render_key, render_value, show_path

_texts = st.text(st.characters(exclude_categories=("Cs",)))
_values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)


@given(_texts, _values)
def test_tomllib_reads_back_what_was_written(key, value):
    assert tomllib.loads(f"{render_key(key)} = {render_value(value)}") == {key: value}


def test_a_path_is_text():
    assert render_value(Path("/a b")) == '"/a b"'


def test_what_toml_cannot_say_is_refused():
    with pytest.raises(TypeError, match="no value for None"):
        render_value([None])


def test_only_parts_that_need_quotes_have_them():
    assert show_path(("engine", "mounts", "/a.b")) == 'engine.mounts."/a.b"'
