"""`stack config`, and how every command tells what is wrong with a configuration."""

from __future__ import annotations

import json

import jsonschema
import pytest

WRONG = """\
projct = "x"
[engine]
device = "tpu"
devices = 0
[engine.args]
port = 9000
max-model-len = "lots"
[services.grafan]
port = 1
[model]
id = 7
"""
WRONG_TOLD = """\
error: projct: unknown key; the nearest is `project` (stack.toml:1)
       services.grafan: unknown key; the nearest is `services.grafana` (stack.toml:8)
       engine.args.port: is set from `services.engine.port` (stack.toml:6)
       engine.device: must be `auto`, `cuda` or `cpu`, not "tpu"; the nearest is `cpu` (stack.toml:3)
       engine.devices: 0 devices cannot be used; for device number 0 write ["0"] (stack.toml:4)
       model.id: must be text, not 7; write "7" (stack.toml:11)
       engine.args.max-model-len: must be a whole number, or text with a unit such as "2k" or "1G", not "lots" \
(stack.toml:7)

hint: `stack config init` prints every key with its meaning
"""


@pytest.mark.fault(
    "wrong types and unknown keys in `stack.toml`",
    "exit 2 with all of them at once, each with its key, its line and the nearest valid one; nothing is started",
)
@pytest.mark.parametrize(
    "arguments",
    [["config", "show"], ["up"], ["status"], ["down"], ["warm"], ["smoke"], ["logs", "engine"], ["chat", "x"]],
)
def test_everything_that_is_wrong_is_told_at_once_before_anything_is_asked(run_stack, folder, arguments):
    (folder / "stack.toml").write_text(WRONG)
    # A daemon that does not answer would be the next thing to be told.
    run = run_stack(*arguments, DOCKER_HOST="unix:///nonexistent")
    assert (run.code, run.out) == (2, "")
    assert run.err == WRONG_TOLD


CONTRADICTING = """\
[engine]
commit = "0123456789abcdef0123456789abcdef01234567"
version = "0.31.0"
[services.engine]
port = 8123
[services.prometheus]
port = 8123
[services.gateway]
expose = true
certificate-file = "cert.pem"
"""


@pytest.mark.fault(
    "Keys of `stack.toml` that contradict one another",
    "Exit 2 with all contradictions at once, each with its keys; nothing is started",
)
def test_combinations_that_cannot_be_are_told_at_once_before_anything_is_asked(run_stack, folder, home):
    (folder / "stack.toml").write_text(CONTRADICTING)
    run = run_stack("up", DOCKER_HOST="unix:///nonexistent")
    assert (run.code, run.out) == (2, "")
    for key in ("engine.version", "services.prometheus.port", "services.gateway.certificate-key-file"):
        assert key in run.err
    assert "Traceback" not in run.err
    assert not (home / ".local" / "state").exists()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        pytest.param(
            "My Project",
            "my-project",
            marks=pytest.mark.fault(
                "A project name with spaces, quotes, unicode or `$`",
                "Exit 2 with what a name may hold and the nearest that may be; nothing is started",
            ),
        ),
        ('it\'s "$HOME"', "it-s-home"),
        ("Bücher", "b-cher"),
        ("日本", None),
        ("-x", "x"),
        ("a" * 64, "a" * 63),
    ],
)
def test_a_name_that_no_project_can_have_is_told_with_the_nearest_that_it_can(run_stack, home, name, near):
    run = run_stack("up", "--project", name, DOCKER_HOST="unix:///nonexistent")
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"error: project: `{name}` must be lower-case letters")
    assert (f"for example `{near}`" in run.err) if near else "for example" not in run.err
    assert not (home / ".local" / "state").exists()


def test_a_variable_is_named_where_it_is_wrong(run_stack):
    run = run_stack("config", "show", STACK_ENGINE_DEVICE="tpu", STACK_NOPE="1")
    assert (run.code, run.out) == (2, "")
    assert run.err == (
        "error: STACK_NOPE: unknown variable; the nearest is `STACK_PROJECT`\n"
        '       engine.device: must be `auto`, `cuda` or `cpu`, not "tpu"; the nearest is `cpu` (STACK_ENGINE_DEVICE)\n'
    )


def test_a_flag_is_named_where_it_is_wrong(run_stack):
    run = run_stack("up", "--commit", "main", DOCKER_HOST="unix:///nonexistent")
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("error: engine.commit: ")
    assert "(--commit)" in run.err


