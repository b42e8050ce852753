from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.config.toml_source import load_toml, locate_keys, parse_toml
from stack.errors import ConfigError

PATH = Path("stack.toml")


def _refusal(text):
    with pytest.raises(ConfigError) as caught:
        parse_toml(text, PATH)
    return str(caught.value)


def test_a_syntax_error_says_line_column_and_what_stands_there():
    assert _refusal("project = 'a'\n\n[engine]\ndevice = cpu\n") == (
        "stack.toml:4:10: Invalid value; text needs quotes: `device = cpu`"
    )


def test_an_unfinished_file_says_its_end():
    assert _refusal('[engine]\ndevice = "cpu').startswith("stack.toml:2:14: ")


def test_a_key_given_twice_says_where():
    assert _refusal("project = 'a'\nproject = 'b'\n").startswith("stack.toml:2:")


def test_a_line_that_may_hold_a_secret_is_not_repeated():
    assert "hunter2" not in _refusal("token = hunter2\n")


def test_a_byte_order_mark_is_no_error(tmp_path):
    path = tmp_path / "stack.toml"
    path.write_bytes(b"\xef\xbb\xbfproject = 'a'\r\n")
    assert load_toml(path).tables == {"project": "a"}


@pytest.mark.parametrize(("content", "part"), [(b"\xff", "is not UTF-8 text (byte 0)"), (None, "does not exist")])
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path, content, part):
    path = tmp_path / "stack.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_toml(path)
    assert str(caught.value) == f"{path}: {part}"


def test_a_directory_in_its_place_is_a_problem(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_toml(tmp_path)


def test_keys_are_found_in_tables_dotted_keys_and_quotes():
    text = """\
project = "a"
model.id = "demo"

[engine]
device = "cpu" # device
[engine.mounts]
"/a.b" = "x"
[[smoke.canaries]]
prompt = "a"
[ services . engine ]
port = 8000
"""
    lines = locate_keys(text)
    assert lines[("project",)] == 1
    assert lines[("model", "id")] == 2
    assert lines[("engine", "device")] == 5
    assert lines[("engine", "mounts", "/a.b")] == 7
    assert lines[("smoke", "canaries")] == 8
    assert lines[("services", "engine", "port")] == 11


def test_a_key_in_an_inline_table_is_found_at_its_table():
    source = parse_toml("[engine]\nargs = { seed = 1 }\n", PATH)
    assert source.locate(("engine", "args", "seed")) == "stack.toml:2"
    assert source.locate(("nowhere",)) == "stack.toml"


@given(st.text(alphabet="a.=[]\"'\\\n #{}0-_\x00é"))
def test_no_text_crashes_the_reader(text):
    locate_keys(text)
    try:
        parse_toml(text, PATH)
    except ConfigError as err:
        assert str(err).startswith("stack.toml")
