"""What a build is given of this machine, and what of it stays out of layers, argv and history."""

import configparser
import platform
from dataclasses import replace
from pathlib import Path

import pytest

from stack.images.build_context import (
    BuildSettings,
    build_settings,
    find_ca_bundle,
    render_apt_conf,
    render_pip_conf,
    write_context,
)
from stack.images.packages import Package, PackageSet
from stack.images.recipe import build_base_recipe, build_engine_recipe, build_service_recipe

BASE = build_base_recipe("bookworm", "http://deb.debian.org/debian")


def read_pip_conf(settings):
    parser = configparser.RawConfigParser()
    parser.read_string(render_pip_conf(settings))
    return {name: value.split() for name, value in parser["global"].items()}


def test_the_configuration_goes_before_the_environment(tmp_path):
    environ = {
        "PIP_INDEX_URL": "https://env.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://more.example/simple https://last.example/simple",
        "PIP_FIND_LINKS": "/env/wheels",
    }
    settings = build_settings(
        environ, index_url="https://conf.example/simple", find_links="https://wheels.example/", retries=2
    )
    assert settings.find_links == () and settings.find_links_urls == ("https://wheels.example/",)
    assert read_pip_conf(settings) == {
        "retries": ["2"],
        "index-url": ["https://conf.example/simple"],
        "extra-index-url": ["https://more.example/simple", "https://last.example/simple"],
        "find-links": ["https://wheels.example/"],
    }


def test_the_environment_may_name_several_folders_and_pages():
    environ = {"PIP_FIND_LINKS": "/srv/wheels https://wheels.example/a file:///srv/my%20wheels"}
    settings = build_settings(environ)
    assert settings.find_links == (Path("/srv/wheels"), Path("/srv/my wheels"))
    assert settings.find_links_urls == ("https://wheels.example/a",)


def test_a_folder_of_the_configuration_may_have_a_blank_in_its_name():
    assert build_settings({}, find_links="/srv/my wheels").find_links == (Path("/srv/my wheels"),)


def test_without_anything_pip_asks_pypi():
    assert build_settings({}).index_urls == ()
    assert read_pip_conf(build_settings({})) == {"retries": ["4"]}


def test_an_index_that_is_a_folder_here_is_not_told_to_the_build():
    environ = {"PIP_INDEX_URL": "file:///srv/simple", "PIP_EXTRA_INDEX_URL": "https://more.example/simple"}
    conf = read_pip_conf(build_settings(environ))
    assert conf == {"retries": ["4"], "extra-index-url": ["https://more.example/simple"]}


def test_a_percent_sign_in_a_password_stays_as_it_is():
    settings = build_settings({"PIP_INDEX_URL": "https://me:a%40b@index.example/simple"})
    assert read_pip_conf(settings)["index-url"] == ["https://me:a%40b@index.example/simple"]


def test_apt_trusts_the_bundle_as_a_user_who_may_read_it():
    conf = render_apt_conf(BuildSettings({"https_proxy": "http://me:secret@proxy:3128"}, retries=7))
    assert conf.splitlines() == [
        'Acquire::Retries "7";',
        'Dpkg::Use-Pty "0";',
        'Acquire::https::CAInfo "/run/secrets/ca_bundle";',
        'APT::Sandbox::User "root";',
        'Acquire::https::Proxy "http://me:secret@proxy:3128";',
    ]


def test_without_a_bundle_apt_keeps_to_what_the_base_trusts():
    assert "CAInfo" not in render_apt_conf(BuildSettings({}), trusts=False)


@pytest.mark.parametrize("name", ["PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_bundle_of_this_users_tools_is_found(tmp_path, name):
    path = tmp_path / "ca.pem"
    assert find_ca_bundle({name: str(path)}) != path
    path.touch()
    assert find_ca_bundle({name: str(path)}) == path


def test_a_bundle_of_the_configuration_is_trusted_beside_this_machines(tmp_path):
    own, system = tmp_path / "own.pem", tmp_path / "system.pem"
    own.write_text("OWN")
    system.write_text("SYSTEM")
    settings = build_settings({"PIP_CERT": str(system)}, ca_bundle=own)
    context = tmp_path / "context"
    context.mkdir()
    secrets = write_context(context, build_service_recipe("prometheus", BASE), settings)
    assert secrets["ca_bundle"].read_text() == "OWN\nSYSTEM"


def test_the_context_has_the_recipe_and_the_wheels_and_keeps_the_secrets_from_the_daemon(tmp_path):
    wheels, more, context = (tmp_path / name for name in ("wheels", "more", "context"))
    for folder in (wheels, more, context):
        folder.mkdir()
    for path in (wheels / "a-1-py3-none-any.whl", wheels / "notes.txt", more / "b-1-py3-none-any.whl"):
        path.write_text(str(path))
    settings = BuildSettings({}, find_links=(wheels, more, tmp_path / "missing"))
    secrets = write_context(context, build_engine_recipe("cpu", BASE), settings)
    assert sorted(path.name for path in context.iterdir()) == [
        ".dockerignore", "Dockerfile", "apt_conf", "ca_bundle", "find-links", "install_engine.py", "locked.txt",
        "pip_conf",
    ]  # fmt: skip
    assert sorted(path.name for path in (context / "find-links").iterdir()) == [
        "a-1-py3-none-any.whl",
        "b-1-py3-none-any.whl",
    ]
    ignored = (context / ".dockerignore").read_text().split()
    assert {path.name for path in secrets.values()} <= set(ignored)


def test_only_the_engine_is_given_wheels(tmp_path):
    (tmp_path / "a-1-py3-none-any.whl").touch()
    context = tmp_path / "context"
    context.mkdir()
    write_context(context, build_service_recipe("gateway", BASE), BuildSettings({}, find_links=(tmp_path,)))
    assert not any((context / "find-links").iterdir())


def test_locked_packages_and_a_wheel_that_is_here_go_into_the_context(tmp_path):
    wheel = tmp_path / "vllm-0.32.1.dev7+g012345678.cpu-cp38-abi3-manylinux_2_28_x86_64.whl"
    wheel.write_bytes(b"wheel")
    context = tmp_path / "context"
    context.mkdir()
    recipe = build_engine_recipe("cpu", BASE)
    write_context(context, recipe, BuildSettings({}, wheel=wheel))
    assert (context / "locked.txt").read_text() == ""
    assert (context / "find-links" / wheel.name).read_bytes() == b"wheel"
    context = tmp_path / "locked"
    context.mkdir()
    packages = PackageSet(platform.machine(), "3.11", (Package("numpy", "2.4.6", "a" * 64),))
    write_context(context, replace(recipe, locked=packages), BuildSettings({}))
    assert (context / "locked.txt").read_text() == f"numpy==2.4.6 --hash=sha256:{'a' * 64}\n"