@pytest.mark.fault(
    "`stack.toml` is no TOML",
    "exit 2 with the line; nothing is started",
)
def test_a_file_that_is_no_toml_is_told_with_its_line(run_stack, folder):
    (folder / "stack.toml").write_text("[engine\n")
    run = run_stack("config", "show")
    assert (run.code, run.out) == (2, "")
    assert "stack.toml:1" in run.err.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "environ", "where"),
    [
        (["config", "show", "--config", "no.toml"], {}, "--config: no.toml"),
        (["--config", "no.toml", "config", "show"], {}, "--config: no.toml"),
        (["config", "show"], {"STACK_CONFIG": "/no.toml"}, "STACK_CONFIG: /no.toml"),
    ],
)
def test_a_file_that_was_named_and_is_not_there_is_an_error(run_stack, arguments, environ, where):
    run = run_stack(*arguments, **environ)
    assert (run.code, run.out) == (2, "")
    assert run.err == f"error: {where} does not exist\n\nhint: stack config init\n"


def test_a_new_configuration_holds_every_default_and_is_valid(run_stack, folder):
    run = run_stack("config", "init")
    assert (run.code, run.out, run.err) == (0, "wrote stack.toml and stack.schema.json\n", "")
    assert (folder / "stack.toml").read_text().startswith("#:schema ./stack.schema.json\n")
    jsonschema.Draft202012Validator.check_schema(json.loads((folder / "stack.schema.json").read_text()))
    written = run_stack("config", "show")
    (folder / "stack.toml").unlink()
    assert written.out == run_stack("config", "show").out


def test_a_configuration_that_is_there_is_replaced_only_by_force(run_stack, folder):
    (folder / "stack.toml").write_text('project = "mine"\n')
    run = run_stack("config", "init")
    assert (run.code, run.out) == (2, "")
    assert run.err == "error: stack.toml: is there already\n\nhint: --force replaces it\n"
    assert (folder / "stack.toml").read_text() == 'project = "mine"\n'
    assert run_stack("config", "init", "--force").code == 0
    assert 'project = "mine"' not in (folder / "stack.toml").read_text()


def test_a_place_that_cannot_be_written_is_told_without_a_traceback(run_stack, folder):
    (folder / "file").write_text("in the way")
    run = run_stack("config", "init", "file/stack.toml")
    assert run.code == 1
    assert run.err.startswith("error: file/stack.toml cannot be written: ")
    assert len(run.err.splitlines()) == 1


def test_each_value_is_shown_with_where_it_came_from(run_stack, folder):
    (folder / "stack.toml").write_text('[engine]\ndevice = "cuda"\n[engine.args]\nmax-num-seqs = 8\n')
    run = run_stack("config", "show", "--origin", "--project", "mine", STACK_SMOKE_CONCURRENCY="4")
    lines = run.out.splitlines()
    assert run.code == 0
    assert 'project = "mine"  # --project' in lines
    assert 'device = "cuda"  # stack.toml:2' in lines
    assert "max-num-seqs = 8  # stack.toml:4" in lines
    assert "concurrency = 4  # STACK_SMOKE_CONCURRENCY" in lines
    assert "timeout-seconds = 120  # default" in lines


def test_what_is_shown_is_a_configuration_again(run_stack, folder):
    (folder / "stack.toml").write_text('project = "mine"\n[engine.env]\nA = "$x"\n')
    first, values = run_stack("config", "show"), run_stack("config", "show", "--json")
    (folder / "stack.toml").write_text(first.out)
    assert json.loads(run_stack("config", "show", "--json").out) == json.loads(values.out)


def test_the_values_as_a_document(run_stack):
    run = run_stack("config", "show", "--json", "--origin", "--project", "mine")
    document = json.loads(run.out)
    assert (run.code, run.err, document["schema_version"]) == (0, "", 1)
    rows = {row["key"]: row for row in document["values"]}
    assert rows["project"] == {"key": "project", "value": "mine", "source": "--project", "where": "--project"}
    assert rows["engine.devices"]["value"] == "all"


def test_the_schema_is_one(run_stack, folder):
    run = run_stack("config", "schema")
    schema = json.loads(run.out)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"engine": {"device": "cpu"}})
    assert not validator.is_valid({"engine": {"device": "tpu"}})
    assert not validator.is_valid({"engin": {}})


def test_the_table_has_a_row_for_every_key(run_stack):
    table, shown = run_stack("config", "table"), run_stack("config", "show", "--json")
    rows = [line for line in table.out.splitlines() if line.startswith("| `")]
    keys = {row["key"] for row in json.loads(shown.out)["values"]}
    assert (table.code, table.err) == (0, "")
    assert all(any(key in row for row in rows) for key in keys)


def test_a_project_may_be_named_before_or_behind_the_command(run_stack):
    before = run_stack("--project", "mine", "config", "show")
    behind = run_stack("config", "show", "--project", "mine")
    assert before.out == behind.out
    assert 'project = "mine"' in before.out
