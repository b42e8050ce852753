"""Smoke must fail on models that are really damaged, and must not on a sound one that computes in another way."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import load_file, save_file

from tests.scenarios.harness import Stack
from tests.scenarios.projects import render_config

CONFIG = render_config(None, after='[images]\nsource = "packages"\n')

Tensors = dict[str, numpy.ndarray]
# Layers, the chat template and the compiled engine are what the others would tell, too.
more_boots = pytest.mark.skipif(
    os.environ.get("STACK_TEST_ALL_DAMAGES") != "1",
    reason="one more boot of the real engine, a minute: STACK_TEST_ALL_DAMAGES=1 runs it",
)


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack]) -> Stack:
    return make_stack("damaged", CONFIG)


@pytest.fixture(scope="module")
def sound(stack: Stack) -> Path:
    document = stack.run("warm", "--model", "demo", "--json").demand().json()
    return Path(document["path"])


def permute_rotary_pairs(tensors: Tensors) -> None:
    # What a conversion does that forgets to undo GGUF's order of rotary pairs.
    for name, tensor in tensors.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = tensor.shape[0] // 64
            pairs = tensor.reshape(heads, 2, 32, tensor.shape[1])
            tensors[name] = numpy.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(tensor.shape)


def swap_two_layers(tensors: Tensors) -> None:
    for name in [name for name in tensors if ".layers.3." in name]:
        other = name.replace(".layers.3.", ".layers.20.")
        tensors[name], tensors[other] = tensors[other], tensors[name]


def write_damaged(sound: Path, folder: Path, damage: Callable[[Tensors], None]) -> Path:
    shutil.copytree(sound, folder)
    weights = folder / "model.safetensors"
    tensors = load_file_as_bits(weights)
    damage(tensors)
    write_bits(weights, tensors)
    return folder


def load_file_as_bits(path: Path) -> Tensors:
    # NumPy has no bfloat16: the header is rewritten so that each value passes as 16 plain bits.
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size].replace(b'"BF16"', b'"U16" ')
    plain = path.with_suffix(".bits")
    plain.write_bytes(data[:8] + header + data[8 + size :])
    tensors = {name: tensor.copy() for name, tensor in load_file(plain).items()}
    plain.unlink()
    return tensors


def write_bits(path: Path, tensors: Tensors) -> None:
    save_file(tensors, path, metadata={"format": "pt"})
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size].replace(b'"U16"', b'"BF16"')
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + size :])
    path.chmod(0o644)


def failed_checks(stack: Stack, model: Path) -> set[str]:
    done = stack.run("up", "--model", str(model), "--json").demand(1)
    assert done.json()["smoke"]["passed"] is False
    found = re.search(r"the last smoke test failed at [^(]*\(([^)]*)\)", done.err)
    assert found is not None, done.err
    return set(found[1].split(", "))


@more_boots
def test_permuted_rotary_pairs_fail(stack: Stack, sound: Path, tmp_path: Path) -> None:
    damaged = write_damaged(sound, tmp_path / "rotary", permute_rotary_pairs)
    assert failed_checks(stack, damaged) & {"canaries", "likelihood"}


@pytest.mark.fault(
    "the weights load and are damaged",
    "`stack up` ends with 1: the smoke test finds wrong answers or unlikely texts",
)
def test_two_swapped_layers_fail(stack: Stack, sound: Path, tmp_path: Path) -> None:
    damaged = write_damaged(sound, tmp_path / "layers", swap_two_layers)
    assert failed_checks(stack, damaged) & {"canaries", "likelihood"}


@more_boots
def test_a_wrong_rope_theta_fails(stack: Stack, sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "theta"
    shutil.copytree(sound, folder)
    config = json.loads((folder / "config.json").read_text())
    for place in (config, config.get("rope_parameters") or {}):
        if "rope_theta" in place:
            place["rope_theta"] = 1_000_000.0
    (folder / "config.json").write_text(json.dumps(config))
    assert failed_checks(stack, folder) & {"canaries", "likelihood"}


def test_a_foreign_chat_template_fails(stack: Stack, sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "template"
    shutil.copytree(sound, folder)
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["chat_template"] = (
        "{% for message in messages %}<start_of_turn>{{ message['role'] }}\n{{ message['content'] }}<end_of_turn>\n"
        "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    assert failed_checks(stack, folder) & {"chat-template", "canaries"}


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param('dtype = "float32"', id="float32", marks=more_boots),
        pytest.param("enforce-eager = false", id="compiled"),
    ],
)
def test_the_sound_model_passes_in_another_numeric_mode(stack: Stack, sound: Path, arguments: str) -> None:
    stack.write_config(f"{CONFIG}\n[engine.args]\n{arguments}\n")
    done = stack.run("up", "--model", "demo").demand()
    assert "smoke     passed" in done.out
