"""What `up` has to do: the steps that are missing, each with its reason. Changes nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stack.containers.layout import Layout
from stack.containers.render import render_json, render_override
from stack.operations.boot import page_cache
from stack.operations.doctor import gpu_test
from stack.operations.layout.decide import decide_layout
from stack.operations.project import container_stamp
from stack.operations.resolve import Resolved
from stack.operations.session import Session, build_project
from stack.operations.up.plan import Plan, Step
from stack.operations.write import build_folder_error, write_whole

START, CHANGE, STOP = "start", "change", "stop"


def build_plan(session: Session, resolved: Resolved) -> Plan:
    """Give the steps that are missing, each with its cause."""
    steps = [*_plan_images(resolved), *_plan_model(resolved)]
    # Reading the weights into memory goes on beside the start: the engine imports for long before it loads them.
    fetched = tuple(step.name for step in steps if step.name != page_cache.STEP)
    causes = _find_causes(session, resolved)
    trial = _plan_gpu_test(resolved, causes)
    steps += trial
    fetched += tuple(step.name for step in trial)
    if causes:
        reasons = "; ".join(f"{service} {cause}" for service, cause in causes.items())
        steps.append(Step("services", _describe_services(resolved, causes), reasons, fetched))
    if "engine" in causes or not is_ready(resolved):
        cause = "the engine is started" if "engine" in causes else "the engine has not given a token yet"
        steps.append(Step("boot", "wait for the first token and warm the engine", cause, ("services",)))
    return Plan(tuple(steps))


def is_ready(resolved: Resolved) -> bool:
    """Tell whether the engine that runs now is the one that gave a first token."""
    engine = resolved.running.get("engine")
    return engine is not None and resolved.facts.ready_container == container_stamp(engine)


def describe_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say in which parts two definitions of a service differ."""
    words = {"command": "arguments", "labels": "mounted configuration", "volumes": "mounts"}
    changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    named = [words.get(key, key) for key in changed]
    return f"has other {', '.join(named)}" if named else "has another definition"


def _find_causes(session: Session, resolved: Resolved) -> dict[str, str]:
    unknown = any(need.action in ("pull", "load") for need in resolved.needs.values())
    if resolved.snapshot is not None and not unknown:
        return _compare_definitions(session, resolved)
    # Digest or model path are not known before they are fetched: what runs cannot be compared yet.
    causes = {}
    for service, need in resolved.needs.items():
        state = resolved.running.get(service)
        if state is None or state.state != "running":
            causes[service] = "is not running" if state is None else f"is {state.state}"
        elif need.action != "none":
            causes[service] = "gets another image"
        elif service == "engine" and resolved.snapshot is None:
            causes[service] = "gets another model"
    return causes


def _compare_definitions(session: Session, resolved: Resolved) -> dict[str, str]:
    """Compare what runs with what should, by Compose's own hashes; say what differs by the override on disk."""
    assert resolved.snapshot is not None
    images = {service: need.name for service, need in resolved.needs.items()}
    layout, _ = decide_layout(session, resolved, resolved.snapshot, images)
    document = render_override(layout)
    # Compose takes a tenth of a second for them, and after `down` there is nothing to compare.
    hashes = _read_hashes(session, layout, document) if resolved.running else {}
    before = _load_services(session.paths.override)
    causes = {}
    for name in layout.services:
        state = resolved.running.get(name)
        if state is None or state.state != "running":
            causes[name] = "is not running" if state is None else f"is {state.state}"
        elif state.config_hash != hashes[name]:
            causes[name] = describe_change(before.get(name, {}), document["services"][name])
    for name, state in resolved.running.items():
        if name not in layout.services and state.state == "running":
            causes[name] = "is not part of the stack any more"
    return causes


def _read_hashes(session: Session, layout: Layout, document: Mapping[str, Any]) -> dict[str, str]:
    with _draft(render_json(dict(document))) as override:
        return build_project(session, layout, override).read_hashes()


@contextmanager
def _draft(text: str) -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix="stack-plan-"))
    except OSError as err:
        raise build_folder_error(Path(tempfile.gettempdir()), err) from err
    try:
        write_whole(folder / "override.json", text)
        yield folder / "override.json"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _load_services(override: Path) -> dict[str, Any]:
    try:
        services = dict(json.loads(override.read_text())["services"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: definition for name, definition in services.items() if isinstance(definition, dict)}


def _plan_images(resolved: Resolved) -> list[Step]:
    steps = []
    builds = [need.recipe for need in resolved.needs.values() if need.action == "build" and need.recipe]
    if builds:
        steps.append(Step("image base", f"make {builds[0].base.tag}", "images are built from packages"))
    for service, need in resolved.needs.items():
        if need.action != "none":
            after = ("image base",) if need.action == "build" else ()
            way = " from the archive" if need.action == "load" else ""
            action = f"{need.action} {need.name}{' by way of the archive' if need.is_kept else way}"
            steps.append(Step(f"image {service}", action, need.cause, after))
    return steps


def _plan_model(resolved: Resolved) -> list[Step]:
    if resolved.snapshot is None:
        cause = "its files are not on the shared volume, or not as they were"
        fetch = Step("model", f"fetch {resolved.reference.id}", cause)
        load = "the engine is about to load them"
        return [fetch, Step(page_cache.STEP, "read the weights into memory", load, ("model",))]
    engine = resolved.running.get("engine")
    if engine is None or engine.state != "running":
        action = f"read the weights of {resolved.snapshot.id} into memory"
        return [Step(page_cache.STEP, action, "the engine is about to load them")]
    return []


def _plan_gpu_test(resolved: Resolved, causes: Mapping[str, str]) -> list[Step]:
    """Try the GPU before the engine does, where image or driver are new; beside a running engine it may be full."""
    engine = resolved.running.get("engine")
    is_running = engine is not None and engine.state == "running"
    if resolved.device.device != "cuda" or "engine" not in causes or is_running:
        return []
    need = resolved.needs["engine"]
    is_here = need.action == "none" and need.image_id is not None
    if is_here and resolved.facts.gpu_test == gpu_test.build_gpu_test_stamp(need.image_id):
        return []
    action = "allocate memory on the GPU, in the engine's image"
    return [Step(gpu_test.STEP, action, "it has not been tried with this image and driver", ("image engine",))]


def _describe_services(resolved: Resolved, causes: Mapping[str, str]) -> str:
    verbs: dict[str, list[str]] = {START: [], CHANGE: [], STOP: []}
    for service in causes:
        state = resolved.running.get(service)
        if service not in resolved.needs:
            verbs[STOP].append(service)
        elif state is None or state.state != "running":
            verbs[START].append(service)
        else:
            verbs[CHANGE].append(service)
    return "; ".join(f"{verb} {', '.join(services)}" for verb, services in verbs.items() if services)
