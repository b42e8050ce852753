"""What stack.toml says in a scenario: one engine image on the CPU, and beside it only what the scenario needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tests.scenarios.harness import Stack
from tests.unit.models.conftest import build_model_files, write_files

WATCHERS = ("prometheus", "grafana", "node-exporter")
DEMO, SMALL = 'id = "demo"', 'id = "./model"'


def render_config(
    image: str | None,
    arguments: str = "",
    more: str = "",
    after: str = "",
    *,
    model: str = DEMO,
    watchers: Sequence[str] = (),
) -> str:
    """Give a stack.toml; of the services that watch the engine it switches all off that are not named.

    Args:
        image: The engine's image; without one the tool chooses.
        arguments: What the fake engine is started with, such as `--boot-seconds 2`.
        more: Lines of the table [engine].
        after: Further tables; [engine.env] only where there are no `arguments`.
        model: Lines of the table [model].
        watchers: Those of `WATCHERS` that are on.
    """
    lines = ["[model]", model, "[engine]", 'device = "cpu"']
    lines += [f'image = "{image}"'] if image else []
    lines += [more] if more else []
    lines += ["[engine.env]", f'FAKE_ENGINE_ARGS = "{arguments}"'] if arguments else []
    for name in WATCHERS:
        lines += [] if name in watchers else [f"[services.{name}]", "enabled = false"]
    return "\n".join([*lines, after, ""])


# Two small files beside stack.toml: no network is needed, and nothing is prepared.
render_small_config = partial(render_config, model=SMALL)


def build_small_stack(make_stack: Callable[..., Stack], name: str, config: str) -> Stack:
    """Give a project with its own model directory beside its stack.toml."""
    stack = make_stack(name, config)
    write_files(stack.folder / "model", build_model_files())
    return stack
