"""The first cause of failures that are not in the catalogue, in logs of several processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.failures.first_cause import find_first_cause
from stack.failures.log_lines import parse_message

LOGS = Path(__file__).parents[2] / "fixtures" / "logs"
EAGER = LOGS / "vllm-0.32.0-cpu-eager.log"
SHM = LOGS / "vllm-0.32.0-cpu-shm-too-small.log"


def find(lines):
    cause = find_first_cause(lines)
    return cause and str(cause)


def test_the_first_cause_of_a_recorded_failure_is_the_root_cause_and_not_the_last_traceback():
    cause = find(SHM.read_text().splitlines())
    assert cause == (
        "RuntimeError: Insufficient space in /dev/shm for shared-memory allocation: 160 MiB required, "
        "64 MiB free. Increase /dev/shm (e.g. --shm-size or --ipc=host)."
    )


def test_a_boot_that_went_well_has_no_cause():
    assert find(EAGER.read_text().splitlines()) is None


def test_a_validation_error_is_told_with_the_line_that_says_what_is_wrong():
    lines = [
        "Traceback (most recent call last):",
        '  File "/opt/vllm/lib/python3.11/site-packages/vllm/config/model.py", line 1, in create',
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
        "  Value error, User-specified max_model_len (99999) is greater than the derived max_model_len",
        "    For further information visit https://errors.pydantic.dev/2.12/v/value_error",
    ]
    assert find(lines) == (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig "
        "Value error, User-specified max_model_len (99999) is greater than the derived max_model_len"
    )


@pytest.mark.parametrize(
    "line",
    [
        "vllm serve: error: argument --max-model-len: invalid human_readable_int_or_auto value: 'x'",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "(EngineCore pid=28) ERROR 11-21 22:04:43 [core.py:1510] ValueError: No available memory for",
    ],
)
def test_a_line_that_names_a_failure_is_a_cause(line):
    assert find(["INFO all is well", line]) == parse_message(line)


@pytest.mark.parametrize(
    "line",
    [
        "WARNING 11-21 22:04:17 [system_utils.py:255] errors like `OSError: [Errno 24] Too many open files`",
        "    raise RuntimeError(",
        "Process EngineCore:",
    ],
)
def test_a_line_that_only_mentions_a_failure_is_no_cause(line):
    assert find([line]) is None


@pytest.mark.parametrize(
    ("log", "number", "starts"),
    [
        ("context-too-long", 75, "ValueError: To serve at least one request with the model's max seq len (8192)"),
        ("weights-truncated", 107, "safetensors._safetensors_rust.SafetensorError: Error while deserializing header"),
        ("weights-do-not-fit-config", 110, "RuntimeError: The size of tensor a (768) must match the size of tensor b"),
        ("weights-pointer-header", 70, "MemoryError"),
        ("model-unreadable", 70, "PermissionError: [Errno 13] Permission denied: '/models/x/model.safetensors'"),
        ("no-kv-memory", 58, "ValueError: Available memory on node 0"),
        ("quantization-unsupported-fp8", 120, "ValueError: Failed to find a kernel that can implement the ScaledMM"),
        ("wrong-flag", 5, "vllm: error: unrecognized arguments: --max-modle-len 2048"),
        ("cuda-oom-warm-up", 12, "RuntimeError: CUDA out of memory occurred when warming up sampler"),
        ("driver-libraries-mixed", 6, "RuntimeError: Unexpected error from cudaGetDeviceCount()."),
    ],
)
def test_in_real_logs_it_is_what_the_process_said_that_failed_first(log, number, starts):
    with (LOGS / "failures" / f"{log}.log").open(newline="\n") as lines:
        cause = find_first_cause(lines)
    assert (cause.line_number, cause.text[: len(starts)]) == (number, starts)


@pytest.mark.parametrize(
    ("log", "first", "led_to"),
    [
        (
            "config-broken",
            "json.decoder.JSONDecodeError: Unterminated string",
            "OSError: It looks like the config file",
        ),
        ("hub-unreachable", "httpcore.ConnectError: [Errno -3]", "OSError: We couldn't connect to"),
    ],
)
def test_of_chained_exceptions_the_first_is_the_cause_and_the_last_says_what_it_led_to(log, first, led_to):
    with (LOGS / "failures" / f"{log}.log").open(newline="\n") as lines:
        cause = find_first_cause(lines)
    assert cause.text.startswith(first)
    assert cause.led_to.startswith(led_to)


def test_a_process_that_only_says_that_another_failed_is_the_cause_of_nothing():
    echo = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
    assert find([echo, "KeyError: 'x'"]) == "KeyError: 'x'"
    assert find([echo]) == echo


def test_another_processes_traceback_is_no_part_of_the_chain():
    lines = [
        "(Worker pid=1) ERROR 11-21 22:04:43 [x.py:1] KeyError: 'a'",
        "Process EngineCore:",
        "The above exception was the direct cause of the following exception:",
        "ValueError: of another process",
    ]
    assert find(lines) == "KeyError: 'a'"


def test_an_exception_of_another_process_is_not_what_the_first_led_to():
    lines = [
        "(Worker pid=1) KeyError: 'a'",
        "(Worker pid=1) During handling of the above exception, another exception occurred:",
        "(EngineCore pid=2) ValueError: of another process",
    ]
    assert find(lines) == "KeyError: 'a'"
    assert find([*lines[:2], "(Worker pid=1) OSError: of the same"]).endswith("(which led to: OSError: of the same)")


def test_a_warning_is_no_cause_even_if_it_begins_like_one():
    warning = "(APIServer pid=1) WARNING 11-21 22:04:43 [x.py:1] OSError: harmless"
    assert find([warning]) is None
    assert find([warning, "ValueError: x"]) == "ValueError: x"


def test_an_error_line_is_told_where_no_exception_is():
    lines = ["(APIServer pid=1) ERROR 11-21 22:04:43 [x.py:1] Cannot open the log file"]
    assert find(lines) == "Cannot open the log file"
    assert find([*lines, "OSError: x"]) == "OSError: x"


def test_what_an_engine_served_in_spite_of_is_not_the_cause_of_a_later_failure():
    served = "INFO:     Application startup complete."
    assert find(["KeyError: 1", served, "ValueError: 2"]) == "ValueError: 2"
    assert find(["KeyError: 1", served]) is None


@pytest.mark.parametrize(
    "line",
    [
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "Fatal Python error: Segmentation fault",
        "/bin/sh: 1: vllm: not found",
        "exec /usr/bin/vllm: exec format error",
        "vllm: error while loading shared libraries: libcuda.so.1: cannot open shared object file",
        "Bus error",
        "docker: Error response from daemon: failed to fulfil mount request: open /x.so: no such file or directory",
        'Error response from daemon: Head "https://registry.example/v2/": net/http: TLS handshake timeout',
        "nvidia-container-cli: ldcache error: open failed: /sbin/ldconfig.real: no such file or directory",
    ],
)
def test_programs_that_are_no_python_name_causes_too(line):
    assert find(["Starting", line]) == line


def test_a_bare_exception_counts_only_behind_a_traceback():
    assert find(["MemoryError"]) is None
    assert (
        find(["Traceback (most recent call last):", '  File "x", line 1, in f', "    f()", "MemoryError"])
        == "MemoryError"
    )
