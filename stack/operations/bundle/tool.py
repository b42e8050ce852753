"""The tool itself for a machine without a network: wheels of what runs here, and what installs them.

The wheels are put together from the installed files of this very environment: no registry is asked, and what is
carried is what was tried. They fit the same Python minor version and platform; `tool/install` says so where they do
not. Entry points are made anew where they are installed; bytecode and other programs' files are left out.

Source: PyPA specifications, binary distribution format and recording installed projects.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stack.assets import asset_path
from stack.bundles.problem import BundleError

_PROJECT = "vllm-stack-up"
_ASSETS = ("compose", "grafana", "prometheus")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# The earliest that a zip can tell: the same files give the same wheel.
_TIME = (1980, 1, 1, 0, 0, 0)

_INSTALL = """\
#!/bin/sh
# Installs `stack` from this folder alone, into a virtual environment: ./install [DIRECTORY]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=${1:-"${XDG_DATA_HOME:-"$HOME/.local/share"}/stack/venv"}
python=${STACK_PYTHON:-python3}
found=$("$python" -c 'import platform, sys; print("%d.%d" % sys.version_info[:2], platform.machine())')
if [ "$found" != "@PYTHON@ @MACHINE@" ]; then
    echo "these wheels are for Python @PYTHON@ on @MACHINE@, and $python is Python $found" >&2
    echo "name another with STACK_PYTHON=/path/to/python@PYTHON@" >&2
    exit 3
fi
"$python" -m venv --without-pip "$target"
for pip in "$here"/wheels/pip-*.whl; do
    "$target/bin/python" "$pip/pip" install --quiet --no-index --find-links "$here/wheels" @PROJECT@
done
echo "$target/bin/stack"
"""


def build_tool_files() -> dict[str, bytes]:
    """Give the files of the part `tool`, by their paths in a bundle.

    Raises:
        BundleError: A distribution that is needed is not installed whole.
    """
    files = {"tool/install": _render_install().encode()}
    for distribution in [*_list_needed(_PROJECT), *_list_needed("pip")]:
        name, body = build_wheel(distribution)
        files[f"tool/wheels/{name}"] = body
    return files


def build_fingerprint() -> str:
    """Give what tells two states of the tool apart, without putting wheels together."""
    digest = hashlib.sha256(_render_install().encode())
    for distribution in _list_needed(_PROJECT):
        digest.update(f"{distribution.metadata['Name']}=={distribution.version}\n".encode())
    for name, path in sorted(_list_project_files()):
        digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _render_install() -> str:
    import platform

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    text = _INSTALL.replace("@PYTHON@", version).replace("@MACHINE@", platform.machine())
    return text.replace("@PROJECT@", _PROJECT)


def _list_needed(name: str) -> list[importlib.metadata.Distribution]:
    """List a distribution and all that it needs here."""
    from packaging.requirements import Requirement

    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [(name, frozenset[str]())]
    seen = set()
    while waiting:
        wanted, extras = waiting.pop()
        key = re.sub(r"[-_.]+", "-", wanted).lower()
        if (key, extras) in seen:
            continue
        seen.add((key, extras))
        try:
            distribution = found.setdefault(key, importlib.metadata.distribution(wanted))
        except importlib.metadata.PackageNotFoundError as err:
            raise BundleError(
                f"the tool cannot be carried: `{wanted}` is not installed here",
                hint="install it (`pip install`), or leave the tool out with `--no-tool`",
            ) from err
        for text in distribution.requires or []:
            need = Requirement(text)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                waiting.append((need.name, frozenset(need.extras)))
    return [found[key] for key in sorted(found)]


def build_wheel(distribution: importlib.metadata.Distribution) -> tuple[str, bytes]:
    """Give a wheel of an installed distribution: its file name and bytes, the same for the same files.

    Raises:
        BundleError: Its files are not recorded, or gone.
    """
    name, version = re.sub(r"[-_.]+", "_", distribution.metadata["Name"]).lower(), distribution.version
    files = dict(_list_files(distribution))
    info = f"{name}-{version}.dist-info"
    tags = re.findall(r"^Tag: (\S+)", distribution.read_text("WHEEL") or "", re.MULTILINE)
    if not files or not tags:
        raise BundleError(
            f"the tool cannot be carried: nothing records the files of `{name}`",
            hint="install it with pip, or leave the tool out with `--no-tool`",
        )
    rows = []
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as wheel:
        for path, body in sorted(files.items()):
            digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
            rows.append(f"{_quote(path)},sha256={digest},{len(body)}\n")
            wheel.writestr(_build_entry(path), body)
        rows.append(f"{info}/RECORD,,\n")
        wheel.writestr(_build_entry(f"{info}/RECORD"), "".join(rows))
    return f"{name}-{version}-{_choose_tag(tags)}.whl", buffer.getvalue()


def _build_entry(path: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(path, _TIME)
    entry.external_attr = (0o100644) << 16
    return entry


def _quote(path: str) -> str:
    return f'"{path}"' if "," in path else path


def _choose_tag(tags: Iterable[str]) -> str:
    """Give the first tag of a wheel that fits this machine: its name shall not grow with every tag it has."""
    from packaging.tags import sys_tags

    offered = {str(tag) for text in tags for tag in _expand(text)}
    return next((str(tag) for tag in sys_tags() if str(tag) in offered), sorted(offered)[0])


def _expand(text: str) -> Iterable[Any]:
    from packaging.tags import parse_tag

    return parse_tag(text)


def _list_files(distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, bytes]]:
    """Give the files of a distribution as its wheel has them."""
    is_project = distribution.metadata["Name"] == _PROJECT
    left_out = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
    try:
        for file in distribution.files or []:
            path = str(file)
            is_info = ".dist-info/" in path
            if path.startswith("..") or path.endswith(".pyc") or (is_info and file.name in left_out):
                continue
            if is_project and not is_info:
                continue
            if not is_info and "/" not in path and path.endswith(".pth"):
                continue
            yield _normalize(path, distribution), Path(str(file.locate())).read_bytes()
        if is_project:
            for name, path in _list_project_files():
                yield name, path.read_bytes()
    except OSError as err:
        raise BundleError(
            f"the tool cannot be carried: {err.filename} cannot be read ({err.strerror})",
            hint="install it anew, or leave the tool out with `--no-tool`",
        ) from err


def _normalize(path: str, distribution: importlib.metadata.Distribution) -> str:
    """Give a path with the dist-info folder named as the wheel's file is."""
    folder, dot, rest = path.partition(".dist-info/")
    if not dot:
        return path
    name = re.sub(r"[-_.]+", "_", distribution.metadata["Name"]).lower()
    return f"{name}-{distribution.version}.dist-info/{rest}"


def _list_project_files() -> Iterator[tuple[str, Path]]:
    """Give the files of this tool, where they really are: a checkout's too, which is only linked to."""
    package = Path(__file__).resolve().parents[2]
    for path in sorted(package.rglob("*")):
        inside = path.relative_to(package)
        if path.is_file() and "__pycache__" not in inside.parts and inside.parts[0] != "_assets":
            yield f"stack/{inside.as_posix()}", path
    for folder in _ASSETS:
        root = asset_path(folder)
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"stack/_assets/{folder}/{path.relative_to(root).as_posix()}", path
