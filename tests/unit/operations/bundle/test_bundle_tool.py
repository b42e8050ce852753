"""The tool in a bundle: wheels of what runs here, and what installs them without a network."""

import importlib.metadata
import io
import subprocess
import sys
import zipfile

import pytest

from stack.operations.bundle.tool import build_fingerprint, build_tool_files, build_wheel


@pytest.fixture(scope="module")
def files():
    return build_tool_files()


def test_a_wheel_is_the_same_for_the_same_files_and_records_each():
    distribution = importlib.metadata.distribution("click")
    name, body = build_wheel(distribution)
    assert build_wheel(distribution) == (name, body)
    assert name == f"click-{distribution.version}-py3-none-any.whl"
    with zipfile.ZipFile(io.BytesIO(body)) as wheel:
        names = set(wheel.namelist())
        record = wheel.read(f"click-{distribution.version}.dist-info/RECORD").decode()
    assert {row.partition(",")[0] for row in record.splitlines()} == names
    assert not any(path.endswith(".pyc") or path.endswith(("INSTALLER", "direct_url.json")) for path in names)


def test_the_tools_own_wheel_holds_what_runs_and_no_path_of_this_checkout(files):
    (body,) = [body for path, body in files.items() if "vllm_stack_up-" in path]
    with zipfile.ZipFile(io.BytesIO(body)) as wheel:
        names = set(wheel.namelist())
        assert {"stack/cli/bundle.py", "stack/_assets/compose/compose.yaml"} <= names
        assert not any(path.endswith(".pth") for path in names)
        from stack.assets import asset_path

        root = str(asset_path().parent).encode()
        assert not any(root in wheel.read(path) for path in names if path.endswith((".pth", ".json", "METADATA")))


def test_every_dependency_is_there_and_pip_too(files):
    names = {path.rpartition("/")[2].partition("-")[0] for path in files}
    assert {"click", "docker", "pydantic", "pydantic_core", "zstandard", "numpy", "pip"} <= names
    assert "pytest" not in names


def test_what_it_is_does_not_depend_on_when_it_was_asked():
    assert build_fingerprint() == build_fingerprint()


def test_it_installs_and_runs_from_the_folder_alone(files, tmp_path):
    for path, body in files.items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "STACK_PYTHON": sys.executable}
    environ |= {"PIP_INDEX_URL": "http://127.0.0.1:9", "PYTHONDONTWRITEBYTECODE": "1"}
    argv = ["sh", str(tmp_path / "tool" / "install"), str(tmp_path / "venv")]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    said = subprocess.run([done.stdout.strip(), "bundle", "--help"], env=environ, capture_output=True, text=True)
    assert said.returncode == 0 and "verify" in said.stdout


def test_another_python_is_told_which_one_is_needed(files, tmp_path):
    (tmp_path / "install").write_bytes(files["tool/install"].replace(b"3.11", b"3.99").replace(b"3.12", b"3.99"))
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "STACK_PYTHON": sys.executable}
    done = subprocess.run(["sh", str(tmp_path / "install")], env=environ, capture_output=True, text=True)
    assert done.returncode == 3 and "these wheels are for Python 3.99" in done.stderr
