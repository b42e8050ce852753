"""A Llama GGUF becomes a Hugging Face directory: dequantised, un-permuted, bfloat16, always the same bytes.

Checked by hand in a throw-away environment with torch 2.13.0 and transformers 5 on 2026-11-21: greedy
continuation of "The capital of France is" gives " Paris", and "What is the capital of Germany?" through the
chat template is answered "The capital of Germany is Berlin.".
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stack.errors import ModelError
from stack.models.demo_tokenizer import (
    TokenizerSource,
    render_config,
    render_generation_config,
    render_special_tokens_map,
    render_tokenizer,
    render_tokenizer_config,
)

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader, ReaderTensor

OnBytes = Callable[[int], None]

_BFLOAT16_BYTES = 2
_ROWS_AT_ONCE = 4096
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP_NAMES = {"token_embd": "embed_tokens", "output_norm": "norm"}


@dataclass(frozen=True)
class _Tensor:
    name: str
    source: ReaderTensor
    shape: tuple[int, ...]
    rotary_heads: int | None

    @property
    def size_bytes(self) -> int:
        count = _BFLOAT16_BYTES
        for length in self.shape:
            count *= length
        return count


def convert_gguf(gguf_path: Path, target: Path, *, on_bytes: OnBytes) -> None:
    """Write the Hugging Face files of a Llama GGUF with a SmolLM tokenizer into the folder `target`.

    Args:
        gguf_path: The model.
        target: An empty folder.
        on_bytes: Told the size of each piece of weights written; in all `count_weights_bytes(gguf_path)`.

    Raises:
        ModelError: The GGUF is no such model.
    """
    from gguf import GGUFReader  # noqa: PLC0415 (loads numpy)

    reader = GGUFReader(str(gguf_path))
    metadata = _load_metadata(reader)
    tokenizer = _build_tokenizer_source(metadata)
    texts = {
        "config.json": render_config(metadata),
        "generation_config.json": render_generation_config(metadata),
        "special_tokens_map.json": render_special_tokens_map(tokenizer),
        "tokenizer.json": render_tokenizer(tokenizer),
        "tokenizer_config.json": render_tokenizer_config(tokenizer, metadata["llama.context_length"]),
    }
    for name, text in texts.items():
        (target / name).write_text(text, encoding="utf-8")
    _write_safetensors(target / "model.safetensors", _plan_tensors(reader, metadata), on_bytes)


def build_target_name(name: str) -> str:
    """Give the Hugging Face name of a GGUF tensor of a Llama model with tied embeddings.

    Raises:
        ModelError: The tensor has no place in such a model.
    """
    parts = name.removesuffix(".weight").split(".")
    if len(parts) == 1 and parts[0] in _TOP_NAMES:
        return f"model.{_TOP_NAMES[parts[0]]}.weight"
    if len(parts) == 3 and parts[0] == "blk" and parts[2] in _LAYER_NAMES:
        return f"model.layers.{parts[1]}.{_LAYER_NAMES[parts[2]]}.weight"
    raise ModelError(f"the demo model holds an unknown tensor `{name}`")


def unpermute_rotary(rows: np.ndarray, heads: int) -> np.ndarray:
    """Put the rows of a query or key projection back into Hugging Face's order.

    Shapes: `rows` is (heads * head_dim, hidden). GGUF keeps the two halves of each rotary pair side by side,
    Hugging Face half a head apart.
    """
    pairs = rows.shape[0] // heads // 2
    return rows.reshape(heads, pairs, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def round_to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Give the bfloat16 bits (uint16) nearest to float32 values, ties to even; the values must be finite."""
    import numpy as np  # noqa: PLC0415

    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    lowest_kept = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + lowest_kept) >> np.uint32(16)).astype("<u2")


def _load_metadata(reader: GGUFReader) -> dict[str, Any]:
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    if metadata.get("general.architecture") != "llama":
        raise ModelError(f"the demo model is a {metadata.get('general.architecture')}, not a llama")
    return metadata


def _build_tokenizer_source(metadata: dict[str, Any]) -> TokenizerSource:
    return TokenizerSource(
        model=metadata["tokenizer.ggml.model"],
        pre=metadata["tokenizer.ggml.pre"],
        tokens=metadata["tokenizer.ggml.tokens"],
        token_types=metadata["tokenizer.ggml.token_type"],
        merges=metadata["tokenizer.ggml.merges"],
        bos_id=metadata["tokenizer.ggml.bos_token_id"],
        eos_id=metadata["tokenizer.ggml.eos_token_id"],
        unknown_id=metadata["tokenizer.ggml.unknown_token_id"],
        padding_id=metadata["tokenizer.ggml.padding_token_id"],
        chat_template=metadata["tokenizer.chat_template"],
    )


def _plan_tensors(reader: GGUFReader, metadata: dict[str, Any]) -> list[_Tensor]:
    heads = {
        "attn_q": metadata["llama.attention.head_count"],
        "attn_k": metadata["llama.attention.head_count_kv"],
    }
    planned = [
        _Tensor(
            name=build_target_name(tensor.name),
            source=tensor,
            # GGUF counts dimensions from the innermost.
            shape=tuple(int(length) for length in reversed(tensor.shape)),
            rotary_heads=heads.get(tensor.name.removesuffix(".weight").rpartition(".")[2]),
        )
        for tensor in reader.tensors
    ]
    return sorted(planned, key=lambda tensor: tensor.name)


def _write_safetensors(path: Path, tensors: list[_Tensor], on_bytes: OnBytes) -> None:
    """Write the safetensors format: the header's length (8 bytes), the header (JSON), the data.

    Source: https://github.com/huggingface/safetensors#format
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in tensors:
        end = offset + tensor.size_bytes
        header[tensor.name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            for piece in _iterate_pieces(tensor):
                stream.write(piece)
                on_bytes(len(piece))
        stream.flush()
        os.fsync(stream.fileno())


def _iterate_pieces(tensor: _Tensor) -> Iterator[bytes]:
    from gguf.quants import dequantize  # noqa: PLC0415

    if tensor.rotary_heads is not None:
        values = dequantize(tensor.source.data, tensor.source.tensor_type)
        yield round_to_bfloat16(unpermute_rotary(values, tensor.rotary_heads)).tobytes()
        return
    data = tensor.source.data
    for start in range(0, data.shape[0], _ROWS_AT_ONCE):
        values = dequantize(data[start : start + _ROWS_AT_ONCE], tensor.source.tensor_type)
        yield round_to_bfloat16(values).tobytes()
