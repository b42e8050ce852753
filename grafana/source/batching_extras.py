"""What an engine has only with a setting: adapters, speculative decoding, and the life of KV blocks."""

from __future__ import annotations

from source.layout import Band, Section
from source.panels import GREEN, RED, YELLOW, Look, Panel, Query, build_chart, build_heatmap
from source.tables import build_rows

_MODEL = '{model_name=~"$model_name"}'
_SPEC = "vllm:spec_decode_num"
_ADAPTER_LABELS = ["instance", "max_lora", "running_lora_adapters", "waiting_lora_adapters"]

_ADAPTERS = Look(
    title="Adapters now",
    good="as many running as clients ask for, none waiting.",
    otherwise="adapters wait: more are asked for at once than `max-loras` allows.",
    unit="string",
    no_value="No LoRA",
)
_ACCEPTED = Look(
    title="Drafted tokens that were right",
    good="above 60 %, or what your drafter promises.",
    otherwise="below 30 % drafting costs more than it saves: fewer tokens a draft, or another drafter.",
    unit="percentunit",
    no_value="No speculative decoding",
    steps=((RED, None), (YELLOW, 0.3), (GREEN, 0.6)),
)
_LENGTH = Look(
    title="Tokens that a step gives with drafts",
    good="clearly above 1: it is how many times fewer steps are needed.",
    otherwise="close to 1: the drafts are of no use here.",
    unit="suffix: tokens",
    no_value="No speculative decoding",
)
_POSITIONS = Look(
    title="Right tokens by place in the draft",
    good="falls slowly from place to place.",
    otherwise="nearly none at the last places: draft fewer tokens (`num_speculative_tokens`).",
    unit="suffix: tok/s",
    no_value="No speculative decoding",
)
_LIFETIME = Look(
    title="How long KV blocks live",
    good="longer than the pauses between a chat's messages.",
    otherwise="shorter: a chat's history is gone when its next message comes; more KV cache.",
    unit="s",
    no_value="No KV block metrics",
)
_IDLE = Look(
    title="How long KV blocks lay unused before they went",
    good="long: what goes is not needed any more.",
    otherwise="short: blocks are thrown out while they are still of use; more KV cache.",
    unit="s",
    no_value="No KV block metrics",
)


def build_sections() -> list[Section]:
    """Give the sections."""
    return [
        Section("Only with `enable-lora`: adapters", [Band(5, [(24, _build_adapters())])], is_conditional=True),
        Section("Only with `speculative-config`: drafts", [Band(7, _build_drafts())], is_conditional=True),
        Section("Only with `kv-cache-metrics`: KV blocks", [Band(8, _build_blocks())], is_conditional=True),
    ]


def _build_adapters() -> Panel:
    # Each set of adapters is a series of its own, whose value is when it was so: the newest is what is so now.
    newest = "topk by (instance) (1, vllm:lora_requests_info)"
    columns = ", ".join(_ADAPTER_LABELS)
    return build_rows(_ADAPTERS, Query(f"max by ({columns}) ({newest})", "{{instance}}"), _ADAPTER_LABELS)


def _build_drafts() -> list[tuple[int, Panel]]:
    accepted = f"sum by (model_name) (rate({_SPEC}_accepted_tokens_total{_MODEL}[$__rate_interval]))"
    drafted = f"sum by (model_name) (rate({_SPEC}_draft_tokens_total{_MODEL}[$__rate_interval]))"
    drafts = f"sum by (model_name) (rate({_SPEC}_drafts_total{_MODEL}[$__rate_interval]))"
    places = f"sum by (position) (rate({_SPEC}_accepted_tokens_per_pos_total{_MODEL}[$__rate_interval]))"
    return [
        (8, build_chart(_ACCEPTED, Query(f"{accepted} / ({drafted} > 0)", "{{model_name}}"), highest=1)),
        (8, build_chart(_LENGTH, Query(f"1 + {accepted} / ({drafts} > 0)", "{{model_name}}"))),
        (8, build_chart(_POSITIONS, Query(places, "place {{position}}"))),
    ]


def _build_blocks() -> list[tuple[int, Panel]]:
    looks = ((_LIFETIME, "lifetime"), (_IDLE, "idle_before_evict"))
    return [
        (
            12,
            build_heatmap(
                look,
                Query(
                    f"sum by (le) (increase(vllm:kv_block_{name}_seconds_bucket{_MODEL}[$__rate_interval]))", "{{le}}"
                ),
            ),
        )
        for look, name in looks
    ]
