"""How a container is made, as far as this tool decides it: read from Docker and from a rendered service. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stack.containers.render import LABEL_STAMP

_SECRETS = "/run/secrets/"
_UNITS = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


@dataclass(frozen=True)
class Definition:
    """How one container is made. None and empty mean that nothing is said of it.

    Attributes:
        image: The image as Compose was told it.
        command: Arguments to the entry point.
        environment: Environment on top of the image's own.
        mounts: Mounted folder (or `None` for a file of secrets) by its target.
        secrets: Targets of the secret files.
        published: Where its port is published, `127.0.0.1:8000`.
        user: `uid:gid` that it runs as.
        memory_bytes: Most memory.
        cpus: CPU time per second of wall time.
        shm_bytes: Size of /dev/shm.
        devices: The GPUs that it reserves: `all`, a count or ids.
        stamp: A hash of the configuration that is mounted into it.
    """

    image: str = ""
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, str] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    published: str | None = None
    user: str | None = None
    memory_bytes: int | None = None
    cpus: float | None = None
    shm_bytes: int | None = None
    devices: str | None = None
    stamp: str = ""


@dataclass(frozen=True)
class Difference:
    """One thing in which what runs is not what it should be.

    Attributes:
        what: What differs: `engine arg max-model-len`, `port`.
        wanted: What the configuration comes to, or None for nothing.
        found: What runs, or None for nothing.
    """

    what: str
    wanted: str | None
    found: str | None


def read_definition(attributes: Mapping[str, Any], image_environment: Sequence[str] = ()) -> Definition:
    """Give how a container was made, from the daemon's inspect document of it.

    Args:
        attributes: The document.
        image_environment: The image's own `NAME=value` lines, which the container inherits.
    """
    config, host = attributes["Config"], attributes.get("HostConfig") or {}
    inherited = set(image_environment)
    lines = [line for line in config.get("Env") or [] if line not in inherited]
    binds = [mount for mount in attributes.get("Mounts") or [] if mount.get("Type") == "bind"]
    targets = {mount["Destination"]: mount.get("Source", "") for mount in binds}
    return Definition(
        image=config.get("Image") or "",
        command=tuple(config.get("Cmd") or ()),
        environment=dict(line.partition("=")[::2] for line in lines),
        mounts={target: source for target, source in targets.items() if not target.startswith(_SECRETS)},
        secrets=frozenset(target for target in targets if target.startswith(_SECRETS)),
        published=_read_published(host),
        user=config.get("User") or None,
        memory_bytes=host.get("Memory") or None,
        cpus=(host.get("NanoCpus") or 0) / 1e9 or None,
        shm_bytes=host.get("ShmSize") or None,
        devices=_read_devices(host.get("DeviceRequests") or []),
        stamp=(config.get("Labels") or {}).get(LABEL_STAMP, ""),
    )


def parse_rendered(service: Mapping[str, Any]) -> Definition:
    """Give how a container is to be made, from its service in the rendered override.

    Raises:
        KeyError, TypeError, ValueError: The text is not what this tool renders.
    """
    volumes = [volume for volume in service.get("volumes", []) if volume["type"] == "bind"]
    ports = service.get("ports", [])
    return Definition(
        image=_plain(service["image"]),
        command=tuple(_plain(word) for word in service.get("command", ())),
        environment={name: _plain(value) for name, value in service.get("environment", {}).items()},
        mounts={_plain(volume["target"]): _plain(volume["source"]) for volume in volumes},
        secrets=frozenset(_plain(item["target"]) for item in service.get("secrets", ())),
        published=ports[0].rpartition(":")[0] if ports else None,
        user=service.get("user"),
        memory_bytes=_parse_size(service.get("mem_limit")),
        cpus=service.get("cpus"),
        shm_bytes=_parse_size(service.get("shm_size")),
        devices=_read_reservation(service),
        stamp=service.get("labels", {}).get(LABEL_STAMP, ""),
    )


def compare_definitions(wanted: Definition, found: Definition, *, is_engine: bool = False) -> list[Difference]:
    """Give what differs; what the shipped Compose files say beyond `wanted` is no difference.

    Args:
        wanted: As the rendered override says it.
        found: As a container or another override says it.
        is_engine: Whether nothing beside the override sets its environment and mounts: more of them is a
            difference then.
    """
    differences = _compare_commands(wanted.command, found.command) if wanted.command else []
    differences += _compare_maps("mount", wanted.mounts, found.mounts, more=is_engine)
    # Never a value: people put tokens there.
    environment = _compare_maps("environment", wanted.environment, found.environment, more=is_engine)
    differences += [
        Difference(item.what, _hide(item.wanted, "set"), _hide(item.found, "not the same")) for item in environment
    ]
    for what, ours, theirs in (
        ("address and port", wanted.published, found.published),
        ("user", wanted.user, found.user),
        ("memory limit in bytes", wanted.memory_bytes, found.memory_bytes),
        ("shm size in bytes", wanted.shm_bytes, found.shm_bytes),
        ("GPUs", wanted.devices, found.devices),
    ):
        if ours is not None and ours != theirs or is_engine and ours != theirs:
            differences.append(Difference(what, _show(ours), _show(theirs)))
    if wanted.cpus != found.cpus and (wanted.cpus is not None or is_engine):
        differences.append(Difference("CPU limit", _show(wanted.cpus), _show(found.cpus)))
    if wanted.secrets != found.secrets:
        differences.append(Difference("secrets", _list(wanted.secrets), _list(found.secrets)))
    if wanted.stamp != found.stamp:
        differences.append(Difference("mounted configuration", wanted.stamp or None, found.stamp or None))
    return differences


def parse_flags(argv: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Give the values of each `--flag` by its name, and what comes before the first one under an empty name."""
    flags: dict[str, tuple[str, ...]] = {}
    name = ""
    for word in argv:
        if word.startswith("--"):
            name, separator, value = word.removeprefix("--").partition("=")
            flags[name] = (*flags.get(name, ()), *((value,) if separator else ()))
        else:
            flags[name] = (*flags.get(name, ()), word)
    return flags


