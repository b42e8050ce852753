"""`stack doctor --estimate`: from a hub stub, a directory and the demo model, on boards that answer as documented."""

from __future__ import annotations

import json
import struct

import pytest

from stack.checks.gpus import GpuReport, read_gpus
from stack.errors import ConfigError, ModelError
from stack.operations.doctor.estimate import build_memory_judge, run_estimate, split_revision
from stack.operations.doctor.estimate_report import build_document, build_heading, build_rows
from tests.fixtures.fake_hub import run_hub
from tests.fixtures.fake_nvml import H100, RTX_4090, build_nvml

GIB = 1024**3
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}


def build_weights(size_bytes: int) -> bytes:
    """Give the beginning of a file that says of itself that it holds so many bytes of weights."""
    tensor = {"dtype": "BF16", "shape": [size_bytes // 2, 1], "data_offsets": [0, size_bytes]}
    header = json.dumps({"model.layers.0.mlp.down_proj.weight": tensor}).encode()
    return struct.pack("<Q", len(header)) + header


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    yield from run_hub()


@pytest.fixture
def estimate(make_session, tmp_path):
    """A function: a model, and boards, give its estimate; `toml` stands in stack.toml."""

    def call(model, *boards, toml=""):
        report = (
            read_gpus(build_nvml(*boards), tmp_path / "no-pci")
            if boards
            else GpuReport(reason="none", has_device=False)
        )
        return run_estimate(make_session(toml), model, ask_gpus=lambda: report)

    return call


def list_figures(found):
    return {what: figure for what, figure, _ in build_rows(found)}


def test_a_model_of_the_hub_is_sized_without_its_weights(hub, estimate):
    model = hub.add_model(
        "acme/large", {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": build_weights(16 * GIB)}
    )
    toml = f'[model]\nendpoint = "{hub.endpoint}"\n[engine.args]\nmax-model-len = 32768\n'
    found = estimate(f"acme/large@{model.commit}", H100, toml=toml)
    figures = list_figures(found)
    assert (figures["weights"], figures["KV cache of a token"]) == ("16.00 GiB", "128.00 KiB")
    assert (figures["KV cache for 32768 tokens"], figures["fits"]) == ("4.00 GiB", "yes")
    assert found.files.revision == model.commit
    assert hub.sent_bytes < 20_000
    assert build_document(found)["largest_context"] == [131072, 131072]


def test_a_smaller_board_gives_a_range_and_says_that_it_depends(hub, estimate):
    hub.add_model(
        "acme/large", {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": build_weights(16 * GIB)}
    )
    toml = f'[model]\nendpoint = "{hub.endpoint}"\n[engine.args]\nmax-model-len = 32768\n'
    document = build_document(estimate("acme/large", RTX_4090, toml=toml))
    least, most = document["largest_context"]
    assert document["fits"] == "uncertain"
    assert 0 < least < 32768 < most
    assert document["budget"]["claimed_bytes"] <= document["budget"]["free_bytes"]


def test_the_demo_model_is_sized_before_it_is_here(estimate):
    found = estimate("demo", toml='[engine.args]\nkv-cache-memory-bytes = "256M"\nmax-model-len = 2048\n')
    figures = list_figures(found)
    # vLLM 0.31.0 said of this model and these args: 5.69 requests of 2,048 tokens.
    assert (figures["weights"], figures["requests at once"]) == ("256.57 MiB", "5.7")
    assert build_heading(found).startswith("demo on CPU: sized from 1 header in this tool")


def test_what_is_not_known_is_said_with_its_reason_and_null(estimate, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG | {"model_type": "brand_new"}))
    (folder / "model.safetensors").write_bytes(build_weights(64) + bytes(64))
    found = estimate(str(folder), H100)
    document = build_document(found)
    assert (document["fits"], document["kv"]["token_bytes"], document["total_bytes"][1]) == ("unknown", None, None)
    assert "brand_new" in document["unknown"]["kv"]
    assert list_figures(found)["KV cache of a token"] == "unknown"
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_a_device_that_was_asked_for_and_is_not_here_is_sized_without_a_budget(estimate):
    found = estimate("demo", toml='[engine]\ndevice = "cuda"\n')
    assert (found.device, found.verdict.fits) == ("cuda", "unknown")
    assert list_figures(found)["budget"] == "none"


@pytest.mark.parametrize("model", ["demo@main", "no-such-form"])
def test_a_model_that_cannot_be_had_ends_with_the_models_exit_code(estimate, model):
    with pytest.raises(ModelError) as caught:
        estimate(model)
    assert caught.value.exit_code == 7


def test_a_directory_that_is_not_there_is_a_wrong_argument(estimate):
    with pytest.raises(ConfigError, match="--estimate: `/nowhere/at/all` is no directory"):
        estimate("/nowhere/at/all")


def test_offline_a_hub_model_that_is_not_here_is_refused(make_session):
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        run_estimate(make_session("", HF_HUB_OFFLINE="1"), "acme/none", ask_gpus=GpuReport)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("org/name@v1", ("org/name", "v1")),
        ("org/name", ("org/name", None)),
        ("/models/a@b", ("/models/a@b", None)),
        ("org/name@", ("org/name", None)),
    ],
)
def test_a_revision_stands_behind_the_at_sign_of_a_hub_id(text, parts):
    assert split_revision(text) == parts


def test_doctors_check_gets_the_same_verdict(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "model.safetensors").write_bytes(build_weights(64) + bytes(64))
    judge = build_memory_judge(tmp_path, {"gpu-memory-utilization": 0.9, "max-model-len": 4096}, device="cuda")
    fitting, refused = judge(80 * GIB, 80 * GIB), judge(80 * GIB, 10 * GIB)
    assert (fitting.fits, fitting.kv_bytes, fitting.asked_context) == ("yes", GIB // 2, 4096)
    assert refused.fits == "no"
