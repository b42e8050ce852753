"""A GPU that Docker cannot give: the daemon's own refusal, met by the tool; on the fake engine's image.

The tool never gets that far on a machine without a GPU, because it refuses CUDA before. So the layout is rendered
here, and brought up as the tool does it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import docker
import pytest

from stack.assets import asset_path
from stack.checks.gpus import read_gpus
from stack.containers.compose import ComposeProject
from stack.containers.daemon import connect, read_services
from stack.containers.layout import Layout, Service
from stack.containers.render import render_json, render_override
from stack.errors import CommandError
from stack.operations.session import has_gpu_runtime
from tests.scenarios.harness import Stack

CAUSE = "Docker has no NVIDIA runtime, so it cannot give a GPU to a container"


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    made = connect()
    if has_gpu_runtime(made):
        made.close()
        pytest.skip("this machine's Docker can give a GPU to a container; its refusal is tested elsewhere")
    yield made
    made.close()


@pytest.fixture(scope="module")
def project(make_stack: Callable[..., Stack], fake_engine: str, client: docker.DockerClient) -> ComposeProject:
    """A Compose project with a GPU reservation, in folders that go with the test."""
    stack = make_stack("gpu")
    service = Service("engine", fake_engine, command=("/models/none", "--served-model-name", "fake"))
    layout = Layout(stack.name, "cuda", "all", {"engine": service}, {})
    override = stack.folder / "compose.override.json"
    override.write_text(render_json(render_override(layout)))
    files = [asset_path("compose", name) for name in layout.compose_files]
    return ComposeProject([*files, override], stack.name, stack.folder)


@pytest.fixture(scope="module")
def refusal(project: ComposeProject) -> CommandError:
    with pytest.raises(CommandError) as caught:
        project.up(["engine"])
    return caught.value


def test_the_gpus_that_were_asked_for_are_demanded_of_the_daemon(
    project: ComposeProject, refusal: CommandError, client: docker.DockerClient
) -> None:
    engine = read_services(client, project.name)["engine"]
    made = client.api.inspect_container(engine.container_id)
    [request] = made["HostConfig"]["DeviceRequests"]
    assert (request["Driver"], request["Count"], request["Capabilities"]) == ("nvidia", -1, [["gpu"]])
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in made["Config"]["Env"]


def test_the_daemons_refusal_is_explained(refusal: CommandError) -> None:
    assert "could not select device driver" in refusal.stderr
    assert refusal.message.startswith(CAUSE)
    assert refusal.exit_code == 4


def test_the_explanation_names_the_next_command(refusal: CommandError) -> None:
    commands = re.findall(r"`([^`]+)`", refusal.hint or "")
    assert any(command.startswith("sudo nvidia-ctk runtime configure") for command in commands)
    assert "stack up --device cpu" in commands


def test_what_the_daemon_refused_is_found_as_never_started(
    project: ComposeProject, refusal: CommandError, client: docker.DockerClient
) -> None:
    engine = read_services(client, project.name)["engine"]
    assert (engine.state, engine.started_at) == ("created", None)
    project.down(volumes=True)
    assert read_services(client, project.name) == {}


def test_cuda_on_a_machine_without_a_gpu_is_refused_with_a_hint_that_helps(
    make_stack: Callable[..., Stack],
) -> None:
    if read_gpus().has_device:
        pytest.skip("this machine has an NVIDIA GPU")
    stack = make_stack("nogpu")
    done = stack.run("up", "--device", "cuda").demand(3)
    assert "no NVIDIA GPU on this machine" in done.err
    assert "hint: `--device cpu`" in done.err
    assert "toolkit" not in done.err
    assert stack.containers() == {}
