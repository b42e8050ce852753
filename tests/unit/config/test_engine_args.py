import argparse
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.config.engine_args import build_argv, check_engine_args, find_flag, warn_engine_args
from stack.config.engine_flags import JSON_LISTS, KNOWN_FLAGS, PLAIN_SWITCHES, REPEATED, SHORT_FLAGS
from stack.config.engine_reserved import RESERVED_ARGS


def _check(args, **kwargs):
    return [str(problem) for problem in check_engine_args(args, **kwargs)]


def test_the_command_line_is_sorted_and_each_kind_has_its_form():
    args = {
        "tensor-parallel-size": 2,
        "enforce-eager": True,
        "enable-prefix-caching": False,
        "gpu-memory-utilization": 0.85,
        "cudagraph-capture-sizes": [1, 2, 4],
        "compilation-config": {"mode": 3, "cudagraph_mode": "FULL"},
        "allowed-origins": ["https://a.example"],
        "middleware": ["a.b", "c.d"],
        "max-model-len": -1,
        "aggregate-engine-logging": False,
    }
    assert build_argv(args) == [
        *("--allowed-origins", '["https://a.example"]'),
        *("--compilation-config", '{"cudagraph_mode":"FULL","mode":3}'),
        *("--cudagraph-capture-sizes", "1", "2", "4"),
        "--no-enable-prefix-caching",
        "--enforce-eager",
        *("--gpu-memory-utilization", "0.85"),
        "--max-model-len=-1",
        *("--middleware", "a.b", "--middleware", "c.d"),
        *("--tensor-parallel-size", "2"),
    ]


def test_adapters_are_json_words():
    modules = [{"name": "sql", "path": "/adapters/sql"}, "chat=/adapters/chat"]
    assert build_argv({"lora-modules": modules}) == [
        "--lora-modules",
        '{"name":"sql","path":"/adapters/sql"}',
        "chat=/adapters/chat",
    ]


def test_the_order_in_stack_toml_changes_nothing():
    assert build_argv({"seed": 1, "dtype": "auto"}) == build_argv({"dtype": "auto", "seed": 1})


_names = st.sampled_from(sorted(KNOWN_FLAGS - set(RESERVED_ARGS) - PLAIN_SWITCHES - JSON_LISTS - REPEATED))
_texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
_scalars = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts
_items = st.integers(0) | st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8)
_json = st.dictionaries(_texts, _scalars | st.booleans() | st.lists(st.integers(), max_size=3), max_size=3)
_values = st.booleans() | _scalars | st.lists(_items, min_size=1, max_size=4) | _json


def _expected(value):
    if isinstance(value, list):
        return [str(item) for item in value]
    return value if isinstance(value, bool | str) else json.dumps(value, ensure_ascii=False)


@given(st.dictionaries(_names, _values, max_size=6))
def test_argparse_reads_back_what_was_written(args):
    assert not [p for p in _check(args) if "hub token" not in p and "trust-remote-code" not in p]
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name, value in args.items():
        if isinstance(value, bool):
            parser.add_argument(f"--{name}", dest=name, action=argparse.BooleanOptionalAction)
        else:
            parser.add_argument(f"--{name}", dest=name, nargs="+" if isinstance(value, list) else None)
    read = vars(parser.parse_args(build_argv(args)))
    for name, value in args.items():
        if isinstance(value, dict):
            assert json.loads(read[name]) == value
        else:
            assert read[name] == _expected(value)


@given(st.dictionaries(_names, _values, max_size=6))
def test_no_value_stands_alone_as_a_word_that_looks_like_a_flag(args):
    # vLLM reads a lone `-0.5` as a nested key, and `-O3` as a flag.
    for word in build_argv(args):
        if word.startswith("-"):
            assert word.split("=")[0].removeprefix("--").removeprefix("no-") in args


def test_the_flags_that_the_tool_sets_name_the_key_to_use_instead():
    args = {"model": "x", "port": 8001, "served-model-name": ["x"], "revision": "main", "ssl-keyfile": "/k"}
    assert _check(args) == [
        "engine.args.model: is set from `model.id`",
        "engine.args.port: is set from `services.engine.port`",
        "engine.args.served-model-name: is set from `model.served-name`",
        "engine.args.revision: is set from `model.revision`",
        "engine.args.ssl-keyfile: the tool and Prometheus speak plain HTTP to the engine on loopback; "
        "end TLS before the gateway",
    ]


