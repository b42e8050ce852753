"""The types of single values in the configuration, each with one message for whatever is wrong."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from stack.config.identity import parse_commit, parse_image, parse_model_id, parse_version
from stack.config.quantities import parse_duration_seconds, parse_size_bytes

_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")
_REGISTRY = re.compile(r"[A-Za-z0-9.-]+(:\d+)?")
_MIRROR = re.compile(r"[A-Za-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)*")
_SOURCE_FIELDS = frozenset({"commit", "version", "device", "cuda", "arch"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Shown:
    """How a key's default is shown where the value itself depends on the machine or on other keys."""

    default: str


def _parse_line(text: str) -> str:
    if not text.strip() or text != text.strip() or _CONTROL.search(text):
        raise ValueError("must be one line of text, not empty and without spaces around it")
    return text


def _parse_word(text: str) -> str:
    if re.search(r"\s", _parse_line(text)) or text.startswith("-"):
        raise ValueError(f"`{text}` must be one word that does not begin with a dash")
    return text


def _parse_project(text: str) -> str:
    if not _PROJECT.fullmatch(text) or len(text) > 63:
        near = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:63]
        hint = f", for example `{near}`" if near else ""
        raise ValueError(
            f"`{text}` must be lower-case letters, digits, `-` and `_`, begin with a letter or digit "
            f"and have at most 63 characters{hint}"
        )
    return text


def _parse_port(value: Any) -> Any:
    if value == "auto":
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f'must be a port number or "auto", not {show_value(value)}')
    if not 1024 <= value <= 65535:
        raise ValueError(f'{value} is outside 1024-65535 (lower ports need root); take a free one or "auto"')
    return value


def _parse_devices(value: Any) -> Any:
    if value == "all":
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError(
                f'{value} devices cannot be used; for device number {max(value, 0)} write ["{max(value, 0)}"]'
            )
        return value
    if isinstance(value, list):
        ids = [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in value]
        if ids and all(isinstance(item, str) and re.fullmatch(r"[A-Za-z0-9:-]+", item) for item in ids):
            if len(set(ids)) == len(ids):
                return ids
            raise ValueError("names a device twice")
    if isinstance(value, str) and value.isdigit():
        raise ValueError(f'write {value} for {value} devices, or ["{value}"] for the device with that number')
    raise ValueError(
        f'must be "all", a number of devices, or a list of ids such as ["0", "1"], not {show_value(value)}'
    )


def _parse_path(value: Any) -> Any:
    if not isinstance(value, str | Path):
        raise ValueError(f"must be a path, not {show_value(value)}")
    if not str(value).strip() or _CONTROL.search(str(value)):
        raise ValueError("must be a path of one line")
    if re.fullmatch(r"hf_[A-Za-z0-9]{20,}", Path(value).name):
        raise ValueError("looks like a hub token; write the token into a file, and the file's path here")
    try:
        path = Path(value).expanduser()
    except RuntimeError as err:
        raise ValueError(f"`{value}` names a home directory that cannot be found; write the whole path") from err
    if not path.is_absolute():
        raise ValueError(f"`{value}` must be absolute or begin with `~/`")
    return path


def _parse_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"\s", text):
        raise ValueError("must be a URL that begins with `https://` or `http://`")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user name or password: it would be shown, logged and kept in images")
    return text.rstrip("/")


def _parse_find_links(text: str) -> str:
    return _parse_url(text) if "://" in text else str(_parse_path(text))


def _parse_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as err:
        raise ValueError(f"`{text}` must be an IP address of this machine, or `0.0.0.0` for all") from err


def _parse_size(text: str) -> str:
    if parse_size_bytes(text) < 1 or not re.search(r"[kmg]b?$", text, re.IGNORECASE):
        raise ValueError(f"`{text}` needs a unit: k, m or g, for example `8g`")
    return text


def _parse_prometheus_size(text: str) -> str:
    # Prometheus takes whole numbers and its units only in upper case (prometheus/common, alecthomas/units).
    if not re.fullmatch(r"[1-9]\d*(KB|MB|GB|TB)", text):
        raise ValueError(f"`{text}` must be a whole number with KB, MB, GB or TB, for example `2GB`")
    return text


