"""The command that tries a GPU in the engine's image, and what it says."""

from __future__ import annotations

import ast
import json

import pytest

from stack.checks.gpu_test import build_gpu_test_argv, parse_gpu_test


def print_result(**changes):
    gpu = {"name": "NVIDIA GeForce RTX 4090", "capability": [8, 9], "is_right": True}
    document = {"torch": "2.11.0", "cuda": "13.0", "gpus": [gpu]} | changes
    return f"some warning\nstack-gpu-test {json.dumps(document)}\n"


@pytest.mark.parametrize(
    ("devices", "said"), [("all", "all"), (2, "2"), (("0", "GPU-aa"), '"device=0,GPU-aa"')], ids=str
)
def test_the_container_gets_the_engines_gpus(devices, said):
    argv = build_gpu_test_argv("sha256:abc", devices, "mine", {})
    assert argv[argv.index("--gpus") + 1] == said


@pytest.mark.parametrize(
    ("environ", "given"),
    [
        ({"HF_TOKEN": "secret", "VLLM_ENABLE_CUDA_COMPATIBILITY": "0"}, ["VLLM_ENABLE_CUDA_COMPATIBILITY=0"]),
        ({"NVIDIA_DISABLE_REQUIRE": "1"}, ["NVIDIA_DISABLE_REQUIRE=1"]),
        (
            {"VLLM_ENABLE_CUDA_COMPATIBILITY": "1"},
            ["VLLM_ENABLE_CUDA_COMPATIBILITY=1", "LD_LIBRARY_PATH=/usr/local/cuda/compat"],
        ),
        (
            {"VLLM_ENABLE_CUDA_COMPATIBILITY": "1", "VLLM_CUDA_COMPATIBILITY_PATH": "/compat"},
            ["VLLM_ENABLE_CUDA_COMPATIBILITY=1", "LD_LIBRARY_PATH=/compat"],
        ),
    ],
)
def test_the_container_gets_what_decides_which_driver_will_do_and_nothing_else(environ, given):
    argv = build_gpu_test_argv("sha256:abc", "all", "mine", environ)
    said = [after for word, after in zip(argv, argv[1:], strict=False) if word == "--env"]
    assert said[2:] == given


def test_the_container_has_no_more_rights_than_the_engine_and_fetches_nothing():
    argv = build_gpu_test_argv("sha256:abc", "all", "mine", {})
    text = " ".join(argv[:-1])
    for words in (
        "--rm", "--name mine", "--pull never", "--network none", "--read-only", "--cap-drop ALL",
        "--security-opt no-new-privileges:true", "--user 2000:0", "--entrypoint python3 sha256:abc -c",
    ):  # fmt: skip
        assert words in text


def test_the_script_is_python():
    ast.parse(build_gpu_test_argv("sha256:abc", "all", "mine", {})[-1])


def test_a_gpu_that_computes_has_no_problem():
    result = parse_gpu_test(print_result())
    assert (result.gpus, result.cuda, result.problem) == (("NVIDIA GeForce RTX 4090",), "13.0", None)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"cuda": None, "gpus": []}, "the image's PyTorch 2.11.0 was built without CUDA"),
        ({"gpus": []}, "the container got no GPU"),
        ({"gpus": [{"name": "B", "is_right": False}]}, "B computes wrong sums"),
    ],
)
def test_what_is_wrong_is_said(changes, problem):
    assert parse_gpu_test(print_result(**changes)).problem == problem


@pytest.mark.parametrize("text", ["", "Traceback", "stack-gpu-test {", "stack-gpu-test []", "stack-gpu-test {}"])
def test_what_cannot_be_read_is_no_result(text):
    assert parse_gpu_test(text) is None
