"""What can be configured: one frozen model a table of stack.toml, each key with its meaning.

TOML spells keys in kebab-case, attributes are the same words in snake_case.
Rules that span keys are in `combinations`, those of the free tables in `engine_args`, `engine_env` and
`maps`; `load.load_config` applies them all.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from stack.config.schema_services import (
    DcgmExporterConfig,
    EngineServiceConfig,
    GatewayConfig,
    GrafanaConfig,
    NodeExporterConfig,
    PrometheusConfig,
    Section,
    ServicesConfig,
)
from stack.config.schema_slo import SloConfig
from stack.config.schema_smoke import SmokeConfig
from stack.config.values import (
    Commit,
    Devices,
    FindLinks,
    HostPath,
    ImageReference,
    ModelId,
    Project,
    Shown,
    Size,
    Url,
    Version,
    Word,
)

__all__ = [
    "DcgmExporterConfig",
    "EngineConfig",
    "EngineServiceConfig",
    "GatewayConfig",
    "GrafanaConfig",
    "ImagesConfig",
    "ModelConfig",
    "NodeExporterConfig",
    "PrometheusConfig",
    "ServicesConfig",
    "SloConfig",
    "SmokeConfig",
    "StackConfig",
]


class EngineConfig(Section):
    """The engine: which vLLM runs, on what, with which engine args."""

    commit: Commit | None = Field(
        default=None,
        description="vLLM commit to run, all 40 hex digits; without commit and version the shipped pin runs",
        examples=["0123456789abcdef0123456789abcdef01234567"],
    )
    version: Version | None = Field(
        default=None, description="vLLM release to run, instead of a commit", examples=["0.31.0"]
    )
    image: ImageReference | None = Field(
        default=None,
        description="Engine image to use as it is; beside `commit` the image must be of that commit",
        examples=["vllm/vllm-openai:v0.31.0"],
    )
    device: Literal["auto", "cuda", "cpu"] = Field(
        default="auto", description="Where the engine runs; `auto` takes the GPU if there is a usable one"
    )
    devices: Devices = Field(
        default="all",
        description='GPUs for the engine: "all", a number of them, or a list of ids such as ["0", "1"]',
    )
    accept: Literal["verified", "claimed"] = Field(
        default="verified",
        description="What proves a pinned commit: upstream's own label (`verified`), or also the word of "
        "whoever built the image (`claimed`)",
    )
    allow_remote_code: bool = Field(
        default=False, description="Acknowledge that `trust-remote-code` runs code that comes with the model"
    )
    api_key: bool = Field(default=False, description="Generate an API key and demand it of every client")
    ready_timeout_seconds: int = Field(
        default=1800, ge=10, le=86_400, description="Longest wait for the first token, in seconds"
    )
    shm_size: Annotated[Size | None, Shown("unset (chosen by device)")] = Field(
        default=None, description="Size of the engine's `/dev/shm`", examples=["8g"]
    )
    cache_dir: Annotated[HostPath | None, Shown("`$XDG_CACHE_HOME/stack/<project>`")] = Field(
        default=None,
        description="Directory of the engine's compile caches, private to it",
        examples=["~/.cache/stack/mine"],
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="How the engine writes its log: vLLM's own text, or one JSON document a record for log collectors; "
        "`stack logs` and `stack explain` read both",
    )
    args: dict[str, JsonValue] = Field(
        default={},
        description="Engine args: any long flag of `vllm serve` without its dashes, such as `max-model-len`; "
        "a list gives several values, a table is passed as JSON",
        examples=[{"max-model-len": 4096}],
    )
    env: dict[str, str] = Field(
        default={},
        description="Environment variables of the engine; no secrets and none that the tool sets",
        examples=[{"VLLM_CPU_OMP_THREADS_BIND": "auto"}],
    )
    mounts: dict[str, HostPath] = Field(
        default={},
        description="Files and directories that the engine may read, such as LoRA adapters and chat "
        "templates: path in the container = path on this machine",
        examples=[{"/templates": "~/templates"}],
    )


class ModelConfig(Section):
    """The model."""

    id: Annotated[ModelId | None, Shown("unset (chosen by device and free memory)")] = Field(
        default=None,
        description="Model to serve: a hub id (`org/name`), a directory that begins with `/`, `./` or `~/`, or `demo`",
        examples=["Qwen/Qwen3-0.6B"],
    )
    revision: Word | None = Field(
        default=None,
        description="Revision of a hub model: commit hash, tag or branch; it is locked as a commit hash",
        examples=["main"],
    )
    served_name: Annotated[Word | None, Shown("unset (derived from the model)")] = Field(
        default=None, description="Served model name: what clients write as `model`", examples=["assistant"]
    )
    volume: Annotated[HostPath, Shown("`$XDG_DATA_HOME/stack/models`")] = Field(
        default="~/.local/share/stack/models",
        validate_default=True,
        description="The shared volume: directory of the models of all projects, read-only for the engine",
    )
    endpoint: Url = Field(default="https://huggingface.co", description="Model hub to download from")
    token_file: HostPath | None = Field(
        default=None,
        description="File that holds the hub token, for gated and private models",
        examples=["~/.cache/huggingface/token"],
    )


class ImagesConfig(Section):
    """Where images come from."""

    source: Literal["auto", "registry", "packages"] = Field(
        default="auto",
        description="Pull images (`registry`), build them (`packages`), or build only where no registry "
        "answers (`auto`)",
    )
    mirror: dict[str, str] = Field(
        default={},
        description="Registry mirrors: registry host = mirror host, with an optional path",
        examples=[{"docker.io": "mirror.example:5000/hub"}],
    )
    sources: dict[str, str] = Field(
        default={},
        description="Where to look for engine images of a commit or release before upstream's places: name = "
        "reference with `{commit}` or `{version}`; one named `nightly`, `release-repository`, `release` or "
        "`ci` replaces upstream's own, as does `wheel`, the URL of the list of a commit's wheels; an empty text takes "
        "a source out",
        examples=[{"internal": "registry.example/vllm:{commit}"}],
    )
    timeout_seconds: float = Field(
        default=5, gt=0, le=600, description="Longest wait for a registry's first answer, in seconds"
    )
    retries: int = Field(default=4, ge=0, le=100, description="How often a failed pull or build is tried again")
    debian_mirror: Url = Field(
        default="http://deb.debian.org/debian", description="Debian mirror for images built from packages"
    )
    debian_suite: Word = Field(default="bookworm", description="Debian suite for images built from packages")
    pip_index_url: Url | None = Field(
        default=None,
        description="Python package index for images built from packages; pip's own default if unset",
        examples=["https://pypi.org/simple"],
    )
    pip_find_links: FindLinks | None = Field(
        default=None,
        description="Directory or URL with more wheels for images built from packages",
        examples=["~/wheels"],
    )
    archive: Annotated[bool | None, Shown("unset (images that upstream will delete: nightlies)")] = Field(
        default=None, description="Keep the engine's image in the archive on this machine", examples=[True]
    )
    archive_dir: Annotated[HostPath, Shown("`$XDG_DATA_HOME/stack/images`")] = Field(
        default="~/.local/share/stack/images",
        validate_default=True,
        description="Directory of the archive, shared by all projects",
    )
    ca_bundle: HostPath | None = Field(
        default=None,
        description="CA certificates (PEM) to trust in builds, for networks that inspect TLS",
        examples=["/etc/ssl/certs/ca-certificates.crt"],
    )


class StackConfig(Section):
    """The whole configuration."""

    project: Project = Field(
        default="stack", description="Name of the project: prefix of its containers, volumes and state"
    )
    offline: bool = Field(
        default=False,
        description="Use nothing but what is on this machine: ask no registry, hub or package index, build nothing, "
        "and refuse at once where something is missing",
    )
    engine: EngineConfig = EngineConfig()
    model: ModelConfig = Field(default_factory=ModelConfig)
    images: ImagesConfig = Field(default_factory=ImagesConfig)
    services: ServicesConfig = ServicesConfig()
    smoke: SmokeConfig = SmokeConfig()
    slo: SloConfig = SloConfig()
