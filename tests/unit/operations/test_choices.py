"""What `auto` comes to on known machines: device, GPUs and model, each with its reason."""

from __future__ import annotations

import pytest

from stack.checks.cuda_support import DEFAULT_IMAGE, build_variant
from stack.checks.gpus import GpuReport, read_gpus
from stack.errors import HostError
from stack.operations.choices import DeviceChoice, choose_device, choose_model, narrow_to_one_gpu
from tests.fixtures.fake_nvml import GTX_1080, H100, RTX_4090, RTX_PRO_6000, build_nvml

GIB = 1024**3


@pytest.fixture
def choose(make_session, tmp_path):
    """A function: stack.toml and boards give the device."""

    def call(toml="", *boards, has_runtime=True, image=DEFAULT_IMAGE, **nvml):
        report = read_gpus(build_nvml(*boards, **nvml), tmp_path / "no-pci")
        return choose_device(make_session(toml).config, report, image, lambda: has_runtime)

    return call


def test_one_board_is_taken_with_its_name_and_driver(choose):
    found = choose("", RTX_4090)
    assert str(found.choice) == "engine.device = cuda: NVIDIA GeForce RTX 4090 with driver 580.95.05"
    assert (found.devices, found.warnings) == (("0",), ())


def test_no_board_gives_a_cpu_engine_and_the_reason(choose):
    found = choose("", init_error="NVML Shared Library Not Found")
    assert str(found.choice) == "engine.device = cpu: no NVIDIA GPU on this machine"
    assert (found.device, found.gpus) == ("cpu", ())


def test_a_driver_that_is_too_old_gives_a_cpu_engine_and_the_reason(choose):
    found = choose("", RTX_PRO_6000, driver="570.86.15")
    assert found.choice.reason == (
        "driver 570.86.15 is too old for CUDA 13.0: 580 or newer is needed (vLLM's default images)"
    )
    assert found.device == "cpu"


@pytest.mark.parametrize(("board", "driver"), [(RTX_4090, "575.51.03"), (H100, "570.86.15"), (H100, "535.54")])
def test_an_image_with_cuda_12_9_lets_older_drivers_have_their_gpu(choose, board, driver):
    found = choose("", board, driver=driver, image=build_variant("cu129"))
    assert (found.device, found.devices, found.warnings) == ("cuda", ("0",), ())
    assert choose("", board, driver=driver).device == "cpu"


def test_what_may_work_is_left_alone_by_auto_and_tried_with_a_warning_where_it_was_asked_for(choose):
    assert choose("", H100, driver="570.86.15").device == "cpu"
    found = choose('[engine]\ndevice = "cuda"\n', H100, driver="570.86.15")
    assert (found.device, len(found.warnings)) == ("cuda", 1)
    assert "VLLM_ENABLE_CUDA_COMPATIBILITY" in found.warnings[0]
    switched_on = '[engine.env]\nVLLM_ENABLE_CUDA_COMPATIBILITY = "1"\n'
    found = choose(switched_on, H100, driver="570.86.15")
    assert (found.device, found.warnings) == ("cuda", ())


def test_a_driver_that_another_variant_runs_on_gets_that_as_a_hint(choose):
    with pytest.raises(HostError) as caught:
        choose('[engine]\ndevice = "cuda"\n', RTX_4090, driver="575.51.03")
    assert "580 or newer" in caught.value.hint
    assert "`stack pin latest --cuda cu129`" in caught.value.hint


def test_a_daemon_without_the_toolkit_gives_a_cpu_engine_and_the_reason(choose):
    found = choose("", RTX_4090, has_runtime=False)
    assert found.device == "cpu"
    assert found.choice.reason == (
        "the Docker daemon has no NVIDIA runtime and no CDI device (install the NVIDIA container toolkit)"
    )


def test_the_daemon_is_asked_only_beside_a_fit_board(make_session):
    def ask():
        raise AssertionError("there is nothing to give")

    choose_device(make_session("").config, GpuReport(reason="no NVIDIA GPU on this machine"), DEFAULT_IMAGE, ask)


