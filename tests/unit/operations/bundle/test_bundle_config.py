"""What a bundle carries of a configuration, and what is taken of a stranger's."""

from pathlib import Path

import pytest

from stack.bundles.problem import BundleError
from stack.config.load import load_config
from stack.operations.bundle.config import (
    build_carried_settings,
    find_secrets,
    parse_settings,
    render_settings,
    says_same,
    take_settings,
)
from stack.operations.bundle.save_images import name_carried
from tests.unit.bundles.conftest import build_bundle

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
    '[engine.args]\nadditional-config = {key = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"}\n',
    '[engine.args]\nadditional-config = {key = "sk-abcdefghijklmnopqrstuvwxyz"}\n',
    '[engine.args]\nadditional-config = {key = "xoxb-0123456789-abcdef"}\n',
    '[engine.args]\nadditional-config = {key = "AKIAABCDEFGHIJKLMNOP"}\n',
    '[engine.env]\nhttp_proxy = "http://me:hf_abc@proxy.example"\n',
    '[engine.env]\nINDEX = "https://hf_abc@index.example/simple"\n',
])  # fmt: skip
def test_a_value_that_looks_like_a_secret_stops_the_save(carry, text):
    with pytest.raises(BundleError, match=r"engine\.(args|env)\..*looks like a secret") as caught:
        carry(text)
    assert not any(secret in str(caught.value) for secret in ("hf_abc", "ghp_", "AKIA", "sk-a", "xoxb"))


@pytest.mark.parametrize("text", ["task-abcdefghijklmnopqrstuvwxyz", "https://h.example/a@b", "me@h.example"])
def test_what_only_resembles_a_secret_is_carried(carry, text):
    settings, _ = carry(f'[model]\nserved-name = "{text}"\n')
    assert settings["model", "served-name"] == text


BUNDLE = build_bundle()
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
    settings, left_out = take_settings(parse_settings(STRANGE, Path("x")), BUNDLE, trust=False, accept=False)
    assert settings == {("project",): "mine"}
    assert set(left_out) == {
        "offline", 'engine.mounts."/x"', "model.token-file", "model.volume", "engine.accept",
        "engine.allow-remote-code", "model.endpoint", "services.gateway.expose",
    }  # fmt: skip


REFUSED = """
[engine]
api-key = false
image = "docker.io/evil/engine:1"
[engine.env]
PYTHONPATH = "/models/x"
[engine.args]
tool-parser-plugin = "/models/x/evil.py"
reasoning-parser-plugin = "evil"
middleware = ["evil.Middleware"]
worker-cls = "evil.Worker"
worker-extension-cls = "evil.Worker"
logits-processors = ["evil:Processor"]
load-format = "runai_streamer"
trust-remote-code = true
tokenizer = "evil/tokenizer"
quantization = "/models/x"
dtype = ["half", "a/b"]
speculative-config = { model = "evil/draft" }
enable-log-requests = true
unheard-of = 1
[images]
pip-index-url = "https://evil.example/simple"
pip-find-links = "https://evil.example/wheels"
debian-mirror = "http://evil.example"
debian-suite = "sid"
ca-bundle = "/etc/evil.pem"
[images.mirror]
"docker.io" = "evil.example"
[images.sources]
internal = "evil.example/vllm:{commit}"
[services.prometheus]
image = "docker.io/evil/prometheus:1"
[services.gateway]
address = "0.0.0.0"
certificate-file = "/etc/cert.pem"
[services.alertmanager]
webhook-url-file = "/etc/shadow"
"""


def test_of_a_stranger_only_known_harmless_keys_are_taken():
    settings, left_out = take_settings(parse_settings(REFUSED, Path("x")), BUNDLE, trust=False, accept=False)
    assert settings == {}
    assert len(left_out) == len(parse_settings(REFUSED, Path("x")))


PLAIN = """
project = "mine"
[engine]
device = "cpu"
api-key = true
[engine.args]
max-model-len = 4096
dtype = "bfloat16"
enable-prefix-caching = false
cudagraph-capture-sizes = [1, 2]
[model]
served-name = "assistant"
[images]
source = "packages"
[services.grafana]
enabled = false
[slo.ttft]
seconds = 5.0
[[smoke.canaries]]
prompt = "Two plus two is"
right = " four"
wrong = [" five"]
"""


def test_what_describes_the_stack_is_taken_of_anybody():
    settings, left_out = take_settings(parse_settings(PLAIN, Path("x")), BUNDLE, trust=False, accept=False)
    assert settings == parse_settings(PLAIN, Path("x")) and left_out == []


def test_an_image_is_taken_where_it_is_the_bundles_own():
    (image,) = BUNDLE.images
    for name, is_taken in ((name_carried(image.image_id), True), (name_carried("sha256:" + "0" * 64), False)):
        settings, _ = take_settings({("engine", "image"): name}, BUNDLE, trust=False, accept=False)
        assert bool(settings) is is_taken
    proved = build_bundle(
        images=(image.model_copy(update={"name": "docker.io/a/b:1", "digest": "sha256:" + "d" * 64}),)
    )
    for name, is_taken in (("a/b:1", True), ("a/b:2", False), ("a/b:1@sha256:" + "e" * 64, False)):
        settings, _ = take_settings({("engine", "image"): name}, proved, trust=False, accept=False)
        assert bool(settings) is is_taken


def test_an_own_configuration_says_the_same_whatever_it_sets_that_no_stranger_may():
    own = {("project",): "mine", ("images", "mirror", "docker.io"): "mirror.example"}
    assert says_same(own, {("project",): "mine"}, BUNDLE, trust=False)
    assert not says_same(own, {("project",): "mine"}, BUNDLE, trust=True)
    assert not says_same(own | {("engine", "image"): "a/b:1"}, {("project",): "mine"}, BUNDLE, trust=False)


def test_trust_lets_it_run_what_it_brings_but_names_no_paths_here():
    settings, left_out = take_settings(parse_settings(STRANGE, Path("x")), BUNDLE, trust=True, accept=False)
    assert settings["engine", "allow-remote-code"] is True
    assert settings["model", "endpoint"] == "https://evil.example"
    assert set(left_out) == {"offline", 'engine.mounts."/x"', "model.token-file", "model.volume"}


def test_a_claim_that_was_accepted_stays_accepted():
    settings, _ = take_settings(parse_settings(STRANGE, Path("x")), BUNDLE, trust=False, accept=True)
    assert settings["engine", "accept"] == "claimed"


def test_a_secret_is_found_in_a_text_and_short_words_are_not():
    assert find_secrets(["key = 0123456789abcdef"], ["0123456789abcdef"])
    assert not find_secrets(["a b c"], ["b", ""])
