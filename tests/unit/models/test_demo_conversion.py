from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from stack.errors import ModelError
from stack.models.demo_conversion import build_target_name, convert_gguf, round_to_bfloat16, unpermute_rotary
from stack.models.demo_tokenizer import TokenizerSource, render_tokenizer
from stack.models.safetensors_header import check_safetensors_size, load_safetensors_header

HEADS, KV_HEADS, HEAD_DIM, HIDDEN, MLP, LAYERS = 2, 1, 32, 64, 128, 1
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abc0123", "Ġ", "ab", "Ġa"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("blk.7.attn_q.weight", "model.layers.7.self_attn.q_proj.weight"),
        ("blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"),
    ],
)
def test_tensors_take_the_names_of_a_llama(name, expected):
    assert build_target_name(name) == expected


def test_a_tensor_without_a_place_is_refused():
    with pytest.raises(ModelError, match=r"blk\.0\.ssm_in\.weight"):
        build_target_name("blk.0.ssm_in.weight")


def permute_as_gguf_does(rows: np.ndarray, heads: int) -> np.ndarray:
    """Put the halves of each rotary pair side by side, as llama.cpp's converter does."""
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, half, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


@given(st.integers(1, 4), st.integers(1, 8))
def test_unpermuting_takes_back_what_the_converter_to_gguf_did(heads, half):
    rows = np.arange(heads * half * 2 * 3, dtype=np.float32).reshape(-1, 3)
    assert np.array_equal(unpermute_rotary(permute_as_gguf_does(rows, heads), heads), rows)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**126), max_value=2.0**126))
def test_rounding_gives_the_nearest_bfloat16(value):
    bits = int(round_to_bfloat16(np.array([value], dtype=np.float32))[0])
    as_float = [
        float(np.array([candidate << 16], dtype=np.uint32).view(np.float32)[0])
        for candidate in (bits, max(bits - 1, 0), bits + 1)
    ]
    distances = [abs(candidate - value) for candidate in as_float]
    assert distances[0] <= min(d for d in distances[1:] if not np.isnan(d))


def test_a_value_between_two_goes_to_the_even_one():
    halves = np.array([0x3F808000, 0x3F818000], dtype=np.uint32).view(np.float32)
    assert [hex(bits) for bits in round_to_bfloat16(halves)] == ["0x3f80", "0x3f82"]


def build_source(**changes) -> TokenizerSource:
    values = {
        "model": "gpt2",
        "pre": "smollm",
        "tokens": TOKENS,
        "token_types": [3, 3, 3, *[1] * (len(TOKENS) - 3)],
        "merges": ["a b", "Ġ a"],
        "bos_id": 1,
        "eos_id": 2,
        "unknown_id": 0,
        "padding_id": 2,
        "chat_template": "{{ messages }}",
    }
    return TokenizerSource(**(values | changes))


def test_the_tokenizer_merges_splits_digits_and_keeps_special_tokens_whole():
    tokenizer = Tokenizer.from_str(render_tokenizer(build_source()))
    encoded = tokenizer.encode("<|im_start|>ab a0123<|im_end|>")
    assert encoded.tokens == ["<|im_start|>", "ab", "Ġa", "0", "1", "2", "3", "<|im_end|>"]
    assert encoded.ids == [TOKENS.index(token) for token in encoded.tokens]
    assert tokenizer.decode(encoded.ids) == "ab a0123"


@pytest.mark.parametrize("changes", [{"pre": "llama-bpe"}, {"model": "llama"}, {"token_types": [6] * len(TOKENS)}])
def test_another_kind_of_tokenizer_is_refused(changes):
    with pytest.raises(ModelError, match="tokenizer"):
        render_tokenizer(build_source(**changes))