@pytest.mark.parametrize(
    ("boards", "options"),
    [((), {}), ((GTX_1080,), {}), ((RTX_4090,), {"has_runtime": False}), ((RTX_4090,), {"driver": "535.1"})],
)
def test_cuda_that_was_asked_for_is_had_or_refused_and_never_replaced(choose, boards, options):
    with pytest.raises(HostError) as caught:
        choose('[engine]\ndevice = "cuda"\n', *boards, **options)
    assert caught.value.message.startswith('`engine.device = "cuda"` cannot be had: ')
    assert caught.value.exit_code == 3
    assert "--device cpu" in caught.value.hint


@pytest.mark.parametrize(
    ("boards", "options", "helps"),
    [
        ((), {"init_error": "NVML Shared Library Not Found"}, set()),
        ((GTX_1080,), {}, set()),
        ((RTX_4090,), {"has_runtime": False}, {"toolkit"}),
        ((RTX_4090,), {"driver": "535.1"}, {"driver"}),
    ],
)
def test_the_hint_names_only_what_would_help(choose, boards, options, helps):
    with pytest.raises(HostError) as caught:
        choose('[engine]\ndevice = "cuda"\n', *boards, **options)
    assert {word for word in ("toolkit", "driver") if word in caught.value.hint} == helps


def test_beside_a_gpu_without_a_driver_the_hint_names_the_driver(make_session):
    config = make_session('[engine]\ndevice = "cuda"\n').config
    report = GpuReport(reason="an NVIDIA GPU is here, but its driver does not answer (Driver Not Loaded)")
    with pytest.raises(HostError) as caught:
        choose_device(config, report, DEFAULT_IMAGE, lambda: False)
    assert "driver 580 or newer" in caught.value.hint


def test_cuda_that_was_asked_for_says_so(choose):
    found = choose('[engine]\ndevice = "cuda"\n', H100)
    assert str(found.choice) == 'engine.device = cuda: `engine.device = "cuda"` asks for it'
    assert not found.choice.is_automatic


def test_a_cpu_that_was_asked_for_is_not_questioned(choose):
    found = choose('[engine]\ndevice = "cpu"\n', H100)
    assert str(found.choice) == 'engine.device = cpu: `engine.device = "cpu"` asks for it'


def test_two_boards_of_one_kind_are_both_taken(choose):
    found = choose("", H100, H100)
    assert (found.devices, found.warnings) == (("0", "1"), ())


def test_of_two_different_boards_the_one_with_more_room_is_taken_with_a_warning(choose):
    found = choose("", RTX_4090, RTX_PRO_6000)
    assert found.devices == ("1",)
    assert found.warnings == (
        "one GPU of 2 is used, because NVIDIA GeForce RTX 4090 and NVIDIA RTX PRO 6000 Blackwell Workstation "
        "Edition are not alike; `engine.devices` chooses",
    )


def test_who_sets_a_tensor_parallel_size_gets_different_boards_too(choose):
    found = choose("[engine.args]\ntensor-parallel-size = 2\n", RTX_4090, RTX_PRO_6000)
    assert (found.devices, found.warnings) == (("0", "1"), ())


def test_a_board_that_is_too_old_is_left_out(choose):
    found = choose("", GTX_1080, RTX_4090)
    assert found.devices == ("1",)
    assert [gpu.name for gpu in found.gpus] == ["NVIDIA GeForce RTX 4090"]


@pytest.mark.parametrize(
    ("devices", "taken"), [('["1"]', ("1",)), ('["GPU-00000001", "0"]', ("GPU-00000001", "0")), ("1", ("0",))]
)
def test_the_devices_that_were_asked_for_are_taken(choose, devices, taken):
    assert choose(f"[engine]\ndevices = {devices}\n", H100, H100).devices == taken


def test_a_number_of_devices_counts_those_that_are_fit(choose):
    assert choose("[engine]\ndevices = 1\n", GTX_1080, RTX_4090).devices == ("1",)
    with pytest.raises(HostError, match="`engine.devices = 2`, but 1 GPUs of this machine are fit for vLLM"):
        choose("[engine]\ndevices = 2\n", GTX_1080, RTX_4090)


