"""The verdict on the engine's image before `up` pulls it: stops, is overridden, or is left to the pull."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stack.checks.gpus import GpuReport
from stack.errors import HostError, ImageError
from stack.images.manifests import ImageConfig
from stack.images.reference import parse_reference
from stack.images.references import WantedImage
from stack.operations.images.needs import ImageNeed
from stack.operations.up import fit as up_fit
from stack.operations.up.fit import check_fit

NONE = GpuReport(reason="no NVIDIA GPU on this machine")
WANTED = WantedImage("engine", parse_reference("docker.io/vllm/vllm-openai:v1"), None)
NEED = ImageNeed("engine", "pull", "docker.io/vllm/vllm-openai:v1", "it is not here", "registry", WANTED)


@pytest.fixture
def check(make_session, monkeypatch, tmp_path):
    """A function: an image's platform and what is needed give the warnings, and whom it asked."""

    def call(served, *, need=NEED, device="cpu", root=tmp_path, **options):
        asked = []

        def fetch(desk, reference):
            asked.append(str(reference))
            if isinstance(served, Exception):
                raise served
            return SimpleNamespace(config=ImageConfig(platform=served), size_bytes=1)

        monkeypatch.setattr(up_fit.RegistryDesk, "fetch_image", fetch)
        monkeypatch.setattr(up_fit.platform, "machine", lambda: "x86_64")
        client = SimpleNamespace(info=lambda: {"DockerRootDir": str(root)})
        resolved = SimpleNamespace(needs={"engine": need}, device=SimpleNamespace(device=device))
        session = make_session('images.mirror = { "docker.io" = "mirror.example/hub" }')
        return check_fit(session, client, resolved, gpus=NONE, **options), asked

    return call


def test_an_image_that_fits_says_nothing_and_its_mirror_is_asked(check):
    assert check("linux/amd64") == ([], ["mirror.example/hub/vllm/vllm-openai:v1"])


@pytest.mark.parametrize(
    ("platform", "device", "message"),
    [
        ("linux/s390x", "cpu", "platform: the image is for linux/s390x"),
        ("linux/amd64", "cuda", "driver: no NVIDIA GPU"),
    ],
)
def test_one_that_surely_cannot_run_stops_before_it_is_pulled(check, platform, device, message):
    with pytest.raises(HostError, match=message) as caught:
        check(platform, device=device)
    assert caught.value.exit_code == 3
    assert "`stack up --anyway`" in caught.value.hint and "--device cpu" in caught.value.hint


def test_who_knows_better_is_only_warned(check):
    (warning,), _ = check("linux/s390x", anyway=True)
    assert "platform: the image is for linux/s390x" in warning


def test_what_is_not_known_is_only_warned_of(check, tmp_path):
    (warning,), _ = check("linux/amd64", root=tmp_path / "elsewhere")
    assert "it is not sure" in warning and "how much is free is not known" in warning


def test_a_registry_that_does_not_answer_is_the_pulls_to_tell(check):
    assert check(ImageError("no route"))[0] == []


@pytest.mark.parametrize("action", ["none", "build", "load"])
def test_what_is_not_pulled_is_not_asked_for(check, action):
    assert check("linux/s390x", need=ImageNeed("engine", action, "x", "y", "registry", WANTED)) == ([], [])
