"""Which layers of a model keep a KV cache, and of what shape, read from its config (pure).

Only model types whose attention was read in vLLM 0.31.0's `model_executor/models/` are answered; a guess
about another one would be a promise that nobody keeps. Where config.json leaves a size to the defaults of
the transformers library, the answer is unknown as well: those defaults differ by class and version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Any of these keys means that not every layer keeps plain keys and values for every token.
_UNUSUAL = {
    "mamba_d_state": "Mamba layers",
    "ssm_cfg": "Mamba layers",
    "state_size": "state-space layers",
    "layers_block_type": "layers of several kinds",
    "hybrid_override_pattern": "layers of several kinds",
    "attn_layer_period": "layers of several kinds",
    "full_attention_interval": "linear-attention layers",
    "linear_num_key_heads": "linear-attention layers",
    "attention_chunk_size": "chunked attention",
    "num_kv_shared_layers": "layers that share their cache",
    "cross_attention_layers": "cross-attention layers",
    "is_encoder_decoder": "cross-attention layers",
    "block_configs": "layers of several kinds",
    "index_topk": "sparse attention",
    "compress_ratios": "compressed attention",
    "dual_chunk_attention_config": "dual-chunk attention",
}
_NESTED = ("text_config", "llm_config", "language_config", "thinker_config")
_ENCODERS = ("vision_config", "audio_config", "vision_tower_cfg", "mm_vision_tower", "speech_config")


@dataclass(frozen=True)
class Family:
    """How a model type keeps its cache.

    Attributes:
        needs: Keys that config.json must hold, because the class's own default is not the plain one.
        period: With this default every n-th layer attends to everything and the others to a window.
        window_extra: Tokens that the model adds to its window.
        is_windowed: Whether the model reads `layer_types`.
        is_latent: One latent vector a token (MLA) in place of keys and values.
    """

    needs: tuple[str, ...] = ()
    period: int | None = None
    window_extra: int = 0
    is_windowed: bool = False
    is_latent: bool = False


_KV = ("num_key_value_heads",)
_KV_HEAD = ("num_key_value_heads", "head_dim")
_WINDOWED = (*_KV_HEAD, "sliding_window")
_LATENT = Family(needs=("kv_lora_rank", "qk_rope_head_dim"), is_latent=True)
FAMILIES: Mapping[str, Family] = {
    "llama": Family(is_windowed=True),
    "mistral": Family(needs=(*_KV, "sliding_window"), is_windowed=True),
    "ministral3": Family(needs=_KV_HEAD, is_windowed=True),
    "mixtral": Family(needs=_KV),
    "qwen2": Family(needs=_KV),
    "qwen2_moe": Family(needs=_KV),
    "qwen3": Family(needs=_KV_HEAD),
    "qwen3_moe": Family(needs=_KV_HEAD),
    "gemma": Family(needs=_KV_HEAD),
    "gemma2": Family(needs=_WINDOWED, period=2, is_windowed=True),
    "gemma3_text": Family(needs=_WINDOWED, period=6, is_windowed=True),
    "gpt_oss": Family(needs=_WINDOWED, period=2, is_windowed=True),
    "cohere": Family(),
    "cohere2": Family(needs=("num_key_value_heads", "sliding_window"), period=4, window_extra=1, is_windowed=True),
    "phi": Family(),
    "phi3": Family(),
    "granite": Family(is_windowed=True),
    "granitemoe": Family(),
    "glm": Family(needs=_KV_HEAD),
    "glm4": Family(needs=_KV_HEAD),
    "glm4_moe": Family(needs=_KV_HEAD),
    "seed_oss": Family(needs=_KV_HEAD),
    "olmoe": Family(),
    "stablelm": Family(needs=_KV),
    "gpt2": Family(),
    "gpt_neox": Family(),
    "deepseek_v2": _LATENT,
    "deepseek_v3": _LATENT,
    "kimi_k2": _LATENT,
    "glm4_moe_lite": _LATENT,
}


@dataclass(frozen=True)
class CacheLayers:
    """The layers of a model that keep a cache; all of them keep the same per token.

    Attributes:
        full: Layers that keep every token.
        windowed: Layers that keep a window.
        window: The window's tokens; 0 where no layer has one.
        heads: KV heads over all devices; 1 for a latent cache, which every device keeps whole.
        head_size: Elements of one head.
        is_latent: One latent vector a token (MLA) in place of keys and values.
    """

    full: int
    windowed: int
    window: int
    heads: int
    head_size: int
    is_latent: bool = False


@dataclass(frozen=True)
class Unknown:
    """What cannot be told, and why."""

    reason: str


def find_text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the part that describes the language model; multimodal configs nest it."""
    for name in _NESTED:
        nested = config.get(name)
        if isinstance(nested, Mapping):
            return find_text_config(nested)
    return config