@pytest.mark.parametrize("name", sorted(RESERVED_ARGS))
def test_no_spelling_of_a_reserved_flag_slips_through(name):
    for spelling in (name, f"--{name}", name.replace("-", "_"), name.upper(), f"no-{name}", f"{name}=1"):
        assert _check({spelling: "x"}), spelling


@pytest.mark.parametrize(
    "name", ["hos", "api-ke", "trust-remote", "no-trust-remote", "serve", "tensor-par", "kv-cache-memory"]
)
def test_an_abbreviation_is_refused_because_argparse_would_take_it(name):
    (problem,) = _check({name: True})
    assert "is short for" in problem or "is an abbreviation" in problem


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("--max-model-len", "write `max-model-len`"),
        ("max_model_len", "write `max-model-len`"),
        ("--max-model-len=4096", "write `max-model-len`"),
        ("Max-Model-Len", "write `max-model-len`"),
        ("max-modl_len", "write `max-model-len`"),
        ("-tp", "write `tensor-parallel-size`"),
        ("tp", "write `tensor-parallel-size`"),
        ("-O", "write `optimization-level`"),
        ("speculative-config.model", "write `speculative-config = { model = … }`"),
        ("--port", "is `port`, which is set from `services.engine.port`"),
        ("no-enforce-eager", "write `enforce-eager = false`"),
    ],
)
def test_a_badly_spelled_flag_is_told_its_right_form(name, message):
    (problem,) = _check({name: 1})
    assert message in problem


@pytest.mark.parametrize("name", ["", " ", "-", "--", "é", "a b", "\n"])
def test_what_is_no_flag_at_all_is_refused(name):
    (problem,) = _check({name: 1})
    assert "must be a long flag of `vllm serve`" in problem


def test_remote_code_needs_an_acknowledgement():
    assert _check({"trust-remote-code": True}) == [
        "engine.args.trust-remote-code: runs code that comes with the model; read that code, then write "
        "`engine.allow-remote-code = true`"
    ]
    assert _check({"trust-remote-code": True}, allow_remote_code=True) == []
    assert _check({"trust-remote-code": False}) == []


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (None, "has no value"),
        ([], "is an empty list"),
        ("a\nb", "must be one line"),
        ("a\0b", "must be one line"),
        (float("nan"), "is no number"),
        ([True], "must be a list of texts, numbers or tables"),
        ([[1]], "must be a list of texts, numbers or tables"),
        (["-x"], "begins with a dash"),
        ([-0.5], "begins with a dash"),
        ({"a": float("inf")}, "JSON cannot spell"),
        ({"a": object()}, "JSON cannot spell"),
        (object(), "must be text, a number"),
    ],
)
def test_a_value_that_cannot_be_passed_is_refused(value, part):
    (problem,) = _check({"dtype": value})
    assert part in problem


def test_a_hub_token_is_refused_and_not_repeated():
    token = "hf_" + "a" * 34
    (problem,) = _check({"tokenizer": token})
    assert "model.token-file" in problem
    assert token not in problem


def test_a_flag_that_this_vllm_does_not_have_is_a_warning():
    assert [str(warning) for warning in warn_engine_args({"max-model-length": 1, "entirely-new": True})] == [
        "engine.args.max-model-length: is no flag of vLLM 0.32.0; another vLLM may have it; is `max-model-len` meant?",
        "engine.args.entirely-new: is no flag of vLLM 0.32.0; another vLLM may have it",
    ]


@pytest.mark.parametrize(
    ("args", "part"),
    [
        ({"enforce-eager": "yes"}, "is a switch"),
        ({"dtype": True}, "takes a value"),
        ({"dtype": ["a"]}, "takes one value"),
        ({"kv-cache-memory-bytes": "1G", "gpu-memory-utilization": 0.5}, "has no effect beside"),
    ],
)
def test_a_value_of_another_kind_is_a_warning(args, part):
    (warning,) = warn_engine_args(args)
    assert part in warning.message


def test_usual_args_give_neither_problem_nor_warning():
    args = {
        "max-model-len": 2048,
        "enforce-eager": True,
        "lora-modules": ["a=/b"],
        "allowed-origins": ["*"],
        "speculative-config": {"method": "ngram"},
    }
    assert _check(args) == []
    assert warn_engine_args(args) == []


def test_every_short_flag_leads_to_a_known_one():
    assert {find_flag(f"-{short}") for short in SHORT_FLAGS} <= KNOWN_FLAGS