def _parse_nginx_size(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d*[kmgKMG]", text):
        raise ValueError(f"`{text}` must be a whole number with k, m or g, for example `32m`")
    return text


def _parse_duration(text: str) -> str:
    if parse_duration_seconds(text) <= 0:
        raise ValueError(f"`{text}` must be longer than nothing")
    return text


def check_registry(host: str) -> str:
    """Give the registry host back, or raise ValueError."""
    if not _REGISTRY.fullmatch(host):
        raise ValueError(f"`{host}` must be a registry host, for example `docker.io`")
    return host


def check_mirror(mirror: Any) -> str:
    """Give the mirror back, or raise ValueError."""
    if not isinstance(mirror, str) or not _MIRROR.fullmatch(mirror):
        near = re.sub(r"^https?://", "", mirror).rstrip("/") if isinstance(mirror, str) else ""
        hint = f": `{near}`" if near and _MIRROR.fullmatch(near) else ", for example `mirror.example:5000/hub`"
        raise ValueError(f"{show_value(mirror)} must be a host and a path without `https://`{hint}")
    return mirror


def check_template(template: Any) -> str:
    """Give the reference of a source back, or raise ValueError; an empty one takes a source out."""
    if template == "":
        return ""
    if not isinstance(template, str) or not re.search(r"\{(commit|version)\}", template):
        example = "registry.example/vllm:{commit}"
        raise ValueError(f"{show_value(template)} must be a reference with `{{commit}}` or `{{version}}`: `{example}`")
    unknown = sorted(set(re.findall(r"\{([^{}]*)\}", template)) - _SOURCE_FIELDS)
    if unknown:
        known = ", ".join(f"`{{{name}}}`" for name in sorted(_SOURCE_FIELDS))
        raise ValueError(f"`{{{unknown[0]}}}` is not filled in; there are {known}")
    filled = re.sub(r"\{[a-z]+\}", "0", template)
    if "{" in filled or "}" in filled or "://" in filled:
        raise ValueError(f"{show_value(template)} must be an image reference without `https://`")
    return parse_image(filled) and template


def check_wheel_template(template: Any) -> str:
    """Give the URL of the lists of wheels back, or raise ValueError; an empty one takes that source out."""
    if template == "":
        return ""
    fields = set(re.findall(r"\{([^{}]*)\}", template)) if isinstance(template, str) else set()
    if "commit" not in fields or not fields <= {"commit", "variant"}:
        example = "https://mirror.example/{commit}/{variant}vllm/metadata.json"
        raise ValueError(f"{show_value(template)} must be a URL with `{{commit}}`, as `{example}`")
    parts = urlsplit(template)
    is_local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not parts.hostname or not (parts.scheme == "https" or is_local):
        raise ValueError(f"{show_value(template)} must begin with `https://`")
    if parts.username or parts.password:
        # It stands in the image's label and in stack.lock.
        raise ValueError("must not hold a password: whoever has the image or the lock could read it")
    return str(template)


def show_value(value: Any) -> str:
    """Give a value as TOML would spell it, shortened to fit a message."""
    text = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _matches(pattern: str) -> WithJsonSchema:
    """Let editors know the form of a text."""
    return WithJsonSchema({"type": "string", "pattern": pattern})


Commit = Annotated[str, AfterValidator(parse_commit), _matches("^[0-9a-f]{40}$")]
Version = Annotated[str, AfterValidator(parse_version)]
ImageReference = Annotated[str, AfterValidator(parse_image)]
ModelId = Annotated[str, AfterValidator(parse_model_id)]
Word = Annotated[str, AfterValidator(_parse_word)]
Project = Annotated[str, AfterValidator(_parse_project), _matches("^[a-z0-9][a-z0-9_-]{0,62}$")]
Port = Annotated[
    int | Literal["auto"],
    BeforeValidator(_parse_port),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1024, "maximum": 65535}]}),
]
Devices = Annotated[
    Literal["all"] | int | list[str],
    BeforeValidator(_parse_devices),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "all"},
                {"type": "integer", "minimum": 1},
                {
                    "type": "array",
                    "minItems": 1,
                    "uniqueItems": True,
                    "items": {"type": ["string", "integer"]},
                },
            ]
        }
    ),
]
HostPath = Annotated[Path, BeforeValidator(_parse_path)]
Url = Annotated[str, AfterValidator(_parse_url)]
FindLinks = Annotated[str, AfterValidator(_parse_find_links)]
Address = Annotated[str, AfterValidator(_parse_address)]
Size = Annotated[str, AfterValidator(_parse_size)]
PrometheusSize = Annotated[str, AfterValidator(_parse_prometheus_size), _matches("^[1-9][0-9]*(KB|MB|GB|TB)$")]
NginxSize = Annotated[str, AfterValidator(_parse_nginx_size), _matches("^[1-9][0-9]*[kmgKMG]$")]
Duration = Annotated[str, AfterValidator(_parse_duration)]