def test_a_device_that_is_not_here_is_refused_with_those_that_are(choose):
    with pytest.raises(HostError) as caught:
        choose('[engine]\ndevices = ["4"]\n', H100, RTX_4090)
    assert caught.value.message == (
        "`engine.devices` names GPU `4`, which is not here; there are: 0 (NVIDIA H100 80GB HBM3), "
        "1 (NVIDIA GeForce RTX 4090)"
    )


def test_a_device_that_vllm_has_no_kernels_for_is_refused(choose):
    with pytest.raises(HostError, match="NVIDIA GeForce GTX 1080 has compute capability 6.1; the image has 7.5, 8.0"):
        choose('[engine]\ndevices = ["0"]\n', GTX_1080, RTX_4090)


@pytest.mark.parametrize(
    ("heads", "reason"),
    [
        (9, "2 GPUs do not divide the model's 9 attention heads"),
        (None, "the model's attention heads are not known"),
    ],
)
def test_a_model_that_two_boards_cannot_share_gets_one_of_them(choose, make_session, heads, reason):
    found = narrow_to_one_gpu(choose("", H100, H100), heads, make_session("").config)
    assert found.devices == ("0",)
    assert found.warnings == (f"one GPU of 2 is used, because {reason}; `engine.devices` chooses",)


def test_a_model_that_two_boards_can_share_gets_both(choose, make_session):
    found = narrow_to_one_gpu(choose("", H100, H100), 64, make_session("").config)
    assert (found.devices, found.warnings) == (("0", "1"), ())


def test_devices_that_were_asked_for_stay_and_the_reason_is_told(choose, make_session):
    toml = "[engine]\ndevices = 2\n"
    found = narrow_to_one_gpu(choose(toml, H100, H100), 9, make_session(toml).config)
    assert found.devices == ("0", "1")
    assert len(found.warnings) == 1


def test_a_tensor_parallel_size_that_was_asked_for_is_the_users_affair(choose, make_session):
    toml = "[engine.args]\ntensor-parallel-size = 2\n"
    found = narrow_to_one_gpu(choose(toml, H100, H100), 9, make_session(toml).config)
    assert (found.devices, found.warnings) == (("0", "1"), ())


CPU = "cpu"


@pytest.fixture
def cpu(choose):
    return choose('[engine]\ndevice = "cpu"\n')


def refuse():
    raise AssertionError("the hub must not be asked")


def test_a_model_that_was_asked_for_is_taken_and_nobody_is_asked(make_session, cpu):
    config = make_session('[model]\nid = "acme/tiny"\n').config
    choice = choose_model(config, "other/model", cpu, refuse)
    assert (str(choice), choice.is_automatic) == ("model.id = acme/tiny: asked for", False)


def test_the_model_of_the_lock_stays_though_another_would_be_chosen_today(make_session, cpu):
    choice = choose_model(make_session("").config, "demo", cpu, refuse)
    assert str(choice) == "model.id = demo: as stack.lock has it from an earlier `up`"


def test_without_a_hub_the_demo_model_is_chosen_with_the_reason(make_session, cpu):
    choice = choose_model(make_session("").config, None, cpu, lambda: (False, "connection refused"))
    assert choice.value == "demo"
    assert "connection refused" in choice.reason


def test_a_gpu_gets_the_model_that_fits_what_the_desktop_leaves(make_session, choose):
    device = choose("", RTX_4090)
    choice = choose_model(make_session("").config, None, device, lambda: (True, "it answers"))
    assert choice.value == "Qwen/Qwen2.5-7B-Instruct"
    assert choice.reason == "the largest of the defaults that fits 22.5 GiB of free GPU memory"


def test_two_boards_choose_by_the_smaller_room(make_session, choose):
    device = choose("", H100, ("NVIDIA H100 80GB HBM3", 81559, 30000, (9, 0)))
    assert isinstance(device, DeviceChoice)
    choice = choose_model(make_session("").config, None, device, lambda: (True, ""))
    assert choice.value == "Qwen/Qwen2.5-7B-Instruct"
