import pytest

from stack.config.engine_env import check_engine_env, is_secret_name, warn_engine_env
from stack.config.engine_reserved import RESERVED_ENV


def _check(env, **kwargs):
    return [str(problem) for problem in check_engine_env(env, **kwargs)]


def test_usual_variables_are_taken():
    env = {
        "OMP_NUM_THREADS": "4",
        "TOKENIZERS_PARALLELISM": "false",
        "https_proxy": "http://proxy.example:3128",
    }
    assert _check(env) == []


def test_variables_that_the_tool_sets_are_refused_with_the_reason():
    env = dict.fromkeys(("VLLM_PORT", "VLLM_API_KEY", "HF_TOKEN", "VLLM_CACHE_ROOT", "CUDA_VISIBLE_DEVICES"), "x")
    assert _check(env) == [
        "engine.env.VLLM_PORT: is vLLM's internal port, not that of the API; write `services.engine.port`",
        "engine.env.VLLM_API_KEY: is a secret; write `engine.api-key = true` (the key is kept in a file)",
        "engine.env.HF_TOKEN: is a secret, and the engine needs no hub; write `model.token-file`",
        "engine.env.VLLM_CACHE_ROOT: the tool keeps the engine's caches on their own volume; write `engine.cache-dir`",
        "engine.env.CUDA_VISIBLE_DEVICES: is set from `engine.devices`",
    ]


@pytest.mark.parametrize("name", sorted(RESERVED_ENV))
def test_another_case_does_not_slip_through(name):
    assert _check({name.lower(): "x"})


@pytest.mark.parametrize(
    "name", ["AWS_SECRET_ACCESS_KEY", "MY_TOKEN", "DB_PASSWORD", "OPENAI_API_KEY", "SSH_PRIVATE_KEY"]
)
def test_what_looks_like_a_secret_is_refused_and_not_repeated(name):
    (problem,) = _check({name: "hunter2"})
    assert "secrets are files" in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "MAX_TOKENS", "KEYBOARD", "VLLM_SECRETARY"])
def test_names_that_only_resemble_secrets_are_taken(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("my-var", "write `MY_VAR`"),
        ("my_var", "write `MY_VAR`"),
        ("1A", "must be upper-case"),
        ("", "must be"),
    ],
)
def test_a_malformed_name_is_told_its_right_form(name, part):
    (problem,) = _check({name: "x"})
    assert part in problem


@pytest.mark.parametrize("value", ["a\nb", "a\0b"])
def test_a_value_of_several_lines_is_refused(value):
    assert _check({"A": value}) == ["engine.env.A: must be one line"]


def test_a_hub_token_in_any_variable_is_refused():
    token = "hf_" + "a" * 34
    (problem,) = _check({"INNOCENT": token})
    assert token not in problem


def test_quiet_logs_are_refused():
    assert _check({"VLLM_LOGGING_LEVEL": "DEBUG"}) == []
    (problem,) = _check({"VLLM_LOGGING_LEVEL": "warning"})
    assert "boot phases" in problem


def test_the_cache_size_is_given_once():
    (problem,) = _check({"VLLM_CPU_KVCACHE_SPACE": "4"}, arg_names=frozenset({"kv-cache-memory-bytes"}))
    assert "says the same as `engine.args.kv-cache-memory-bytes`" in problem


def test_risky_switches_are_warnings():
    (warning,) = warn_engine_env({"VLLM_SERVER_DEV_MODE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "0"})
    assert str(warning).startswith("engine.env.VLLM_SERVER_DEV_MODE: lets every program")