def find_encoder(config: Mapping[str, Any]) -> str | None:
    """Name the key that tells of an encoder for images, video or sound, or None for a text model."""
    for name in (*_ENCODERS, "thinker_config"):
        if config.get(name):
            return name
    return None


def parse_cache_layers(config: Mapping[str, Any]) -> CacheLayers | Unknown:
    """Tell which cache the layers of a model keep.

    Args:
        config: `config.json`.

    Source: vLLM 0.31.0: `model_executor/layers/attention/` (`get_kv_cache_spec`), `engine/arg_utils.py`
    (a window counts for all layers only where `layer_types` names no other kind), and the models.
    """
    text = find_text_config(config)
    model_type = str(text.get("model_type") or config.get("model_type") or "")
    for name, reason in _UNUSUAL.items():
        if text.get(name) not in (None, False, 0, [], "", {}):
            return Unknown(reason)
    family = FAMILIES.get(model_type)
    if family is None:
        return Unknown(f"`{model_type or 'no model type'}` is not among the model types whose cache this tool knows")
    if missing := [name for name in family.needs if name not in text]:
        return Unknown(f"config.json does not say `{missing[0]}`")
    layers = find_number(text, "num_hidden_layers", "n_layer")
    if not layers:
        return Unknown("config.json does not say `num_hidden_layers`")
    if family.is_latent:
        if not text.get("kv_lora_rank"):
            return Unknown("no `kv_lora_rank`: latent attention is off")
        return CacheLayers(layers, 0, 0, 1, int(text["kv_lora_rank"]) + int(text["qk_rope_head_dim"]), True)
    shape = _find_shape(text)
    if isinstance(shape, Unknown):
        return shape
    windowed = _count_windowed(text, family, model_type, layers)
    if isinstance(windowed, Unknown):
        return windowed
    window = int(text.get("sliding_window") or 0) + family.window_extra if windowed else 0
    return CacheLayers(layers - windowed, windowed, window, *shape)


def find_number(source: Mapping[str, Any], *names: str) -> int | None:
    """Give the first whole number among these keys."""
    for name in names:
        value = source.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _find_shape(text: Mapping[str, Any]) -> tuple[int, int] | Unknown:
    heads = find_number(text, "num_attention_heads", "n_head")
    hidden = find_number(text, "hidden_size", "n_embd")
    kv_heads = text.get("num_key_value_heads") or heads
    head_size = find_number(text, "head_dim") or (hidden // heads if hidden and heads else None)
    if not isinstance(kv_heads, int):
        return Unknown("layers of several sizes" if kv_heads else "config.json does not say its heads")
    if not head_size:
        return Unknown("config.json does not say the size of a head")
    return kv_heads, head_size


def _count_windowed(text: Mapping[str, Any], family: Family, model_type: str, layers: int) -> int | Unknown:
    window = text.get("sliding_window")
    if model_type.startswith("qwen") and not text.get("use_sliding_window", False):
        return 0
    kinds = text.get("layer_types")
    if isinstance(kinds, list):
        if set(kinds) - {"full_attention", "sliding_attention"} or len(kinds) != layers:
            return Unknown("layers of several kinds")
        windowed = kinds.count("sliding_attention")
        if windowed in (0, layers):
            return windowed if window else 0
        return windowed if family.is_windowed and window else Unknown("layers of several kinds")
    if family.period is not None:
        period = find_number(text, "sliding_window_pattern", "_sliding_window_pattern") or family.period
        return layers - layers // period if window else 0
    if window and model_type.startswith("qwen"):
        return Unknown("a sliding window on some of the layers")
    return layers if window else 0
