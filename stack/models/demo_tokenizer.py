"""The demo model's tokenizer and settings as Hugging Face files (pure, the same bytes every time).

The JSON is written by hand and not through `tokenizers`, whose serialised form changes between its releases:
the demo model's files have recorded hashes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stack.errors import ModelError

# GGUF's token types: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (tokenizer.ggml.token_type).
_NORMAL = 1
_CONTROL = 3


@dataclass(frozen=True)
class TokenizerSource:
    """What the GGUF says of the tokenizer.

    Shapes: `tokens` and `token_types` have one entry an id; `merges` hold `left right`, best first.
    """

    model: str
    pre: str
    tokens: Sequence[str]
    token_types: Sequence[int]
    merges: Sequence[str]
    bos_id: int
    eos_id: int
    unknown_id: int
    padding_id: int
    chat_template: str


def render_tokenizer(source: TokenizerSource) -> str:
    """Give `tokenizer.json`: byte-level BPE that splits digits one by one.

    Raises:
        ModelError: The GGUF holds another kind of tokenizer.

    Source: llama.cpp's pre-tokenizer `smollm` splits every digit off and then applies GPT-2's pattern, which
    is `Digits` followed by `ByteLevel` in the words of `tokenizers`.
    """
    if (source.model, source.pre) != ("gpt2", "smollm"):
        raise ModelError(f"the demo model's tokenizer is {source.model}/{source.pre}, not gpt2/smollm")
    strange = {kind for kind in source.token_types if kind not in (_NORMAL, _CONTROL)}
    if strange:
        raise ModelError(f"the demo model's tokenizer has tokens of unknown types {sorted(strange)}")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _build_added_tokens(source),
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": None,
        "decoder": byte_level | {"add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(source.tokens)},
            "merges": list(source.merges),
        },
    }
    return _render(document)


def render_tokenizer_config(source: TokenizerSource, max_length: int) -> str:
    """Give `tokenizer_config.json`, with the chat template."""
    specials = [row["content"] for row in _build_added_tokens(source)]
    document = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {str(row["id"]): _without_id(row) for row in _build_added_tokens(source)},
        "additional_special_tokens": [
            token for token in specials if token in (source.tokens[source.bos_id], source.tokens[source.eos_id])
        ],
        **_build_special_tokens(source),
        "chat_template": source.chat_template,
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_length,
        # GPT2Tokenizer, which upstream names, builds its own pre-tokenizer in transformers 5 and would not
        # split digits; this class takes tokenizer.json as it is in transformers 4 and 5.
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    return _render(document)


def render_special_tokens_map(source: TokenizerSource) -> str:
    """Give `special_tokens_map.json`."""
    return _render(_build_special_tokens(source))


def render_config(metadata: dict[str, Any]) -> str:
    """Give `config.json` of a Llama model from the GGUF's `llama.*` and `tokenizer.ggml.*` fields."""
    document = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": metadata["tokenizer.ggml.bos_token_id"],
        "eos_token_id": metadata["tokenizer.ggml.eos_token_id"],
        "head_dim": metadata["llama.rope.dimension_count"],
        "hidden_act": "silu",
        "hidden_size": metadata["llama.embedding_length"],
        "initializer_range": 0.041666666666666664,
        "intermediate_size": metadata["llama.feed_forward_length"],
        "max_position_embeddings": metadata["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": metadata["llama.attention.head_count"],
        "num_hidden_layers": metadata["llama.block_count"],
        "num_key_value_heads": metadata["llama.attention.head_count_kv"],
        "pad_token_id": metadata["tokenizer.ggml.padding_token_id"],
        "pretraining_tp": 1,
        # GGUF keeps it as a float32, whose shortest decimal form is meant.
        "rms_norm_eps": float(f"{metadata['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        "rope_scaling": None,
        "rope_theta": float(metadata["llama.rope.freq_base"]),
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": metadata["llama.vocab_size"],
    }
    return _render(document)


def render_generation_config(metadata: dict[str, Any]) -> str:
    """Give `generation_config.json`."""
    document = {
        "bos_token_id": metadata["tokenizer.ggml.bos_token_id"],
        "eos_token_id": metadata["tokenizer.ggml.eos_token_id"],
        "pad_token_id": metadata["tokenizer.ggml.padding_token_id"],
    }
    return _render(document)


def _build_added_tokens(source: TokenizerSource) -> list[dict[str, Any]]:
    return [
        {
            "id": index,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for index, (token, kind) in enumerate(zip(source.tokens, source.token_types, strict=True))
        if kind == _CONTROL
    ]


def _build_special_tokens(source: TokenizerSource) -> dict[str, str]:
    return {
        "bos_token": source.tokens[source.bos_id],
        "eos_token": source.tokens[source.eos_id],
        "pad_token": source.tokens[source.padding_id],
        "unk_token": source.tokens[source.unknown_id],
    }


def _without_id(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "id"}


def _render(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=False) + "\n"
