import re
import tomllib

import jsonschema
import pytest

from stack.config.keys import build_keys
from stack.config.schema_json import build_json_schema, render_init, render_table

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def validator():
    schema = build_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def _uncomment(text):
    return re.sub(r"^#(?=[^ :])", "", text, flags=re.MULTILINE)


def test_the_first_file_sets_nothing(load):
    loaded = load(render_init())
    assert loaded.config == load().config
    assert {origin.source for origin in loaded.origins.values()} == {"default"}


def test_its_defaults_uncommented_give_the_default_configuration(load):
    lines = _uncomment(render_init()).splitlines()
    kept = [line for number, line in enumerate(lines) if "Example:" not in lines[number - 1]]
    assert load("\n".join(kept)).config == load().config


def test_each_of_its_lines_uncommented_is_taken_by_itself(load):
    text = render_init()
    header = ""
    for line in text.splitlines():
        if line.startswith("["):
            header = line
        elif re.match(r"#[^ :]", line):
            others = '[model]\nid = "a/b"\n' if line.startswith("#revision") else f"{header}\n"
            if line.startswith("#certificate"):
                # A certificate and its key go together.
                others += 'certificate-file = "/c.pem"\n' if "-key-" in line else 'certificate-key-file = "/k.pem"\n'
            assert load(f"{others}{line[1:]}\n").config


def test_all_its_lines_uncommented_are_toml_under_the_right_tables():
    tables = tomllib.loads(_uncomment(render_init()))
    for key in build_keys():
        value = tables
        for name in key.path:
            assert name in value, key.dotted
            value = value[name]


def test_it_tells_editors_where_the_schema_is():
    assert render_init().startswith("#:schema ./stack.schema.json\n")
    assert render_init("https://a.example/s.json").startswith("#:schema https://a.example/s.json\n")


def test_the_table_has_a_line_for_every_key():
    table = render_table()
    lines = table.splitlines()
    keys = [key for key in build_keys() if key.kind != "table"]
    assert len(lines) == len(keys) + 2
    for key in keys:
        assert f"| `{key.dotted}` |" in table
    assert all(line.replace("\\|", "").count("|") == 6 for line in lines)


def test_the_table_is_the_same_on_every_machine(monkeypatch):
    here = render_table()
    monkeypatch.setenv("HOME", "/elsewhere")
    assert render_table() == here
    assert "/elsewhere" not in render_init()


def test_the_schema_is_a_schema_and_has_only_kebab_keys(validator):
    for definition in [validator.schema, *validator.schema["$defs"].values()]:
        for name in definition.get("properties", {}):
            assert "_" not in name


def test_the_schema_takes_what_the_tool_takes(validator):
    toml = f"""
project = "a"
[engine]
commit = "{COMMIT}"
devices = ["0"]
args = {{ max-model-len = 4096, new-flag = [1, 2], enforce-eager = true }}
env = {{ OMP_NUM_THREADS = 4 }}
mounts = {{ "/templates" = "~/t" }}
[services.engine]
port = 8000
[[smoke.canaries]]
prompt = "a"
right = "b"
wrong = ["c"]
"""
    validator.validate(tomllib.loads(toml))


def test_the_schema_takes_the_first_file_uncommented(validator):
    validator.validate(tomllib.loads(_uncomment(render_init())))


@pytest.mark.parametrize(
    "toml",
    [
        "unknown = 1",
        "engine.shm_size = '8g'",
        "engine.commit = 'abc'",
        "engine.device = 'gpu'",
        "services.engine.port = 80",
        "engine.args.enforce-eager = 'yes'",
        "engine.args.max_model_len = 1",
        "project = 'A'",
        "smoke.enabled = 1",
    ],
)
def test_the_schema_refuses_what_the_tool_refuses(validator, problems, toml):
    assert not validator.is_valid(tomllib.loads(toml))


def test_every_property_says_what_it_means(validator):
    for definition in validator.schema["$defs"].values():
        for name, node in definition.get("properties", {}).items():
            assert "description" in node or "$ref" in node, name