def _compare_commands(wanted: Sequence[str], found: Sequence[str]) -> list[Difference]:
    ours, theirs = parse_flags(wanted), parse_flags(found)
    differences = []
    for name in sorted({*ours, *theirs}):
        if ours.get(name) != theirs.get(name):
            what = f"arg {name}" if name else "model path" if len(ours) > 1 else "arguments"
            differences.append(Difference(what, _join(ours.get(name)), _join(theirs.get(name))))
    return differences


def _compare_maps(what: str, wanted: Mapping[str, str], found: Mapping[str, str], *, more: bool) -> list[Difference]:
    names = {*wanted, *found} if more else set(wanted)
    return [
        Difference(f"{what} {name}", wanted.get(name), found.get(name))
        for name in sorted(names)
        if wanted.get(name) != found.get(name)
    ]


def _hide(value: str | None, word: str) -> str | None:
    return None if value is None else word


def _join(values: tuple[str, ...] | None) -> str | None:
    if values is None:
        return None
    return " ".join(values) or "given"


def _show(value: object) -> str | None:
    return None if value is None else str(value)


def _list(names: frozenset[str]) -> str | None:
    return ", ".join(sorted(name.removeprefix(_SECRETS) for name in names)) or None


def _plain(text: str) -> str:
    return text.replace("$$", "$")


def _parse_size(text: str | int | None) -> int | None:
    if text is None or isinstance(text, int):
        return text
    number = text.lower().removesuffix("b")
    unit = number[-1:] if number[-1:] in _UNITS else "b"
    return int(float(number.removesuffix(unit)) * _UNITS[unit])


def _read_published(host: Mapping[str, Any]) -> str | None:
    for bindings in (host.get("PortBindings") or {}).values():
        for item in bindings or []:
            address = item.get("HostIp") or "0.0.0.0"
            return f"[{address}]:{item['HostPort']}" if ":" in address else f"{address}:{item['HostPort']}"
    return None


def _read_devices(requests: Sequence[Mapping[str, Any]]) -> str | None:
    for request in requests:
        ids, count = request.get("DeviceIDs") or [], request.get("Count") or 0
        return ", ".join(ids) if ids else "all" if count == -1 else str(count)
    return None


def _read_reservation(service: Mapping[str, Any]) -> str | None:
    resources = service.get("deploy", {}).get("resources", {}).get("reservations", {})
    for device in resources.get("devices", []):
        return ", ".join(device["device_ids"]) if "device_ids" in device else str(device["count"])
    return None
