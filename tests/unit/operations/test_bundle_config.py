"""What a bundle carries of a configuration, and what is taken of a stranger's."""

from pathlib import Path

import pytest

from stack.bundles.problem import BundleError
from stack.config.load import load_config
from stack.operations.bundle_config import (
    build_carried_settings,
    find_secrets,
    parse_settings,
    render_settings,
    take_settings,
)

FULL = """
project = "mine"
[engine]
device = "cpu"
cache-dir = "~/caches"
accept = "claimed"
[engine.args]
max-model-len = 4096
trust-remote-code = false
[engine.env]
VLLM_CPU_OMP_THREADS_BIND = "auto"
[engine.mounts]
"/templates" = "/srv/templates"
[model]
id = "acme/tiny"
volume = "/srv/models"
token-file = "~/token"
endpoint = "https://hub.example"
[images]
pip-index-url = "https://pypi.example/simple"
pip-find-links = "/srv/wheels"
ca-bundle = "/etc/ssl/certs/ca.pem"
mirror = { "docker.io" = "mirror.example:5000/hub" }
[services.gateway]
expose = true
[services.prometheus]
retention-time = "2d"
[[smoke.canaries]]
kind = "completion"
prompt = "Two plus two is"
right = " four"
wrong = [" five"]
"""


@pytest.fixture
def carry(tmp_path):
    def call(text, **environ):
        path = tmp_path / "stack.toml"
        path.write_text(text)
        return build_carried_settings(load_config(path, {"HOME": str(tmp_path), **environ}))

    return call


def test_what_is_of_this_machine_stays_here_and_is_named(carry):
    settings, left_out = carry(FULL)
    text = render_settings(settings)
    assert left_out == [
        "engine.cache-dir", 'engine.mounts."/templates"', "model.volume", "model.token-file", "images.pip-find-links",
        "images.ca-bundle",
    ]  # fmt: skip
    for gone in ("/srv", "~", "token", "ca.pem"):
        assert gone not in text


def test_everything_else_is_carried_and_can_be_read_again(carry, tmp_path):
    settings, _ = carry(FULL)
    path = tmp_path / "other" / "stack.toml"
    path.parent.mkdir()
    path.write_text(render_settings(settings))
    config = load_config(path, {"HOME": "/nobody"}).config
    assert config.engine.args == {"max-model-len": 4096, "trust-remote-code": False}
    assert config.engine.env == {"VLLM_CPU_OMP_THREADS_BIND": "auto"}
    assert (config.project, config.model.id, config.services.prometheus.retention_time) == ("mine", "acme/tiny", "2d")
    assert config.smoke.canaries[0].right == " four"
    assert config.images.pip_index_url == "https://pypi.example/simple"
    assert parse_settings(path.read_text(), path) == settings


def test_variables_and_flags_are_carried_as_what_they_set_and_defaults_are_not(carry):
    settings, _ = carry("", STACK_MODEL_ID="acme/tiny", STACK_OFFLINE="true")
    assert settings == {("project",): "stack", ("model", "id"): "acme/tiny"}


def test_a_directory_of_this_machine_is_no_models_name_elsewhere(carry):
    settings, left_out = carry('[model]\nid = "./model"\n')
    assert ("model", "id") not in settings and left_out == ["model.id"]


@pytest.mark.parametrize("text", [
    '[engine.args]\nadditional-config = {key = "hf_abcdefghijklmnopqrstuvwxyz"}\n',
    '[engine.args]\nhf-overrides = {key = "-----BEGIN PRIVATE KEY-----"}\n',
])  # fmt: skip
def test_a_value_that_looks_like_a_secret_stops_the_save(carry, text):
    with pytest.raises(BundleError, match=r"engine\.args\..*looks like a secret") as caught:
        carry(text)
    assert "hf_abc" not in str(caught.value)


STRANGE = """
project = "mine"
offline = true
[engine]
accept = "claimed"
allow-remote-code = true
[engine.mounts]
"/x" = "/root/.ssh"
[model]
endpoint = "https://evil.example"
token-file = "/root/.cache/huggingface/token"
volume = "/etc"
[services.gateway]
expose = true
"""


def test_a_strangers_configuration_reads_no_files_here_and_opens_nothing():
    settings, left_out = take_settings(parse_settings(STRANGE, Path("x")), trust=False, accept=False)
    assert settings == {("project",): "mine"}
    assert set(left_out) == {
        "offline", 'engine.mounts."/x"', "model.token-file", "model.volume", "engine.accept",
        "engine.allow-remote-code", "model.endpoint", "services.gateway.expose",
    }  # fmt: skip


def test_trust_lets_it_run_what_it_brings_but_names_no_paths_here():
    settings, left_out = take_settings(parse_settings(STRANGE, Path("x")), trust=True, accept=False)
    assert settings["engine", "allow-remote-code"] is True
    assert settings["model", "endpoint"] == "https://evil.example"
    assert set(left_out) == {"offline", 'engine.mounts."/x"', "model.token-file", "model.volume"}


def test_a_claim_that_was_accepted_stays_accepted():
    settings, _ = take_settings(parse_settings(STRANGE, Path("x")), trust=False, accept=True)
    assert settings["engine", "accept"] == "claimed"


def test_a_secret_is_found_in_a_text_and_short_words_are_not():
    assert find_secrets(["key = 0123456789abcdef"], ["0123456789abcdef"])
    assert not find_secrets(["a b c"], ["b", ""])
