"""What `stack pin` does with the archive: `--archive`, `--verify`, `--prune`."""

from __future__ import annotations

from typing import Any

from stack.console import Console, format_bytes


def keep(console: Console, session: Any, as_json: bool, pinned: dict[str, Any], *, verify: bool) -> None:
    """Bring the pinned engine's image into the archive; with `verify`, mend what is damaged there first.

    Args:
        console: The console.
        session: The run.
        as_json: Whether to print a document.
        pinned: The document of a pin before it, to be printed with it.
        verify: Whether to hash everything in the archive.
    """
    from stack.operations.pin.archive import describe_image, run_archive, run_verify

    with console.live():
        if verify:
            run_verify(session, mend=True)
        kept = run_archive(session)
    folder = str(session.config.images.archive_dir)
    if as_json:
        images = [describe_image(item.image) | {"was_here": item.was_here} for item in kept]
        console.json({"schema_version": 1, **pinned, "archive": folder, "images": images})
        return
    for item in kept:
        size = format_bytes(item.image.total_bytes)
        console.result(f"archive   {item.image.reference}, {size}{' (it was there already)' if item.was_here else ''}")
        console.result(f"          {item.image.digest} in {folder}")


def verify(console: Console, session: Any, as_json: bool) -> None:
    """Hash everything in the archive."""
    from stack.operations.pin.archive import describe_image, run_verify

    with console.live():
        images = run_verify(session)
    folder = str(session.config.images.archive_dir)
    if as_json:
        console.json({"schema_version": 1, "archive": folder, "images": [describe_image(image) for image in images]})
        return
    for image in images:
        console.result(f"whole  {image.reference}, {format_bytes(image.total_bytes)}")
    if not images:
        console.result(f"nothing is in the archive ({folder})")


def prune(console: Console, session: Any, as_json: bool, *, dry_run: bool, anyway: bool) -> None:
    """Drop what no lock uses from the archive."""
    from stack.operations.pin.archive import build_prune_document, run_prune

    with console.live():
        result = run_prune(session, dry_run=dry_run, anyway=anyway)
    if as_json:
        console.json(build_prune_document(result))
        return
    for item in result.verdicts:
        verb = "keep" if item.is_used else "drop"
        console.result(f"{verb}  {item.image.reference}, {format_bytes(item.image.total_bytes)}: {item.reason}")
    done = "would be freed" if dry_run else "freed"
    console.result(f"{format_bytes(result.freed_bytes)} {done} in {session.config.images.archive_dir}")
