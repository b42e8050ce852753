"""Small projects for faults: the fake engine alone, with a model of two small files that needs no network."""

from __future__ import annotations

from collections.abc import Callable

from tests.scenarios.fake_engine.test_engine_life import SERVICES
from tests.scenarios.harness import Stack
from tests.unit.models.conftest import build_model_files, write_files


def render_config(image: str, arguments: str = "", more: str = "", after: str = "") -> str:
    return f"""
[model]
id = "./model"

[engine]
image = "{image}"
device = "cpu"
accept = "claimed"
{more}

[engine.env]
FAKE_ENGINE_ARGS = "{arguments}"
{SERVICES}
{after}
"""


def build_small_stack(make_stack: Callable[..., Stack], name: str, config: str) -> Stack:
    """Give a project with its own model directory beside its stack.toml."""
    stack = make_stack(name, config)
    write_files(stack.folder / "model", build_model_files())
    return stack


def get_engine_address(stack: Stack) -> str:
    """Give where the engine answers, by its container: quicker than asking the tool."""
    port = stack.containers()["engine"]["HostConfig"]["PortBindings"]["8000/tcp"][0]["HostPort"]
    return f"http://127.0.0.1:{port}"
