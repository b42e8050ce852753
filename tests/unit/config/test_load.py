import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.config.keys import build_keys
from stack.config.load import find_config, load_config
from stack.errors import ConfigError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_without_anything_the_defaults_hold_and_say_so(load):
    loaded = load()
    assert loaded.path is None
    assert loaded.warnings == ()
    assert {origin.source for origin in loaded.origins.values()} == {"default"}
    assert loaded.config.model.volume == Path("/home/someone/.local/share/stack/models")


def test_every_key_has_an_origin(load):
    values = {key.dotted for key in build_keys() if key.kind == "value"}
    assert set(load().origins) == values


def test_flags_win_over_variables_over_the_file(load):
    toml = 'project = "file"\n[engine]\ndevice = "cuda"\n[images]\nretries = 1\n'
    environ = {"STACK_ENGINE_DEVICE": "cpu", "STACK_PROJECT": "variable"}
    loaded = load(toml, environ, {"project": "flag", "engine.device": None})
    shown = {
        key: (origin.value, origin.source, origin.where)
        for key, origin in loaded.origins.items()
        if origin.source != "default"
    }
    assert shown == {
        "project": ("flag", "--project", "--project"),
        "engine.device": ("cpu", "STACK_ENGINE_DEVICE", "STACK_ENGINE_DEVICE"),
        "images.retries": (1, "stack.toml", "stack.toml:5"),
    }


def test_entries_of_a_table_are_merged_one_by_one(load):
    toml = "[engine.args]\nmax-model-len = 1024\nseed = 1\n"
    environ = {"STACK_ENGINE_ARGS": '{"max-model-len": 2048, "dtype": "auto"}', "STACK_ENGINE_ARGS_SEED": "2"}
    loaded = load(toml, environ, {"engine.args.dtype": "float32"})
    assert loaded.config.engine.args == {"max-model-len": 2048, "seed": 2, "dtype": "float32"}
    assert loaded.origins["engine.args.dtype"].source == "--dtype"
    assert loaded.origins["engine.args.seed"].source == "STACK_ENGINE_ARGS_SEED"
    assert loaded.origins["engine.args.max-model-len"].source == "STACK_ENGINE_ARGS"


def test_variables_of_the_engine_keep_their_names(load):
    loaded = load("[engine.env]\nOMP_NUM_THREADS = 4\n", {"STACK_ENGINE_ENV_VLLM_CPU_OMP_THREADS_BIND": "0-3"})
    assert loaded.config.engine.env == {"OMP_NUM_THREADS": "4", "VLLM_CPU_OMP_THREADS_BIND": "0-3"}


def test_paths_are_relative_to_where_they_were_written(load, tmp_path):
    toml = """\
[model]
id = "./model"
token-file = "~/token"
[engine.mounts]
"/templates" = "templates"
[images]
pip-find-links = "wheels"
"""
    loaded = load(toml, {"STACK_ENGINE_CACHE_DIR": "cache"}, {"model.volume": Path("volume")})
    assert loaded.config.model.id == str(tmp_path / "model")
    assert loaded.config.model.token_file == Path("/home/someone/token")
    assert loaded.config.engine.mounts == {"/templates": tmp_path / "templates"}
    assert loaded.config.images.pip_find_links == str(tmp_path / "wheels")
    assert loaded.config.engine.cache_dir == Path("/work-dir/cache")
    assert loaded.config.model.volume == Path("/work-dir/volume")


def test_what_is_no_path_is_left_alone(load):
    toml = '[model]\nid = "org/name"\n[images]\npip-find-links = "https://wheels.example/x"\n'
    config = load(toml).config
    assert (config.model.id, config.images.pip_find_links) == ("org/name", "https://wheels.example/x")


def test_xdg_places_come_from_the_environment_that_was_passed(load):
    assert load(environ={"XDG_DATA_HOME": "/data"}).config.model.volume == Path("/data/stack/models")


def test_an_empty_variable_counts_as_not_set(load):
    assert load(environ={"STACK_ENGINE_DEVICE": ""}).config.engine.device == "auto"


def test_variables_of_tests_and_of_the_other_stack_are_left_alone(load):
    own = dict.fromkeys(("STACK_TEST_GRAFANA_IMAGE", "STACK_KEEP_FAILED", "STACK_REQUIRE", "STACK_ROOT"), "x")
    assert load(environ=own).config == load().config


