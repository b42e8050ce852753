"""What the checks must know of the project: frozen values that the operation gathers without changing anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stack.checks.cuda_support import CudaImage
from stack.checks.host.memory_verdict import JudgeMemory


@dataclass(frozen=True)
class PortNeed:
    """A port of this machine that a service publishes.

    Attributes:
        service: The Compose service.
        address: The address that it is bound to.
        port: The port.
        is_asked: Whether the configuration names it; another one is found for one that it does not name.
        is_ours: Whether this project's own running container holds it.
        preferred: The port that it would have had, were that one free.
    """

    service: str
    address: str
    port: int
    is_asked: bool
    is_ours: bool = False
    preferred: int | None = None


@dataclass(frozen=True)
class FolderNeed:
    """A folder that `up` uses.

    Attributes:
        name: What it is to the user (`models`, `state`, `cache`).
        path: Where; it may not be there yet.
        setting: The configuration key or variable that moves it elsewhere.
        needed_bytes: What has yet to be written there; None where it is not known.
        is_written: Whether this user must be able to write there.
        engine_uid: The uid that the engine writes with, for a folder of the engine's.
    """

    name: str
    path: Path
    setting: str
    needed_bytes: int | None = 0
    is_written: bool = True
    engine_uid: int | None = None


@dataclass(frozen=True)
class ImageNeed:
    """A service's image.

    Attributes:
        service: The Compose service.
        action: What has to be done to have it.
        name: What Compose is told.
        least_bytes: What it surely takes under the daemon's data root; None where that is not known.
        likely_bytes: What it takes while it is pulled or built; None where that is not known.
        registry: The registry's host, for one that is pulled.
        is_required: Whether the stack is no stack without it.
    """

    service: str
    action: Literal["none", "pull", "build", "load"]
    name: str
    least_bytes: int | None = None
    likely_bytes: int | None = None
    registry: str | None = None
    is_required: bool = False


@dataclass(frozen=True)
class ModelNeed:
    """The model and what it takes; None means unknown.

    Attributes:
        id: Hub id, directory, or `demo`.
        kind: Where it comes from.
        revision: The hub's commit, where it is pinned.
        is_here: Whether its verified files are on the volume.
        size_bytes: All of its files.
        weights_bytes: The weights alone, as they lie in the engine's memory, over all GPUs.
        attention_heads: For the question whether several GPUs can share it.
        judge_memory: Judges whether it fits a device; None before its files are here.
    """

    id: str
    kind: Literal["hub", "directory", "demo"]
    revision: str | None = None
    is_here: bool = False
    size_bytes: int | None = None
    weights_bytes: int | None = None
    attention_heads: int | None = None
    judge_memory: JudgeMemory | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class EngineNeed:
    """How the engine is to run.

    Attributes:
        device_asked: `engine.device` as configured.
        device: What it came to; None where that cannot be told without Docker.
        device_reason: Why.
        devices: `all`, a count, or ids, as configured.
        gpu_indexes: The GPUs that it gets, by NVML's index.
        utilization: `gpu-memory-utilization`, asked or chosen; None where the KV cache has a size instead.
        is_utilization_asked: Whether the configuration sets it.
        kv_cache_bytes: The KV cache's size where it is set, for the CPU engine and on request.
        max_model_len: The context asked for, in tokens; None leaves it to the model.
        tensor_parallel: How many GPUs share the model.
        image: What its image was built for.
        environ: What of its environment decides whether a driver runs it.
    """

    device_asked: Literal["auto", "cuda", "cpu"] = "auto"
    device: Literal["cuda", "cpu"] | None = None
    device_reason: str = ""
    devices: str | int | tuple[str, ...] = "all"
    gpu_indexes: tuple[int, ...] = ()
    utilization: float | None = None
    is_utilization_asked: bool = False
    kv_cache_bytes: int | None = None
    max_model_len: int | None = None
    tensor_parallel: int = 1
    image: CudaImage = CudaImage()
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EndpointNeed:
    """Something on the network that `up` may ask.

    Attributes:
        name: What it is to the user (`the model hub`, `docker.io`).
        kind: What must answer there.
        url: The hub's address, or the registry's host.
        is_needed: Whether this `up` cannot do without it.
    """

    name: str
    kind: Literal["hub", "registry"]
    url: str
    is_needed: bool = False


@dataclass(frozen=True)
class StateNeed:
    """What an earlier run left.

    Attributes:
        folder: The project's state.
        lock: The file that a run of the tool holds.
        facts: The file of small facts.
        volume: The shared volume of models.
        last_boot: How the last boot ended (`ok`, `failed`), `unfinished`, or None where there was none.
        cache: The engine's compile caches.
    """

    folder: Path
    lock: Path
    facts: Path
    volume: Path
    cache: Path
    last_boot: str | None = None


@dataclass(frozen=True)
class HostTarget:
    """What `up` of one project would want of this machine.

    Attributes:
        project: The Compose project.
        engine: How the engine is to run.
        model: Which model; None where it could not be decided.
        ports: Every published port.
        folders: Every folder.
        images: Every image.
        running: Services of this project that run now.
        endpoints: What may be asked over the network.
        state: What an earlier run left; None where nothing is to be looked at.
        shm_bytes: Size of the engine's own `/dev/shm`.
        unasked: Why nothing is asked over the network; None where it may be.
    """

    project: str
    engine: EngineNeed = EngineNeed()
    model: ModelNeed | None = None
    ports: Sequence[PortNeed] = ()
    folders: Sequence[FolderNeed] = ()
    images: Sequence[ImageNeed] = ()
    running: Sequence[str] = ()
    endpoints: Sequence[EndpointNeed] = ()
    state: StateNeed | None = None
    shm_bytes: int | None = None
    unasked: str | None = None

    def is_image_built(self) -> bool:
        """Tell whether an image is built from packages."""
        return any(image.action == "build" for image in self.images)
