import pytest

from stack.config.engine_limits import check_engine_limits, warn_engine_limits


def _check(args, **kwargs):
    return [str(problem) for problem in check_engine_limits(args, **kwargs)]


@pytest.mark.parametrize("value", [1, 4096, -1, "auto", "8k", "1K", "25.6k"])
def test_a_context_length_is_taken_in_every_form_that_vllm_takes(value):
    assert _check({"max-model-len": value}) == []


@pytest.mark.parametrize(("value", "shown"), [(0, "0"), (True, "true"), ("much", '"much"'), (1.5, "1.5"), ([1], "[1]")])
def test_a_context_length_that_is_no_number_is_refused(value, shown):
    assert _check({"max-model-len": value}) == [
        f'engine.args.max-model-len: must be a whole number, or text with a unit such as "2k" or "1G", not {shown}'
    ]


@pytest.mark.parametrize("value", [0, 1.01, 92, "0.9", True])
def test_a_memory_share_outside_its_range_is_refused(value):
    (problem,) = _check({"gpu-memory-utilization": value})
    assert "must be a share of memory above 0 and up to 1" in problem


def test_quiet_logs_are_refused_because_phases_are_read_from_them():
    (problem,) = _check({"log-level": "ERROR"})
    assert "only INFO and DEBUG" in problem
    assert _check({"log-level": "debug"}) == []


def test_several_gpus_contradict_the_cpu():
    assert _check({"tensor-parallel-size": 2, "pipeline-parallel-size": 1}, device="cpu") == [
        "engine.args.tensor-parallel-size: 2 needs that many GPUs, and `engine.device` is `cpu`"
    ]


@pytest.mark.parametrize("devices", [2, ["0", "3"]])
def test_more_gpus_than_are_given_are_refused(devices):
    assert _check({"tensor-parallel-size": 2, "data-parallel-size": 2}, devices=devices) == [
        "engine.args.tensor-parallel-size: tensor-parallel-size 2 x data-parallel-size 2 needs 4 GPUs, "
        "and `engine.devices` gives 2"
    ]
    assert _check({"tensor-parallel-size": 2}, devices=devices) == []


def test_all_gpus_are_counted_only_by_the_host():
    assert _check({"tensor-parallel-size": 8}, device="cuda", devices="all") == []


def test_a_wrong_parallel_size_is_one_problem():
    (problem,) = _check({"tensor-parallel-size": "two"}, device="cpu")
    assert "must be a whole number of 1 or more" in problem


@pytest.mark.parametrize(
    ("args", "part"),
    [
        ({"api-server-count": 2}, "out of the metrics"),
        ({"chat-template": "/templates/x.jinja"}, "nothing in [engine.mounts] brings it there"),
        ({"chat-template": "~/x.jinja"}, "is a path in the container"),
        ({"tokenizer": "org/name"}, "no access to the hub"),
    ],
)
def test_what_will_not_work_in_the_container_is_a_warning(args, part):
    (warning,) = warn_engine_limits(args)
    assert part in warning.message


def test_a_mounted_template_gives_no_warning():
    assert warn_engine_limits({"chat-template": "/templates/x.jinja"}, ["/templates"]) == []
