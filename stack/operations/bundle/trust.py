"""What a stranger's configuration may set. Pure.

What is not named here is left out unless the bundle is trusted: whatever says where something is fetched from, opens a
port, reads a file, or lets the engine run code that it did not come with. A new key is left out until it is put here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stack.bundles.manifest import Bundle
from stack.errors import ImageError
from stack.images.reference import parse_reference
from stack.operations.bundle.save_images import name_carried

Path = tuple[str, ...]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KEYS = _words(
    """
    project
    engine.commit engine.version engine.device engine.devices engine.ready-timeout-seconds engine.shm-size
    engine.log-format
    model.id model.revision model.served-name
    images.source images.timeout-seconds images.retries images.archive
    services.engine.port services.engine.cpus services.engine.memory
    services.prometheus.enabled services.prometheus.port services.prometheus.cpus services.prometheus.memory
    services.prometheus.retention-time services.prometheus.retention-size services.prometheus.scrape-interval-seconds
    services.alertmanager.enabled services.alertmanager.port services.alertmanager.cpus services.alertmanager.memory
    services.grafana.enabled services.grafana.port services.grafana.cpus services.grafana.memory
    services.node-exporter.enabled services.node-exporter.cpus services.node-exporter.memory
    services.dcgm-exporter.enabled
    services.gateway.port services.gateway.max-body services.gateway.requests-per-second services.gateway.burst
    services.gateway.connections
    """
)
_TABLES = frozenset({"smoke", "slo"})
# Numbers, switches and single words that choose among what vLLM itself has; none names code, a file or an address,
# and none writes prompts to a log. Meanings: the argument parser that `config.engine_flags` was read from.
_ARGS = _words(
    """
    async-scheduling attention-backend block-size calculate-kv-scales cpu-offload-gb cudagraph-capture-sizes
    data-parallel-size data-parallel-size-local decode-context-parallel-size device-memory-utilization
    disable-cascade-attn disable-chunked-mm-input disable-custom-all-reduce disable-fastapi-docs
    disable-hybrid-kv-cache-manager disable-nccl-for-dp-synchronization disable-sliding-window
    disable-uvicorn-access-log distributed-timeout-seconds dtype enable-auto-tool-choice enable-batch-sharded-sampling
    enable-chunked-prefill enable-dbo enable-eplb enable-expert-parallel enable-flashinfer-autotune
    enable-force-include-usage enable-lora enable-prefix-caching enable-prompt-tokens-details enforce-eager
    exclude-tools-when-tool-choice-none fully-sharded-loras gpu-memory-utilization kv-cache-dtype
    kv-cache-memory-bytes kv-cache-metrics kv-cache-metrics-sample kv-offloading-size kv-sharing-fast-prefill
    language-model-only long-prefill-token-threshold lora-dtype mamba-block-size mamba-cache-dtype mamba-cache-mode
    mamba-ssm-cache-dtype max-cpu-loras max-cudagraph-capture-size max-logprobs max-lora-rank max-loras max-model-len
    max-num-active-seqs max-num-batched-tokens max-num-queued-reqs max-num-queued-tokens max-num-scheduled-tokens
    max-num-seqs moe-backend num-gpu-blocks-override optimization-level performance-mode pipeline-parallel-size
    prefix-caching-hash-algo quantization reasoning-parser scheduling-policy seed shutdown-timeout skip-mm-profiling
    stream-interval tensor-parallel-size tool-call-parser
    """
)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")


def may_set(path: Path, value: Any, bundle: Bundle) -> bool:
    """Tell whether a configuration of somebody who is not trusted may set a key to a value."""
    if ".".join(path) in _KEYS or path[0] in _TABLES:
        return True
    if path == ("engine", "api-key"):
        return value is True
    if path[:2] == ("engine", "args") and len(path) == 3:
        items = value if isinstance(value, list) else [value]
        return path[2] in _ARGS and all(_is_plain(item) for item in items)
    service = find_service(path)
    return service is not None and _is_of_bundle(service, value, bundle)


def find_service(path: Path) -> str | None:
    """Give the service whose image a key names, or None where it is another key."""
    if path == ("engine", "image"):
        return "engine"
    return path[1] if len(path) == 3 and path[0] == "services" and path[2] == "image" else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return _WORD.fullmatch(value) is not None
    return isinstance(value, bool | int | float)


def _is_of_bundle(service: str, value: Any, bundle: Bundle) -> bool:
    """Tell whether a name is the bundle's own image of a service, so that nothing else is fetched for it."""
    said: Mapping[str, Any] = {image.service: image for image in bundle.images}
    image = said.get(service)
    if image is None or not isinstance(value, str):
        return False
    if value == name_carried(image.image_id):
        return True
    try:
        wanted, name = parse_reference(value), parse_reference(image.name).with_digest(None)
    except ImageError:
        return False
    return image.digest is not None and wanted.with_digest(None) == name and wanted.digest in (None, image.digest)
