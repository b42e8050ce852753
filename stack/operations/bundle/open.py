"""A bundle opened as a stranger's: what it says, whether it is whole, and small files of it, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.bundles.manifest import Bundle, BundleFile, Part
from stack.bundles.open import load_manifest, open_source, read_whole
from stack.bundles.problem import BundleError, BundleProblem, DamagedBundleError
from stack.bundles.source import Source
from stack.bundles.verify import Keep, find_damage, find_differences
from stack.models.meter import Meter
from stack.operations.resolve import machine_platform
from stack.progress import ProgressEvent, Report

_TASK = "verify the bundle"


@dataclass(frozen=True)
class OpenBundle:
    """A bundle whose manifest was read.

    Attributes:
        source: Its files.
        bundle: What it says.
    """

    source: Source
    bundle: Bundle

    def read(self, digest: str) -> bytes:
        """Give a small blob, checked.

        Raises:
            BundleError: It is not there, or damaged.
        """
        return self._read(self.bundle.find_blob(digest))

    def read_part(self, part: Part) -> bytes | None:
        """Give the one file of a part, checked; None where there is none.

        Raises:
            BundleError: It is damaged.
        """
        found = self.bundle.list_part(part)
        return self._read(found[0]) if found else None

    def _read(self, file: BundleFile) -> bytes:
        body = read_whole(self.source, file.path)
        if hashlib.sha256(body).hexdigest() != file.sha256:
            message = f"({file.part} {file.name}) holds other bytes than those that were saved"
            raise DamagedBundleError(self.source.where, [BundleProblem(file.path, "changed", message)])
        return body


def open_bundle(where: Path) -> OpenBundle:
    """Open a bundle and read its manifest.

    Raises:
        BundleError: It is none, or holds what no bundle has.
    """
    source = open_source(where)
    return OpenBundle(source, load_manifest(source))


def check_platform(opened: OpenBundle) -> None:
    """Refuse a bundle for another machine, before anything else of it is looked at.

    Raises:
        BundleError: It is for another.
    """
    here = machine_platform()
    if opened.bundle.platform != here:
        raise BundleError(
            f"{opened.source.where} was saved on {opened.bundle.platform}, and this machine is {here}",
            hint="save one on a machine like this one; images and wheels run on one architecture only",
        )


def find_problems(opened: OpenBundle, report: Report, keep: Keep | None = None) -> list[BundleProblem]:
    """Give everything that is not as the manifest says; every byte is read.

    Args:
        opened: The bundle.
        report: Told the bytes.
        keep: Given the bytes on the way, where they are to be kept.
    """
    source, bundle = opened.source, opened.bundle
    problems = find_differences(source, bundle)
    meter = Meter(report, _TASK, bundle.size_bytes)
    gone = {problem.path for problem in problems}
    problems += find_damage(source, bundle, on_bytes=meter.add, keep=keep, skip=gone)
    end = f"{len(bundle.paths)} files, {len(problems)} problems"
    report(ProgressEvent(_TASK, end, state="failed" if problems else "done"))
    return problems


def demand_whole(opened: OpenBundle) -> None:
    """Refuse a bundle that lacks a file or has one too many, by what can be seen without reading all of it.

    Raises:
        DamagedBundleError: It does.
    """
    problems = find_differences(opened.source, opened.bundle)
    if problems:
        raise DamagedBundleError(opened.source.where, problems)


def build_list_document(opened: OpenBundle) -> Mapping[str, Any]:
    """Give what a bundle is as a JSON document."""
    bundle = opened.bundle
    said = bundle.model_dump(mode="json", exclude={"files", "tool", "schema_version"})
    return {
        "schema_version": 1,
        "bundle": str(opened.source.where),
        **said,
        "has_tool": bundle.tool is not None,
        "size_bytes": bundle.size_bytes,
        "parts": {part: {"files": count, "size_bytes": size} for part, count, size in list_parts(bundle)},
        "files": [file.model_dump(mode="json") for file in bundle.files],
    }


def list_parts(bundle: Bundle) -> list[tuple[str, int, int]]:
    """Give each part with the number of its files and their bytes; what two images share counts once."""
    found: dict[str, dict[str, int]] = {}
    for file in bundle.files:
        found.setdefault(file.part, {})[file.path] = file.size_bytes
    return [(part, len(sizes), sum(sizes.values())) for part, sizes in found.items()]


def build_verify_document(opened: OpenBundle, problems: list[BundleProblem]) -> Mapping[str, Any]:
    """Give the result of a verification as a JSON document."""
    return {
        "schema_version": 1,
        "bundle": str(opened.source.where),
        "whole": not problems,
        "files": len(opened.bundle.paths),
        "size_bytes": opened.bundle.size_bytes,
        "problems": [{"path": item.path, "state": item.state, "message": item.message} for item in problems],
    }
