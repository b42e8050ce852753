"""TLS at the gateway: the certificate reaches nginx as a secret, and a renewed one starts it anew."""

from __future__ import annotations

import pytest

from stack.operations.access import API_KEY, GATEWAY_CERTIFICATE, GATEWAY_CERTIFICATE_KEY, GATEWAY_KEY
from stack.operations.layout.assemble import EngineChoice, build_layout
from stack.operations.layout.files import render_files, write_secrets

IMAGES = {name: f"docker.io/acme/{name}@sha256:" + "d" * 64 for name in ("engine", "gateway")}


@pytest.fixture
def certificate(tmp_path):
    """A certificate and its key; nothing here looks into them."""
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text(f"{name} of 2026")
    return tmp_path / "cert.pem", tmp_path / "key.pem"


@pytest.fixture
def assemble(make_session, make_snapshot):
    """A function: `[services.gateway]` gives the session, the gateway, nginx's configuration, with all secrets made."""

    def call(toml=""):
        session = make_session(f"[services.gateway]\nexpose = true\n{toml}")
        write_secrets(session.config, list(IMAGES), session.paths)
        files = render_files(session.config, list(IMAGES))
        layout = build_layout(
            session.config, EngineChoice("cpu", "all", {}, "tiny"), IMAGES, {}, make_snapshot(),
            {"engine": 8001, "gateway": 8081}, session.paths, files, 2**34,
        )  # fmt: skip
        return session, layout.services["gateway"], files["gateway/nginx.conf"]

    return call


def render_tls(certificate):
    return f'certificate-file = "{certificate[0]}"\ncertificate-key-file = "{certificate[1]}"\n'


def test_a_certificate_is_a_secret_of_the_gateway_alone(assemble, certificate):
    session, gateway, conf = assemble(render_tls(certificate))
    assert {name: path.read_text() for name, path in gateway.secrets.items() if name != GATEWAY_KEY} == {
        GATEWAY_CERTIFICATE: "cert.pem of 2026",
        GATEWAY_CERTIFICATE_KEY: "key.pem of 2026",
    }
    assert {path.stat().st_mode & 0o777 for path in gateway.secrets.values()} == {0o600}
    assert f"ssl_certificate /run/secrets/{GATEWAY_CERTIFICATE};" in conf
    assert f"ssl_certificate_key /run/secrets/{GATEWAY_CERTIFICATE_KEY};" in conf
    assert "of 2026" not in conf


def test_a_renewed_certificate_starts_the_gateway_anew_and_nothing_else_does(assemble, certificate):
    _, before, _ = assemble(render_tls(certificate))
    assert assemble(render_tls(certificate))[1].stamp == before.stamp
    certificate[0].write_text("cert.pem of 2027")
    _, after, _ = assemble(render_tls(certificate))
    assert after.stamp != before.stamp
    assert after.secrets[GATEWAY_CERTIFICATE].read_text() == "cert.pem of 2027"


def test_without_a_certificate_there_is_no_tls_and_no_old_key_stays(assemble, certificate):
    assemble(render_tls(certificate))
    session, gateway, conf = assemble()
    assert set(gateway.secrets) == {GATEWAY_KEY} and "ssl" not in conf
    assert {path.name for path in session.paths.secrets.iterdir()} == {API_KEY, GATEWAY_KEY}
