"""`stack warm`: which model, where it comes from, and what may be removed beside it."""

from __future__ import annotations

import pytest
from docker.errors import ImageNotFound

from stack.checks.gpus import read_gpus
from stack.config.lock import Lock, LockedImage, LockedModel, write_lock
from stack.errors import ConfigError, HostError, ModelError
from stack.operations import warm
from stack.operations.warm import run_warm
from tests.fixtures.fake_nvml import RTX_4090, build_nvml

REVISION = "0123456789abcdef0123456789abcdef01234567"


class FakeDocker:
    """A daemon without images."""

    def __init__(self, *runtimes):
        self._runtimes = runtimes
        self.images = self

    def info(self):
        return {"Runtimes": dict.fromkeys(self._runtimes, {})}

    def get(self, name):
        raise ImageNotFound(name)


@pytest.fixture
def world(make_snapshot, monkeypatch, tmp_path):
    """What the operation asks of other rooms, noted and answered."""
    asked = {}

    def ensure(reference, **options):
        asked.update(options, reference=reference)
        return make_snapshot()

    def set_up(*boards, driver="580.95.05", hub=(True, "it answers"), problems=(), mounted=(), snapshots=()):
        monkeypatch.setattr(
            warm, "read_gpus", lambda: read_gpus(build_nvml(*boards, driver=driver), tmp_path / "no-pci")
        )
        monkeypatch.setattr(warm, "is_hub_reachable", lambda endpoint, timeout: hub)
        monkeypatch.setattr(warm, "ensure_snapshot", ensure)
        monkeypatch.setattr(warm, "check_snapshot", lambda snapshot, deep, report: list(problems))
        monkeypatch.setattr(warm, "read_into_page_cache", lambda snapshot, report: 120)
        monkeypatch.setattr(warm, "read_mounted_folders", lambda client, label: list(mounted))
        monkeypatch.setattr(warm, "list_snapshots", lambda volume: list(snapshots))
        monkeypatch.setattr(warm, "prune", lambda volume, kept: asked.update(kept=kept) or [])
        return asked

    return set_up


def test_without_a_gpu_the_small_model_of_the_hub_is_warmed(make_session, world, said):
    asked = world()
    result = run_warm(make_session(connect=FakeDocker), verify=False, prune_others=False)
    assert asked["reference"].id == "HuggingFaceTB/SmolLM2-360M-Instruct"
    assert (result.read_bytes, result.verified_files, result.pruned) == (120, 0, ())
    assert said == ["model.id = HuggingFaceTB/SmolLM2-360M-Instruct: a small model from the hub, for a CPU"]


@pytest.mark.parametrize(("variant", "model"), [("cu129", "Qwen/Qwen2.5-7B-Instruct"), (None, "SmolLM2-360M-Instruct")])
def test_the_driver_counts_for_the_image_that_the_lock_has(make_session, world, variant, model):
    asked = world(RTX_4090, driver="575.51.03")
    session = make_session(connect=lambda: FakeDocker("nvidia"))
    image = LockedImage(reference="docker.io/vllm/vllm-openai:v0.31.0", variant=variant, source="registry")
    write_lock(session.lock_path, Lock(images={"engine/cuda": image}))
    run_warm(session, verify=False, prune_others=False)
    assert asked["reference"].id.endswith(model)


def test_the_model_is_the_one_that_up_would_choose(make_session, world):
    asked = world(RTX_4090)
    run_warm(make_session(connect=lambda: FakeDocker("nvidia")), verify=False, prune_others=False)
    assert asked["reference"].id == "Qwen/Qwen2.5-7B-Instruct"
    run_warm(make_session(connect=lambda: FakeDocker("runc")), verify=False, prune_others=False)
    assert asked["reference"].id == "HuggingFaceTB/SmolLM2-360M-Instruct"


def test_a_machine_whose_docker_is_not_there_yet_is_judged_by_its_gpu(make_session, world):
    def refuse():
        raise HostError("the Docker daemon does not answer")

    asked = world(RTX_4090)
    run_warm(make_session(connect=refuse), verify=False, prune_others=False)
    assert asked["reference"].id == "Qwen/Qwen2.5-7B-Instruct"


def test_without_a_hub_the_demo_model_is_warmed(make_session, world):
    asked = world(hub=(False, "connection refused"))
    run_warm(make_session(connect=FakeDocker), verify=False, prune_others=False)
    assert asked["reference"].kind == "demo"


def test_the_locked_revision_is_asked_for_again(make_session, world):
    asked = world()
    session = make_session(connect=FakeDocker)
    write_lock(session.lock_path, Lock(model=LockedModel(id="acme/tiny", revision=REVISION)))
    run_warm(session, verify=False, prune_others=False)
    assert (asked["reference"].id, asked["locked_revision"], asked["revision"]) == ("acme/tiny", REVISION, None)


def test_a_configured_commit_comes_before_the_locked_one(make_session, world):
    other = "89abcdef0123456789abcdef0123456789abcdef"
    asked = world()
    session = make_session(f'[model]\nid = "acme/tiny"\nrevision = "{other}"\n', connect=FakeDocker)
    write_lock(session.lock_path, Lock(model=LockedModel(id="acme/tiny", revision=REVISION)))
    run_warm(session, verify=False, prune_others=False)
    assert asked["locked_revision"] == other


def test_verified_files_are_counted(make_session, world):
    asked = world()
    assert run_warm(make_session(connect=FakeDocker), verify=True, prune_others=False).verified_files == 2
    assert asked["deep"] is True


def test_a_damaged_file_of_a_directory_is_told_with_what_to_do(make_session, world, tmp_path):
    world(problems=["model.safetensors: other hash"])
    session = make_session(f'[model]\nid = "{tmp_path}"\n', connect=FakeDocker)
    with pytest.raises(ModelError) as caught:
        run_warm(session, verify=True, prune_others=False)
    assert caught.value.message.endswith("model.safetensors: other hash")
    assert "bring the old files of your directory back" in caught.value.hint


def test_only_what_no_container_and_no_lock_uses_may_be_removed(make_session, make_snapshot, world, tmp_path):
    used = make_snapshot(id="in/use", mount_root=tmp_path / "used", revision="1" * 40)
    locked = make_snapshot(id="in/lock", mount_root=tmp_path / "locked", revision="2" * 40)
    stray = make_snapshot(id="in/nobodys", mount_root=tmp_path / "stray", revision="3" * 40)
    asked = world(mounted=[str(tmp_path / "used")], snapshots=[used, locked, stray])
    session = make_session(connect=FakeDocker)
    other = session.paths.state.parent / "other"
    other.mkdir(parents=True)
    write_lock(other / "stack.lock", Lock(model=LockedModel(id="in/lock", revision="2" * 40)))
    run_warm(session, verify=False, prune_others=True)
    assert asked["kept"] == {make_snapshot().key, used.key, locked.key}


def test_a_directory_that_is_not_there_is_a_fault_of_the_configuration_as_it_is_for_up(make_session, world):
    asked = world()
    with pytest.raises(ConfigError, match=r"model\.id: `.*/gone` does not exist") as caught:
        run_warm(make_session('model.id = "./gone"\n'), verify=False, prune_others=False)
    assert (caught.value.exit_code, asked) == (2, {})