def test_all_problems_are_told_at_once_each_with_its_place(problems):
    toml = """\
projct = "x"
[engine]
commit = "abc1234"
version = "0.32.0"
device = "gpu"
api_key = true
[engine.args]
--port = 8000
max-model-len = "long"
[engine.env]
HF_TOKEN = "x"
FLAG = true
[engine.mounts]
"/run" = "/x"
[model]
revision = "main"
[[smoke.canaries]]
promt = "a"
right = "b"
wrong = ["c"]
"""
    environ = {"STACK_IMAGES_RETRIES": "many", "STACK_ENGINE_DEVCE": "cpu"}
    assert problems(toml, environ, {"images.source": "hub"}) == "\n".join(
        [
            "projct: unknown key; the nearest is `project` (stack.toml:1)",
            "engine.api_key: unknown key; the nearest is `engine.api-key` (stack.toml:6)",
            "STACK_ENGINE_DEVCE: unknown variable; the nearest is `STACK_ENGINE_DEVICE`",
            "engine.env.FLAG: must be text, not true; write it in quotes (stack.toml:12)",
            "engine.args.--port: is `port`, which is set from `services.engine.port` (stack.toml:8)",
            "engine.env.HF_TOKEN: is a secret, and the engine needs no hub; write `model.token-file` (stack.toml:11)",
            'engine.mounts."/run": would cover `/run/secrets`, where the engine has secrets (stack.toml:14)',
            "engine.commit: `abc1234` is an abbreviation; write all 40 hex digits, because images are tagged "
            "with the whole commit and a short one can come to mean another (`git rev-parse` expands it) "
            "(stack.toml:3)",
            'engine.device: must be `auto`, `cuda` or `cpu`, not "gpu"; the nearest is `cuda` (stack.toml:5)',
            'images.source: must be `auto`, `registry` or `packages`, not "hub" (--images)',
            'images.retries: must be a whole number, not "many" (STACK_IMAGES_RETRIES)',
            "smoke.canaries[0].prompt: is missing (stack.toml:17)",
            "smoke.canaries[0].promt: unknown key; the nearest is `prompt` (stack.toml:17)",
            'engine.args.max-model-len: must be a whole number, or text with a unit such as "2k" or "1G", '
            'not "long" (stack.toml:9)',
            "model.revision: `main` is a revision of no model; write `model.id` too (stack.toml:16)",
        ]
    )


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            'engine = "x"',
            'engine: must be a table ([engine]), not "x"; `engine.commit` may be meant (stack.toml:1)',
        ),
        (
            'model = "a/b"',
            'model: must be a table ([model]), not "a/b"; `model.id` may be meant (stack.toml:1)',
        ),
        ("engine.args = 3", "engine.args: must be a table ([engine.args]), not 3 (stack.toml:1)"),
        ("project = 5", 'project: must be text, not 5; write "5" (stack.toml:1)'),
        (
            "images.retries = '5'",
            'images.retries: must be a whole number, not "5"; write 5 without quotes (stack.toml:1)',
        ),
        ("images.retries = true", "images.retries: must be a whole number, not true (stack.toml:1)"),
        ("images.retries = 1.5", "images.retries: must be a whole number, not 1.5 (stack.toml:1)"),
        (
            "images.timeout-seconds = nan",
            "images.timeout-seconds: must be a finite number, not nan (stack.toml:1)",
        ),
        ("smoke.enabled = 1", "smoke.enabled: must be true or false, not 1 (stack.toml:1)"),
        ("smoke.concurrency = 1", "smoke.concurrency: must be at least 2, not 1 (stack.toml:1)"),
        ("smoke.texts = 'a'", 'smoke.texts: must be a list, not "a" (stack.toml:1)'),
        ("smoke.texts = ['a']", "smoke.texts[0]: must have at least 20 characters (stack.toml:1)"),
        ("smoke.canaries = [1]", "smoke.canaries[0]: must be a table, not 1 (stack.toml:1)"),
        ("engine.mounts.'/a' = 3", 'engine.mounts."/a": must be a path, not 3 (stack.toml:1)'),
        (
            "engine.args.seed = 1979-05-27",
            "engine.args.seed: must be text, a number, true or false, a list or a table, not a date (stack.toml:1)",
        ),
        ("services.engine.cpus = 0", "services.engine.cpus: must be more than 0, not 0 (stack.toml:1)"),
        (
            "model.endpoint = 'x'",
            "model.endpoint: must be a URL that begins with `https://` or `http://` (stack.toml:1)",
        ),
    ],
)
def test_one_mistake_is_one_problem(problems, toml, message):
    assert problems(toml) == message


def test_a_key_in_place_of_true_is_not_repeated(problems):
    assert problems('engine.api-key = "hunter2"') == (
        "engine.api-key: must be true or false; the key is generated and kept in a file (stack.toml:1)"
    )


@pytest.mark.parametrize("value", ["{", "[]", "3", "null"])
def test_a_table_in_a_variable_is_a_json_object(problems, value):
    assert problems(environ={"STACK_ENGINE_ARGS": value}) == (
        "engine.args: must be a JSON object such as '{\"max-model-len\": 4096}' (STACK_ENGINE_ARGS)"
    )


