"""Engine args and variables that the tool sets itself, each with the reason and what to write instead."""

from __future__ import annotations

_ONE_MACHINE = "spreads the engine over machines, and the stack is one machine"
_PLAIN_HTTP = "the tool and Prometheus speak plain HTTP to the engine on loopback; end TLS before the gateway"
_LOG = "boot phases are read from the engine's own log lines; write `engine.log-format` for JSON"

RESERVED_ARGS: dict[str, str] = {
    "api-key": "would show the key in the process list; write `engine.api-key = true`",
    "config": "hides flags in a file that the tool does not check; write its keys into [engine.args]",
    "device": "is set from `engine.device`",
    "device-ids": "is set from `engine.devices`",
    "disable-log-stats": "would stop the metrics that dashboards and checks read",
    "download-dir": "is not used: the engine reads the model from `model.volume`",
    "enable-ssl-refresh": _PLAIN_HTTP,
    "grpc": "would replace the HTTP API that everything here uses",
    "grpc-port": "would replace the HTTP API that everything here uses",
    "headless": "would start an engine without its HTTP API",
    "help": "would print the flags and end; `docker run --rm IMAGE --help=all` does that",
    "hf-token": "is a secret; write `model.token-file`",
    "host": "is set by the tool; write `services.gateway.expose = true` to be reached from other machines",
    "log-config-file": _LOG,
    "logging-config": _LOG,
    "model": "is set from `model.id`",
    "port": "is set from `services.engine.port`",
    "revision": "is set from `model.revision`",
    "root-path": "would move the routes that checks, Prometheus and the gateway use",
    "served-model-name": "is set from `model.served-name`",
    "tokens-only": "would take away the text API that checks and clients use",
    "uds": "would replace the TCP port by a socket file",
    "uvicorn-log-level": _LOG,
    **{f"ssl-{name}": _PLAIN_HTTP for name in ("ca-certs", "cert-reqs", "certfile", "ciphers", "keyfile")},
    **dict.fromkeys(
        (
            "data-parallel-address",
            "data-parallel-external-lb",
            "data-parallel-hybrid-lb",
            "data-parallel-multi-port-external-lb",
            "data-parallel-rank",
            "data-parallel-rpc-port",
            "data-parallel-size-local",
            "data-parallel-start-rank",
            "data-parallel-supervisor-port",
            "master-addr",
            "master-port",
            "nnodes",
            "node-rank",
        ),
        _ONE_MACHINE,
    ),
}

_CACHE = "the tool keeps the engine's caches on their own volume; write `engine.cache-dir`"
_OFFLINE = "the engine runs without a hub: the model is on the shared volume and verified before it starts"
_TELEMETRY = "the tool switches telemetry off"
_DEVICES = "is set from `engine.devices`"
_HUB_TOKEN = "is a secret, and the engine needs no hub; write `model.token-file`"

RESERVED_ENV: dict[str, str] = {
    "CUDA_VISIBLE_DEVICES": _DEVICES,
    "NVIDIA_VISIBLE_DEVICES": _DEVICES,
    "DO_NOT_TRACK": _TELEMETRY,
    "VLLM_DO_NOT_TRACK": _TELEMETRY,
    "VLLM_NO_USAGE_STATS": _TELEMETRY,
    "VLLM_USAGE_STATS_SERVER": _TELEMETRY,
    "HF_HUB_DISABLE_TELEMETRY": _TELEMETRY,
    "HF_HUB_OFFLINE": _OFFLINE,
    "TRANSFORMERS_OFFLINE": _OFFLINE,
    "HF_ENDPOINT": f"{_OFFLINE}; another hub goes into `model.endpoint`",
    "VLLM_USE_MODELSCOPE": _OFFLINE,
    "HF_TOKEN": _HUB_TOKEN,
    "HF_TOKEN_PATH": _HUB_TOKEN,
    "HUGGING_FACE_HUB_TOKEN": _HUB_TOKEN,
    "VLLM_API_KEY": "is a secret; write `engine.api-key = true` (the key is kept in a file)",
    "VLLM_PORT": "is vLLM's internal port, not that of the API; write `services.engine.port`",
    "VLLM_CONFIGURE_LOGGING": _LOG,
    "VLLM_LOGGING_CONFIG_PATH": _LOG,
    "VLLM_LOGGING_STREAM": _LOG,
    "HOME": "the tool sets it to a place that the engine may write",
    "USER": "the tool sets it; the engine's user has no entry in the image's user database",
    "PROMETHEUS_DISABLE_CREATED_SERIES": "the tool sets it: nothing reads those series",
    "PROMETHEUS_MULTIPROC_DIR": "vLLM sets it itself where it is needed",
    **dict.fromkeys(
        (
            "CUDA_CACHE_PATH",
            "DG_JIT_CACHE_DIR",
            "FLASHINFER_WORKSPACE_BASE",
            "HF_HOME",
            "HF_HUB_CACHE",
            "HUGGINGFACE_HUB_CACHE",
            "TORCHINDUCTOR_CACHE_DIR",
            "TRANSFORMERS_CACHE",
            "TRITON_CACHE_DIR",
            "VLLM_CACHE_ROOT",
            "VLLM_CONFIG_ROOT",
            "VLLM_FLASHINFER_AUTOTUNE_CACHE_DIR",
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
        ),
        _CACHE,
    ),
}
