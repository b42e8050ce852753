import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.config.keys import build_keys
from stack.config.unknown import describe_unknown_key, describe_unknown_variable


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("engin", "engine"),
        ("engine.api_key", "engine.api-key"),
        ("engine.devcie", "engine.device"),
        ("engine.max-model-len", "engine.args.max-model-len"),
        ("engine.max_model_len", "engine.args.max-model-len"),
        ("engine.port", "services.engine.port"),
        ("engine.gpus", "engine.devices"),
        ("model.name", "model.id"),
        ("served-name", "model.served-name"),
        ("services.node_exporter", "services.node-exporter"),
        ("services.vllm", "services.engine"),
        ("services.grafana.prt", "services.grafana.port"),
        ("grafana", "services.grafana"),
        ("volume", "model.volume"),
    ],
)
def test_the_nearest_key_is_named(path, nearest):
    assert describe_unknown_key(path.split(".")) == f"unknown key; the nearest is `{nearest}`"


def test_where_nothing_is_near_the_keys_of_the_table_are_listed():
    assert describe_unknown_key(["model", "zzz"]) == (
        "unknown key; here may stand `id`, `revision`, `served-name`, `volume`, `endpoint`, `token-file`"
    )


@given(st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_no_unknown_key_crashes(path):
    assert describe_unknown_key(path).startswith("unknown key; ")


def test_the_nearest_variable_is_named():
    known = [key.env_name for key in build_keys()]
    assert describe_unknown_variable("STACK_ENGINE_DEVCE", known).endswith("the nearest is `STACK_ENGINE_DEVICE`")
    assert "STACK_ENGINE_DEVICE" in describe_unknown_variable("STACK_ZZZZZZ", known)