def test_a_list_in_a_variable_is_a_json_list(problems):
    assert problems(environ={"STACK_SMOKE_TEXTS": "a"}).endswith("(STACK_SMOKE_TEXTS)")


def test_a_variable_that_names_a_table_is_unknown(problems):
    assert problems(environ={"STACK_ENGINE": "{}"}).startswith("STACK_ENGINE: unknown variable")


def test_a_flag_without_a_key_is_a_problem(problems):
    assert problems(flags={"engine.devcie": "cpu"}) == (
        "engine.devcie: unknown key; the nearest is `engine.device` (--devcie)"
    )


def test_unknown_keys_come_with_a_hint(load):
    with pytest.raises(ConfigError) as caught:
        load("a = 1")
    assert caught.value.hint == "`stack config init` prints every key with its meaning"


def test_a_remote_code_acknowledgement_may_come_from_another_layer(load):
    toml = "[engine.args]\ntrust-remote-code = true\n"
    assert load(toml, {"STACK_ENGINE_ALLOW_REMOTE_CODE": "1"}).config.engine.allow_remote_code


def test_a_contradiction_is_not_told_of_a_value_that_is_wrong_itself(problems):
    assert problems('[model]\nid = "gpt2"\nrevision = "main"\n').count("\n") == 0


def test_a_contradiction_is_not_told_of_a_table_that_is_wrong_itself(problems):
    message = problems('model = "a/b"', {"STACK_MODEL_REVISION": "main"})
    assert message.startswith("model: must be a table")
    assert message.count("\n") == 0


def test_warnings_say_where(load):
    loaded = load("[engine.args]\nmax-modellen = 5\n")
    assert [str(warning) for warning in loaded.warnings] == [
        "engine.args.max-modellen: is no flag of vLLM 0.32.0; another vLLM may have it; "
        "is `max-model-len` meant? (stack.toml:2)"
    ]


def test_a_default_that_the_environment_spoils_is_a_problem(problems):
    places = [f"{key}: must be a path of one line (default)" for key in ("model.volume", "images.archive-dir")]
    assert problems(environ={"XDG_DATA_HOME": "/a\nb"}).splitlines() == places


_names = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=12)
_toml_values = st.booleans() | st.integers(-9, 9) | st.sampled_from(["x", ""]) | st.lists(st.integers(0, 3), max_size=2)
_tables = st.sampled_from(["", *(key.dotted + "." for key in build_keys() if key.kind != "value")])


@given(_tables, _names, _toml_values)
def test_no_unknown_key_crashes(tmp_path_factory, table, name, value):
    path = tmp_path_factory.mktemp("config") / "stack.toml"
    path.write_text(f"{table}{name} = {json.dumps(value)}\n")
    try:
        load_config(path, {"HOME": "/h"})
    except ConfigError as err:
        assert err.problems
        assert all(problem.path and problem.message for problem in err.problems)


_variables = st.sampled_from([key.env_name for key in build_keys()])


@given(
    st.dictionaries(_variables, st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))), max_size=4)
)
def test_no_variable_crashes(environ):
    try:
        load_config(None, {"HOME": "/h", **environ})
    except ConfigError as err:
        assert err.problems


def test_the_nearest_file_is_found(tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "stack.toml").touch()
    assert find_config(deep, {}) == tmp_path / "stack.toml"
    (deep / "stack.toml").touch()
    assert find_config(deep, {}) == deep / "stack.toml"


def test_a_variable_names_the_file(tmp_path):
    assert find_config(tmp_path, {"STACK_CONFIG": "prod.toml"}) == tmp_path / "prod.toml"
    assert find_config(tmp_path, {"STACK_CONFIG": "/etc/stack.toml"}) == Path("/etc/stack.toml")
    assert find_config(tmp_path, {"STACK_CONFIG": "~/s.toml", "HOME": "/h"}) == Path("/h/s.toml")


def test_a_named_file_that_is_missing_is_a_problem(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "missing.toml", {"HOME": "/h"})
    with pytest.raises(ConfigError, match="STACK_CONFIG: names `/x.toml`, which does not exist"):
        load_config(Path("/x.toml"), {"HOME": "/h", "STACK_CONFIG": "/x.toml"})


def test_a_strangers_file_in_a_public_place_is_refused(tmp_path, monkeypatch):
    (tmp_path / "stack.toml").touch()
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    monkeypatch.setattr("stack.config.load._TRUSTED_OWNERS", frozenset())
    assert find_config(tmp_path, {}) == tmp_path / "stack.toml"
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="belongs to another user") as caught:
        find_config(tmp_path, {})
    assert caught.value.hint == f"to use it all the same: STACK_CONFIG={tmp_path / 'stack.toml'}"
