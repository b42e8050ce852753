"""An engine from the wheel of a commit: which torch it takes, and from where."""

from stack.images.recipe import build_base_recipe, build_engine_recipe

BASE = build_base_recipe("bookworm", "http://deb.debian.org/debian")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WHEEL = "https://wheels.example/vllm-0.32.1.dev7%2Bg012345678.cpu-cp38-abi3-manylinux_2_28_x86_64.whl"


def build_arguments(device):
    return dict(build_engine_recipe(device, BASE, version="0.32.1.dev7", commit=COMMIT, wheel=WHEEL).arguments)


def test_no_wheel_is_told_which_torch_it_was_built_against():
    assert build_arguments("cpu")["TORCH"] == build_arguments("cuda")["TORCH"] == ""


def test_a_cpu_wheel_takes_torch_from_the_cpu_index_and_a_cuda_wheel_from_pypi():
    assert build_arguments("cpu")["TORCH_INDEX"] == "https://download.pytorch.org/whl/cpu"
    assert build_arguments("cuda")["TORCH_INDEX"] == ""
