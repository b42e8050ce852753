from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from stack.config.schema import EngineConfig, ImagesConfig, ModelConfig, ServicesConfig, StackConfig
from stack.config.schema_services import GatewayConfig, PrometheusConfig
from stack.config.schema_smoke import Canary


def _message(model, **values):
    with pytest.raises(ValidationError) as caught:
        model(**values)
    return str(caught.value)


def _models(model=StackConfig):
    yield model
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _models(field.annotation)


def test_without_anything_the_defaults_hold():
    config = StackConfig()
    assert config.project == "stack"
    assert config.engine.device == "auto"
    assert config.engine.args == {}
    assert config.services.engine.port == "auto"
    assert config.services.gateway.expose is False
    assert config.model.volume == Path.home() / ".local/share/stack/models"


def test_every_key_says_what_it_means():
    for model in [*_models(), Canary]:
        for name, field in model.model_fields.items():
            is_table = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            assert is_table or field.description, f"{model.__name__}.{name}"


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        StackConfig().project = "other"


def test_attributes_and_toml_spelling_both_build_a_model():
    assert EngineConfig(shm_size="8g") == EngineConfig.model_validate({"shm-size": "8g"})


@pytest.mark.parametrize("port", ["auto", 1024, 65535])
def test_a_port_is_a_free_number_or_auto(port):
    assert PrometheusConfig(port=port).port == port


@pytest.mark.parametrize(
    ("port", "part"),
    [
        (80, "outside 1024-65535"),
        (65536, "outside 1024-65535"),
        ("8000", 'not "8000"'),
        (True, "not true"),
        (0, "outside"),
    ],
)
def test_another_port_is_refused(port, part):
    assert part in _message(PrometheusConfig, port=port)


@pytest.mark.parametrize(
    ("given", "devices"),
    [("all", "all"), (2, 2), (["0", "GPU-1a-2b"], ["0", "GPU-1a-2b"]), ([0, 1], ["0", "1"])],
)
def test_devices_are_all_a_number_or_ids(given, devices):
    assert EngineConfig(devices=given).devices == devices


@pytest.mark.parametrize(
    ("devices", "part"),
    [
        (0, 'for device number 0 write ["0"]'),
        ("0", 'write 0 for 0 devices, or ["0"] for the device with that number'),
        ([], "must be"),
        (["0", 0], "names a device twice"),
        ([True], "must be"),
        ("some", "must be"),
        (["a b"], "must be"),
    ],
)
def test_other_devices_are_refused(devices, part):
    assert part in _message(EngineConfig, devices=devices)


@pytest.mark.parametrize("project", ["stack", "a", "0-a_b"])
def test_a_project_name_is_taken(project):
    assert StackConfig(project=project).project == project


@pytest.mark.parametrize(
    ("project", "part"),
    [("My Stack", "for example `my-stack`"), ("-a", "begin with"), ("", "must be"), ("a" * 64, "63")],
)
def test_another_project_name_is_refused(project, part):
    assert part in _message(StackConfig, project=project)


@pytest.mark.parametrize(
    ("model", "values", "part"),
    [
        (EngineConfig, {"shm_size": "8"}, "needs a unit"),
        (EngineConfig, {"shm_size": "lots"}, "is no size"),
        (EngineConfig, {"ready_timeout_seconds": 5}, "greater than or equal to 10"),
        (PrometheusConfig, {"retention_size": "2gb"}, "KB, MB, GB or TB"),
        (PrometheusConfig, {"retention_time": "15 days"}, "is no duration"),
        (PrometheusConfig, {"retention_time": "0s"}, "longer than nothing"),
        (GatewayConfig, {"max_body": "0"}, "whole number with k, m or g"),
        (GatewayConfig, {"address": "localhost"}, "must be an IP address"),
        (ImagesConfig, {"pip_index_url": "https://me:pw@pypi.example/simple"}, "no user name or password"),
        (ImagesConfig, {"debian_mirror": "deb.debian.org"}, "must be a URL"),
        (ImagesConfig, {"timeout_seconds": 0}, "greater than 0"),
        (ModelConfig, {"token_file": "token"}, "must be absolute"),
        (ModelConfig, {"revision": "a b"}, "must be one word"),
        (ModelConfig, {"revision": "-a"}, "must be one word"),
        (Canary, {"prompt": "a", "right": "b", "wrong": []}, "at least 1 item"),
    ],
)
def test_a_value_of_the_wrong_form_is_refused(model, values, part):
    assert part in _message(model, **values)


def test_a_token_in_place_of_its_file_is_refused_and_not_repeated():
    token = "hf_" + "a" * 34
    with pytest.raises(ValidationError) as caught:
        ModelConfig(token_file=f"/home/someone/{token}")
    (error,) = caught.value.errors()
    assert "looks like a hub token" in error["msg"]
    assert token not in error["msg"]


def test_a_url_loses_its_last_slash():
    assert ModelConfig(endpoint="https://hub.example/").endpoint == "https://hub.example"


def test_the_home_directory_is_filled_in():
    assert ModelConfig(token_file="~/token").token_file == Path.home() / "token"


def test_an_ipv6_address_is_taken():
    assert ServicesConfig(gateway=GatewayConfig(address="::")).gateway.address == "::"