@pytest.fixture(scope="module")
def gguf_model(tmp_path_factory):
    """Write a tiny Llama as GGUF, quantised as the demo model is, and give its path and its float weights."""
    import gguf

    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(100000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_rope_dimension_count(HEAD_DIM)
    source = build_source()
    writer.add_tokenizer_model(source.model)
    writer.add_tokenizer_pre(source.pre)
    writer.add_token_list(list(source.tokens))
    writer.add_token_types(list(source.token_types))
    writer.add_token_merges(list(source.merges))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(source.chat_template)
    random = np.random.default_rng(7)
    weights = {"token_embd": (len(TOKENS), HIDDEN), "output_norm": (HIDDEN,)}
    shapes = {
        "attn_norm": (HIDDEN,),
        "attn_q": (HEADS * HEAD_DIM, HIDDEN),
        "attn_k": (KV_HEADS * HEAD_DIM, HIDDEN),
    }
    shapes |= {
        "attn_v": (KV_HEADS * HEAD_DIM, HIDDEN),
        "attn_output": (HIDDEN, HIDDEN),
        "ffn_norm": (HIDDEN,),
    }
    shapes |= {"ffn_gate": (MLP, HIDDEN), "ffn_up": (MLP, HIDDEN), "ffn_down": (HIDDEN, MLP)}
    weights |= {f"blk.0.{name}": shape for name, shape in shapes.items()}
    values = {name: random.standard_normal(shape, dtype=np.float32) for name, shape in weights.items()}
    for name, value in values.items():
        heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(name.rpartition(".")[2])
        stored = permute_as_gguf_does(value, heads) if heads else value
        kind = gguf.GGMLQuantizationType.Q8_0 if stored.ndim == 2 else gguf.GGMLQuantizationType.F32
        data = gguf.quants.quantize(stored, kind)
        writer.add_tensor(f"{name}.weight", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, values


def load_bfloat16(path, name):
    text = path.read_bytes()
    length = int.from_bytes(text[:8], "little")
    tensor = json.loads(text[8 : 8 + length])[name]
    start, end = (8 + length + offset for offset in tensor["data_offsets"])
    bits = np.frombuffer(text[start:end], dtype="<u2").astype(np.uint32) << 16
    return bits.view(np.float32).reshape(tensor["shape"])


def test_a_gguf_becomes_the_float_model_that_it_was_made_from(gguf_model, tmp_path):
    path, values = gguf_model
    counted = []
    convert_gguf(path, tmp_path, on_bytes=counted.append)
    weights = tmp_path / "model.safetensors"
    for name, value in values.items():
        found = load_bfloat16(weights, build_target_name(f"{name}.weight"))
        assert found.shape == value.shape
        # 8-bit blocks and bfloat16 keep about two decimal digits.
        assert np.max(np.abs(found - value)) < 0.05
    assert sum(counted) == load_safetensors_header(weights).weights_bytes
    check_safetensors_size(weights)


def test_the_written_file_is_read_by_safetensors_itself(gguf_model, tmp_path):
    from safetensors import deserialize

    convert_gguf(gguf_model[0], tmp_path, on_bytes=lambda count: None)
    tensors = dict(deserialize((tmp_path / "model.safetensors").read_bytes()))
    assert len(tensors) == 2 + 9 * LAYERS
    assert {tensor["dtype"] for tensor in tensors.values()} == {"BF16"}


def test_the_config_is_that_of_the_gguf(gguf_model, tmp_path):
    convert_gguf(gguf_model[0], tmp_path, on_bytes=lambda count: None)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["rms_norm_eps"] == 1e-05
    assert config["rope_theta"] == 100000.0
    assert (config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]) == (2, 1, 32)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert (settings["bos_token"], settings["eos_token"]) == ("<|im_start|>", "<|im_end|>")
    assert settings["chat_template"] == "{{ messages }}"


def test_converting_twice_gives_the_same_bytes(gguf_model, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        convert_gguf(gguf_model[0], tmp_path / name, on_bytes=lambda count: None)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(names) == 6
    assert all((tmp_path / "one" / n).read_bytes() == (tmp_path / "two" / n).read_bytes() for n in names)
