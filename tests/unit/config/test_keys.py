from stack.config.keys import build_key_index, build_keys, read_key, takes_path
from stack.config.schema import StackConfig


def test_every_variable_names_one_key_only():
    names = [key.env_name for key in build_keys()]
    assert len(names) == len(set(names))


def test_keys_are_in_toml_spelling_and_variables_follow():
    index = build_key_index()
    assert index[("model", "served-name")].env_name == "STACK_MODEL_SERVED_NAME"
    assert index[("services", "node-exporter", "enabled")].env_name == "STACK_SERVICES_NODE_EXPORTER_ENABLED"


def test_tables_maps_and_values_are_told_apart():
    kinds = {key.dotted: key.kind for key in build_keys()}
    assert (kinds["engine"], kinds["engine.args"], kinds["engine.devices"]) == ("table", "map", "value")
    assert {name for name, kind in kinds.items() if kind == "map"} == {
        "engine.args",
        "engine.env",
        "engine.mounts",
        "images.mirror",
        "images.sources",
    }


def test_every_key_can_be_read_from_a_configuration():
    config = StackConfig()
    for key in build_keys():
        value = read_key(config, key)
        if key.kind != "table" and key.dotted not in ("model.volume", "images.archive-dir"):
            assert value == key.default, key.dotted


def test_keys_that_name_places_are_known():
    assert {key.dotted for key in build_keys() if takes_path(key)} == {
        "engine.cache-dir",
        "engine.mounts",
        "images.archive-dir",
        "images.ca-bundle",
        "model.token-file",
        "model.volume",
        "services.alertmanager.webhook-url-file",
        "services.gateway.certificate-file",
        "services.gateway.certificate-key-file",
    }
