"""Places on this machine that settings name: made absolute, and looked at before anything starts."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from stack.config.keys import build_key_index, takes_path
from stack.config.layers import Setting
from stack.config.schema import StackConfig
from stack.config.toml_text import show_path
from stack.errors import Problem


def resolve_setting(setting: Setting, home: Path) -> Setting:
    """Give the setting with `~` and relative paths of this machine made absolute."""
    value = setting.value
    if not isinstance(value, str | Path) or not str(value):
        return setting
    if not _names_place(setting.path, str(value)):
        return setting
    text = str(value)
    if text == "~" or text.startswith("~/"):
        text = str(home / text[2:])
    elif not text.startswith(("~", "/")):
        text = str(setting.base / text)
    return replace(setting, value=text)


def _names_place(path: tuple[str, ...], text: str) -> bool:
    index = build_key_index()
    key = index.get(path) or index.get(path[:-1])
    if key is None:
        return False
    if key.dotted == "model.id":
        return text.startswith(("~", "/", "."))
    if key.dotted == "images.pip-find-links":
        return "://" not in text
    return takes_path(key)


def check_host_paths(config: StackConfig) -> list[Problem]:
    """Give the files and directories that the configuration names and this user cannot read.

    For `up` and what else needs them: a missing adapter must not keep anybody from `down`.
    """
    return _check_paths(_list_needed(config)) or [*_check_certificate(config), *_check_webhook(config)]


def check_model_paths(config: StackConfig) -> list[Problem]:
    """Give those of them that the model alone needs."""
    return _check_paths(_list_needed_by_model(config))


def _check_paths(needed: Iterable[tuple[str, Path, str]]) -> list[Problem]:
    found = ((key, path, _check_readable(path, wanted)) for key, path, wanted in needed)
    return [Problem(key, f"`{path}` {message}") for key, path, message in found if message]


def _list_needed(config: StackConfig) -> Iterator[tuple[str, Path, str]]:
    for target, path in config.engine.mounts.items():
        yield show_path(("engine", "mounts", target)), path, "anything"
    yield from _list_needed_by_model(config)
    if config.images.ca_bundle is not None:
        yield "images.ca-bundle", config.images.ca_bundle, "file"
    gateway = config.services.gateway
    if gateway.expose and gateway.certificate_file and gateway.certificate_key_file:
        yield "services.gateway.certificate-file", gateway.certificate_file, "file"
        yield "services.gateway.certificate-key-file", gateway.certificate_key_file, "file"
    alertmanager = config.services.alertmanager
    if alertmanager.enabled and alertmanager.webhook_url_file is not None:
        yield "services.alertmanager.webhook-url-file", alertmanager.webhook_url_file, "file"
    links = config.images.pip_find_links
    if links is not None and "://" not in links:
        yield "images.pip-find-links", Path(links), "directory"


def _list_needed_by_model(config: StackConfig) -> Iterator[tuple[str, Path, str]]:
    if config.model.id is not None and config.model.id.startswith(("/", ".")):
        yield "model.id", Path(config.model.id), "directory"
    if config.model.token_file is not None:
        yield "model.token-file", config.model.token_file, "file"


def _check_webhook(config: StackConfig) -> list[Problem]:
    """Find a file that holds no address to send to; what it holds may be a secret, and is not told."""
    alertmanager = config.services.alertmanager
    if not alertmanager.enabled or alertmanager.webhook_url_file is None:
        return []
    try:
        url = urlsplit(alertmanager.webhook_url_file.read_text(encoding="utf-8").strip())
        is_address = url.scheme in ("http", "https") and bool(url.hostname) and not re.search(r"\s", url.geturl())
    except ValueError:
        is_address = False
    if is_address:
        return []
    message = f"`{alertmanager.webhook_url_file}` must hold one http or https URL and nothing else"
    return [Problem("services.alertmanager.webhook-url-file", message)]


def _check_certificate(config: StackConfig) -> list[Problem]:
    """Find a certificate that nginx would refuse: the gateway would start again and again."""
    gateway = config.services.gateway
    if not (gateway.expose and gateway.certificate_file and gateway.certificate_key_file):
        return []
    try:
        # A key with a password must not make OpenSSL ask for it on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            gateway.certificate_file, gateway.certificate_key_file, password=lambda: ""
        )
    except ssl.SSLError as err:
        reason = (err.reason or str(err)).lower().replace("_", " ")
        message = f"`{gateway.certificate_file}` and `{gateway.certificate_key_file}` cannot be used: {reason}"
        return [Problem("services.gateway.certificate-file", message)]
    return []


def _check_readable(path: Path, wanted: str) -> str | None:
    if not path.exists():
        return "does not exist"
    if wanted == "directory" and not path.is_dir():
        return "is no directory"
    if wanted == "file" and not path.is_file():
        return "is no file"
    if not os.access(path, os.R_OK):
        return "cannot be read by this user"
    return None
