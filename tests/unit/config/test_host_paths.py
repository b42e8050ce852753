import os
import shutil
import subprocess

import pytest

from stack.config.host_paths import check_host_paths, check_model_paths


def test_what_is_missing_is_found_before_anything_starts(load, tmp_path):
    (tmp_path / "file").touch()
    toml = """\
[model]
id = "./nothing"
token-file = "nothing"
[engine.mounts]
"/templates" = "nothing"
[images]
ca-bundle = "."
pip-find-links = "file"
"""
    assert [str(problem) for problem in check_host_paths(load(toml).config)] == [
        f'engine.mounts."/templates": `{tmp_path}/nothing` does not exist',
        f"model.id: `{tmp_path}/nothing` does not exist",
        f"model.token-file: `{tmp_path}/nothing` does not exist",
        f"images.ca-bundle: `{tmp_path}` is no file",
        f"images.pip-find-links: `{tmp_path}/file` is no directory",
    ]


def test_what_is_there_is_no_problem(load, tmp_path):
    (tmp_path / "token").touch()
    assert check_host_paths(load('model.id = "."\nmodel.token-file = "token"').config) == []
    assert check_host_paths(load('model.id = "org/name"\nimages.pip-find-links = "https://a.example"').config) == []


def test_a_file_that_only_others_may_read_is_found(load, tmp_path, monkeypatch):
    (tmp_path / "token").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    (problem,) = check_host_paths(load('model.token-file = "token"').config)
    assert problem.message.endswith("cannot be read by this user")


@pytest.mark.parametrize("model", ["demo", "org/name"])
def test_a_model_that_is_no_directory_is_not_looked_for(load, model):
    assert check_host_paths(load(f'model.id = "{model}"').config) == []


@pytest.fixture(scope="module")
def make_certificate(tmp_path_factory):
    """A function: a self-signed certificate and its key, with a password where one is given."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")

    def make(password=None):
        folder = tmp_path_factory.mktemp("certificate")
        protect = ["-passout", f"pass:{password}"] if password else ["-nodes"]
        argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2"]
        argv += ["-subj", "/CN=gateway", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
        subprocess.run([*argv, *protect], check=True, capture_output=True)
        return folder / "cert.pem", folder / "key.pem"

    return make


def render_gateway(certificate, key, expose="true"):
    return (
        f'[services.gateway]\nexpose = {expose}\ncertificate-file = "{certificate}"\ncertificate-key-file = "{key}"\n'
    )


def test_a_certificate_with_its_key_is_no_problem(load, make_certificate):
    assert check_host_paths(load(render_gateway(*make_certificate())).config) == []


def test_a_missing_certificate_and_key_are_both_found(load, tmp_path):
    toml = render_gateway(tmp_path / "c.pem", tmp_path / "k.pem")
    assert [str(problem) for problem in check_host_paths(load(toml).config)] == [
        f"services.gateway.certificate-file: `{tmp_path}/c.pem` does not exist",
        f"services.gateway.certificate-key-file: `{tmp_path}/k.pem` does not exist",
    ]
    assert check_host_paths(load(render_gateway(tmp_path / "c.pem", tmp_path / "k.pem", "false")).config) == []


def test_a_key_of_another_certificate_is_found(load, make_certificate):
    (certificate, _), (_, key) = make_certificate(), make_certificate()
    (problem,) = check_host_paths(load(render_gateway(certificate, key)).config)
    assert problem.path == "services.gateway.certificate-file"
    assert problem.message == f"`{certificate}` and `{key}` cannot be used: key values mismatch"


def test_a_key_with_a_password_is_found_without_asking_for_it(load, make_certificate):
    certificate, key = make_certificate(password="secret")
    (problem,) = check_host_paths(load(render_gateway(certificate, key)).config)
    assert "cannot be used" in problem.message


def test_a_certificate_that_is_none_is_found(load, make_certificate, tmp_path):
    _, key = make_certificate()
    (tmp_path / "c.pem").write_text("no certificate")
    (problem,) = check_host_paths(load(render_gateway(tmp_path / "c.pem", key)).config)
    assert "cannot be used" in problem.message


def test_for_the_model_alone_nothing_else_is_looked_for(load, tmp_path):
    toml = 'model.id = "./nothing"\nmodel.token-file = "nothing"\nimages.ca-bundle = "nothing"\n'
    assert [problem.path for problem in check_model_paths(load(toml).config)] == ["model.id", "model.token-file"]
    assert check_model_paths(load('model.id = "."\nimages.ca-bundle = "nothing"').config) == []


@pytest.mark.parametrize(
    "text", ["", "hooks.example/token", "ftp://hooks.example/x", "https://a/b https://c/d", "https://"]
)
def test_a_file_without_an_address_to_send_alerts_to_is_found_and_its_text_not_told(load, tmp_path, text):
    (tmp_path / "url").write_text(text)
    toml = "[services.alertmanager]\nenabled = true\nwebhook-url-file = 'url'\n"
    (problem,) = check_host_paths(load(toml).config)
    assert problem.path == "services.alertmanager.webhook-url-file"
    assert problem.message == f"`{tmp_path}/url` must hold one http or https URL and nothing else"
    assert check_host_paths(load(toml.replace("true", "false")).config) == []


def test_an_address_to_send_alerts_to_is_no_problem(load, tmp_path):
    (tmp_path / "url").write_text("https://hooks.example/token?x=1\n")
    assert check_host_paths(load("[services.alertmanager]\nenabled = true\nwebhook-url-file = 'url'\n").config) == []
