"""The memory arithmetic on configs like those on the hub; `test_sizing_logs.py` holds it against real engines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.models.sizing import Budget, build_sizing, judge
from stack.models.sizing_engine import build_engine_shape, find_max_context, parse_engine_number, parse_length
from stack.models.sizing_layers import CacheLayers, Unknown, parse_cache_layers
from stack.models.sizing_pool import build_cache_pool
from stack.models.sizing_weights import parse_weight_sizes

from .sizing_configs import DEEPSEEK_V3, GEMMA3_12B, GPT_OSS_20B, LLAMA_8B, QWEN25_VL_7B, build_header

GIB = 1024**3
LLAMA_WEIGHTS = build_header(
    ("model.embed_tokens.weight", "BF16", 1 * GIB),
    ("model.layers.0.self_attn.k_proj.weight", "BF16", 1 * GIB),
    ("model.layers.0.mlp.down_proj.weight", "BF16", 12 * GIB),
    ("lm_head.weight", "BF16", 1 * GIB),
)


def size(config, args=None, *, headers=(LLAMA_WEIGHTS,), device="cuda", device_bytes=24 * GIB):
    return build_sizing(config, list(headers), args or {}, device=device, device_bytes=device_bytes)


def test_grouped_query_attention_keeps_keys_and_values_of_its_kv_heads():
    assert size(LLAMA_8B).pool.token_bytes == 2 * 32 * 8 * 128 * 2


def test_latent_attention_keeps_one_vector_which_no_device_shares():
    assert size(DEEPSEEK_V3, headers=()).pool.token_bytes == 61 * (512 + 64) * 2
    assert size(DEEPSEEK_V3, {"tensor-parallel-size": 8}, headers=()).pool.token_bytes == 61 * (512 + 64) * 2


def test_windowed_layers_stop_growing_and_full_ones_do_not():
    # Its config names no dtype: that of the plain weights counts.
    pool = size(GPT_OSS_20B).pool
    assert (pool.full_groups, pool.windowed_groups, pool.window_tokens) == (1, 1, 127 + 2 * 2048)
    per_token = 12 * 8 * 64 * 2 * 2
    assert pool.compute_request_bytes(65536) - pool.compute_request_bytes(32768) == 32768 * per_token


def test_heads_are_shared_by_devices_and_kept_twice_where_there_are_too_few():
    tokens = [size(LLAMA_8B, {"tensor-parallel-size": n}).pool.token_bytes for n in (1, 2, 8, 16)]
    assert tokens == [131072, 65536, 16384, 16384]


@pytest.mark.parametrize("name", ["fp8", "fp8_e4m3", "fp8_e5m2"])
def test_an_fp8_cache_takes_half(name):
    assert size(LLAMA_8B, {"kv-cache-dtype": name}).pool.token_bytes == 65536


@pytest.mark.parametrize(
    "settings",
    [
        {"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 8, "type": "float"}},
        {"quant_method": "modelopt", "kv_cache_quant_algo": "FP8"},
        {"quant_method": "modelopt", "quantization": {"kv_cache_quant_algo": "FP8"}},
    ],
)
def test_a_checkpoint_may_ask_for_an_fp8_cache_and_the_user_has_the_last_word(settings):
    config = LLAMA_8B | {"quantization_config": settings}
    assert size(config).pool.token_bytes == 65536
    assert size(config, {"kv-cache-dtype": "bfloat16"}).pool.token_bytes == 131072


@pytest.mark.parametrize(
    ("config", "args", "reason"),
    [
        (LLAMA_8B | {"model_type": "brand_new"}, {}, "brand_new"),
        (LLAMA_8B | {"mamba_d_state": 16}, {}, "Mamba"),
        (LLAMA_8B | {"layers_block_type": ["mamba", "attention"]}, {}, "several kinds"),
        (LLAMA_8B | {"layer_types": ["full_attention", "linear_attention"] * 16}, {}, "several kinds"),
        (LLAMA_8B | {"full_attention_interval": 4}, {}, "linear-attention"),
        (LLAMA_8B | {"num_key_value_heads": [1, 2]}, {}, "several sizes"),
        (LLAMA_8B | {"num_kv_shared_layers": 20}, {}, "share their cache"),
        (DEEPSEEK_V3 | {"index_topk": 2048}, {}, "sparse"),
        (LLAMA_8B | {"model_type": "mistral"}, {}, "sliding_window"),
        (LLAMA_8B | {"model_type": "qwen3"}, {}, "head_dim"),
        (QWEN25_VL_7B, {}, "qwen2_5_vl"),
        (GEMMA3_12B, {}, "multimodal"),
        (LLAMA_8B, {"kv-cache-dtype": "nvfp4"}, "nvfp4"),
        (LLAMA_8B, {"speculative-config": {"model": "x"}}, "draft"),
        (LLAMA_8B, {"pipeline-parallel-size": 2}, "pipeline"),
        ({name: value for name, value in LLAMA_8B.items() if name != "torch_dtype"}, {}, "dtype"),
    ],
)
def test_what_is_not_plain_is_unknown_with_its_reason_and_never_promised(config, args, reason):
    sizing = size(config, args, headers=())
    assert isinstance(sizing.pool, Unknown)
    assert reason in sizing.pool.reason
    assert reason in sizing.find_unknowns()["kv"]
    assert judge(sizing, Budget(80 * GIB, 80 * GIB, 0.92)).fits == "unknown"
    assert sizing.total.high is None


def test_a_model_of_which_little_is_known_still_does_not_fit_where_its_weights_do_not():
    verdict = judge(size(QWEN25_VL_7B), Budget(12 * GIB, 12 * GIB, 0.9))
    assert (verdict.fits, verdict.context) == ("no", (0, 0))


def test_the_language_part_of_a_nested_config_is_read():
    layers = parse_cache_layers(GEMMA3_12B)
    assert layers == CacheLayers(full=8, windowed=40, window=1024, heads=8, head_size=256)


@pytest.mark.parametrize(
    ("extra", "windowed"),
    [
        ({"sliding_window": None}, 0),
        ({"sliding_window": 4096}, 32),
        ({"sliding_window": 4096, "layer_types": ["full_attention"] * 32}, 0),
        ({"sliding_window": 4096, "layer_types": ["sliding_attention"] * 32}, 32),
        ({"sliding_window": 4096, "layer_types": ["full_attention", "sliding_attention"] * 16}, 16),
    ],
)
def test_a_window_counts_for_the_layers_that_have_it(extra, windowed):
    layers = parse_cache_layers(LLAMA_8B | extra)
    assert (layers.windowed, layers.full) == (windowed, 32 - windowed)


@pytest.mark.parametrize("args", [{"enable-lora": True}, {"cpu-offload-gb": 1}, {"speculative-config": {"model": "x"}}])
def test_what_takes_memory_of_its_own_leaves_the_overhead_without_an_upper_end(args):
    sizing = size(LLAMA_8B, args)
    assert sizing.overhead.high is None
    assert next(iter(args)) in sizing.find_unknowns()["overhead"]
    assert judge(sizing, Budget(80 * GIB, 80 * GIB, 0.92)).fits == "unknown"


@pytest.mark.parametrize("args", [{"enable-lora": False}, {"pipeline-parallel-size": 1}, {"cpu-offload-gb": 0}])
def test_what_is_switched_off_leaves_nothing_unknown(args):
    assert size(LLAMA_8B, args).find_unknowns() == {}


def test_qwen_has_a_window_only_where_it_is_switched_on():
    config = LLAMA_8B | {"model_type": "qwen2", "sliding_window": 32768}
    assert parse_cache_layers(config).windowed == 0
    assert isinstance(parse_cache_layers(config | {"use_sliding_window": True}), Unknown)


def test_weights_are_counted_once_where_the_file_holds_them_twice():
    tied = parse_weight_sizes(LLAMA_8B | {"tie_word_embeddings": True}, LLAMA_WEIGHTS.tensors, dtype="bfloat16")
    assert (tied.file_bytes, tied.loaded_bytes) == (15 * GIB, 14 * GIB)


def test_layers_for_multi_token_prediction_are_not_loaded():
    header = build_header(
        ("model.layers.60.mlp.experts.0.up_proj.weight", "F8_E4M3", 100),
        ("model.layers.61.mlp.experts.0.up_proj.weight", "F8_E4M3", 50),
    )
    sizes = parse_weight_sizes(DEEPSEEK_V3, header.tensors, dtype="bfloat16")
    assert (sizes.file_bytes, sizes.loaded_bytes) == (150, 100)


def test_plain_weights_take_the_engines_dtype_and_quantised_ones_stay():
    tensors = build_header(("a.weight", "F32", 400), ("b.qweight", "I32", 100)).tensors
    assert parse_weight_sizes(LLAMA_8B, tensors, dtype="bfloat16").loaded_bytes == 300
    quantised = LLAMA_8B | {"quantization_config": {"quant_method": "awq"}}
    sizes = parse_weight_sizes(quantised, tensors, dtype="bfloat16")
    assert (sizes.loaded_bytes, dict(sizes.dtype_bytes)) == (500, {"F32": 400, "I32": 100})


@pytest.mark.parametrize("method", ["fp8", "bitsandbytes", "mxfp4"])
def test_quantising_while_loading_has_no_upper_end(method):
    sizing = size(LLAMA_8B, {"quantization": method})
    assert sizing.weights.max_device_bytes is None
    assert method in sizing.find_unknowns()["weights"]
    assert judge(sizing, Budget(24 * GIB, 24 * GIB, 0.9)).fits == "unknown"


def test_devices_share_matrices_and_each_has_the_rest():
    tensors = (
        *build_header(("model.layers.0.mlp.down_proj.weight", "BF16", 800)).tensors,
        *build_header(("model.norm.weight", "BF16", 100), rank=1).tensors,
    )
    sizes = parse_weight_sizes(LLAMA_8B, tensors, dtype="bfloat16", tensor_parallel=4)
    assert (sizes.min_device_bytes, sizes.max_device_bytes) == (225, 300)


def test_kv_projections_are_cut_into_no_more_parts_than_there_are_heads():
    tensors = build_header(("model.layers.0.self_attn.k_proj.weight", "BF16", 1600)).tensors
    sizes = parse_weight_sizes(LLAMA_8B, tensors, dtype="bfloat16", tensor_parallel=16)
    assert (sizes.min_device_bytes, sizes.max_device_bytes) == (100, 200)


@pytest.mark.parametrize(
    ("total_bytes", "fits"), [(80 * GIB, "yes"), (24 * GIB, "uncertain"), (16 * GIB, "no")]
)  # fmt: skip
def test_a_gpu_gives_yes_perhaps_or_no_by_what_the_range_allows(total_bytes, fits):
    args = {"max-model-len": 32768}
    verdict = judge(size(LLAMA_8B, args, device_bytes=total_bytes), Budget(total_bytes, total_bytes, 0.92))
    assert verdict.fits == fits
    least, most = verdict.context
    assert least <= most


def test_less_free_than_claimed_does_not_fit_whatever_the_model():
    verdict = judge(size(LLAMA_8B), Budget(24 * GIB, 20 * GIB, 0.92))
    assert verdict.fits == "no"
    assert verdict.reason == "vLLM claims 22.08 GiB at start, and 20.00 GiB is free"


def test_a_cache_of_a_set_size_is_held_against_what_is_free():
    sizing = size(LLAMA_8B, {"max-model-len": 8192})
    assert judge(sizing, Budget(24 * GIB, 24 * GIB, kv_bytes=4 * GIB)).fits == "yes"
    assert judge(sizing, Budget(24 * GIB, 17 * GIB, kv_bytes=4 * GIB)).fits == "no"


def test_without_a_gpu_and_without_a_size_nothing_is_said():
    assert judge(size(LLAMA_8B), Budget()).fits == "unknown"


@pytest.mark.parametrize(
    ("scaling", "context"),
    [
        (None, 131072),
        ({"rope_type": "llama3", "factor": 8.0}, 131072),
        ({"type": "linear", "factor": 2.0}, 262144),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 131072),
    ],
)
def test_only_some_kinds_of_scaling_stretch_the_context(scaling, context):
    assert find_max_context(LLAMA_8B | {"rope_scaling": scaling}) == context


@pytest.mark.parametrize(
    ("value", "length"),
    [(None, (None, False)), ("auto", (None, True)), (-1, (None, True)), (8192, (8192, False)), ("8k", (8000, False)),
     ("8K", (8192, False)), ("1.5k", (1500, False)), ("long", (None, False))],
)  # fmt: skip
def test_lengths_are_read_as_vllm_reads_them(value, length):
    assert parse_length(value) == length


def test_sizes_are_read_as_vllm_reads_them():
    assert [parse_engine_number(text) for text in ("1G", "1g", "64M", "7")] == [2**30, 10**9, 2**26, 7]


@pytest.mark.parametrize(
    ("device_bytes", "batch"), [(24 * GIB, (2048, 256)), (80 * GIB, (8192, 1024)), (180 * GIB, (16384, 1024))]
)
def test_batch_defaults_follow_the_gpu(device_bytes, batch):
    shape = build_engine_shape(LLAMA_8B, {}, device="cuda", layers=Unknown(""), device_bytes=device_bytes)
    assert (shape.batched_tokens, shape.sequences) == batch


layers_of_some_kind = st.builds(
    CacheLayers,
    full=st.integers(1, 80),
    windowed=st.integers(0, 80),
    window=st.integers(1, 8192),
    heads=st.integers(1, 64),
    head_size=st.sampled_from([32, 64, 128, 256]),
)


@given(
    layers=layers_of_some_kind,
    parallel=st.integers(1, 8),
    pool_bytes=st.integers(0, 2**36),
    more=st.integers(0, 2**34),
)
def test_more_memory_never_gives_less_context_and_what_fits_really_fits(layers, parallel, pool_bytes, more):
    pool = build_cache_pool(layers, element_bytes=2, block_tokens=16, in_flight_tokens=4096, tensor_parallel=parallel)
    fitting = pool.find_largest_context(pool_bytes, 2**20)
    assert pool.find_largest_context(pool_bytes + more, 2**20) >= fitting
    if fitting:
        assert pool.compute_request_bytes(fitting) + pool.block_bytes <= pool_bytes
        assert pool.compute_concurrency(pool_bytes, fitting) >= 1
    if fitting < 2**20:
        assert pool.compute_request_bytes(fitting + 1) + pool.block_bytes > pool_bytes


@given(
    config=st.sampled_from([LLAMA_8B, DEEPSEEK_V3, GPT_OSS_20B]),
    low=st.floats(0.05, 0.99),
    high=st.floats(0.05, 0.99),
    parallel=st.sampled_from([1, 2, 4]),
)
def test_more_utilization_never_gives_less_context(config, low, high, parallel):
    sizing = size(config, {"tensor-parallel-size": parallel}, device_bytes=80 * GIB)
    low, high = sorted((low, high))
    less, more = (judge(sizing, Budget(80 * GIB, 80 * GIB, ratio)).context for ratio in (low, high))
    assert all(a <= b for a, b in zip(less, more, strict=True))


@given(config=st.sampled_from([LLAMA_8B, GPT_OSS_20B]), tokens=st.integers(1, 131072), more=st.integers(0, 131072))
def test_a_longer_request_never_takes_less(config, tokens, more):
    pool = size(config).pool
    assert pool.compute_request_bytes(tokens) <= pool.compute_request_bytes(tokens + more)
