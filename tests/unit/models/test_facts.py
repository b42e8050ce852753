from __future__ import annotations

import json

import pytest

from stack.errors import ModelError
from stack.models.facts import (
    build_model_facts,
    load_chat_template,
    parse_model_facts,
)

from .conftest import CONFIG, build_safetensors, write_files

SMOLLM2 = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "hidden_size": 576,
    "torch_dtype": "bfloat16",
}


def facts_of(config, chat_template=None, **rest):
    return parse_model_facts(config, dtype_bytes={"BF16": 100}, chat_template=chat_template, **rest)


def test_a_nested_text_config_is_read():
    facts = facts_of({"architectures": ["XForConditionalGeneration"], "text_config": SMOLLM2})
    assert (facts.hidden_layers, facts.kv_heads, facts.head_dim, facts.dtype) == (30, 3, 64, "bfloat16")


def test_without_a_number_of_kv_heads_every_head_has_its_own():
    config = {name: value for name, value in SMOLLM2.items() if name != "num_key_value_heads"}
    assert facts_of(config).kv_heads == 9


def test_a_dtype_that_the_config_does_not_tell_is_that_of_most_weights():
    config = {name: value for name, value in SMOLLM2.items() if name != "torch_dtype"}
    facts = parse_model_facts(config, dtype_bytes={"F32": 10, "F16": 1000, "I8": 9000}, chat_template=None)
    assert facts.dtype == "float16"


@pytest.mark.parametrize(
    ("architecture", "is_pooling"),
    [
        ("LlamaForCausalLM", False),
        ("GPT2LMHeadModel", False),
        ("Qwen2_5_VLForConditionalGeneration", False),
        ("SomethingNew", False),
        ("BertModel", True),
        ("XLMRobertaForSequenceClassification", True),
        ("Qwen2ForRewardModeling", True),
    ],
)
def test_pooling_models_are_told_by_the_end_of_their_architecture(architecture, is_pooling):
    assert facts_of({"architectures": [architecture]}).is_pooling is is_pooling


def test_a_generating_architecture_with_pooling_files_is_an_embedding_model():
    facts = facts_of(SMOLLM2, has_pooling_files=True)
    assert facts.is_pooling


@pytest.mark.parametrize(
    ("template", "is_reasoning"),
    [("{{ messages }}", False), ("{% if enable_thinking %}<think>{% endif %}", True), (None, False)],
)
def test_reasoning_is_guessed_from_the_chat_template(template, is_reasoning):
    facts = facts_of(SMOLLM2, chat_template=template)
    assert (facts.is_reasoning, facts.has_chat_template) == (is_reasoning, template is not None)


def test_a_directory_gives_its_facts(tmp_path):
    files = {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors": build_safetensors(bytes(64)),
        "tokenizer_config.json": b'{"chat_template": "<think>"}',
    }
    facts = build_model_facts(write_files(tmp_path, files))
    assert (facts.weights_bytes, facts.vocab_size, facts.max_position_embeddings) == (64, 128, 256)
    assert (facts.is_reasoning, facts.is_pooling, facts.quantization) == (True, False, None)


def test_a_template_file_wins_over_the_tokenizers_and_default_over_other_names(tmp_path):
    named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    write_files(tmp_path, {"tokenizer_config.json": json.dumps({"chat_template": named}).encode()})
    assert load_chat_template(tmp_path) == "D"
    write_files(tmp_path, {"chat_template.jinja": b"J"})
    assert load_chat_template(tmp_path) == "J"


def test_a_directory_without_a_config_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        build_model_facts(tmp_path)


def test_a_config_that_is_not_json_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read .*config\.json"):
        build_model_facts(write_files(tmp_path, {"config.json": b"{"}))
