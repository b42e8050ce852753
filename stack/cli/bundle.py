"""`stack bundle`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from stack.cli.options import JSON, open_session, project_options
from stack.console import Console, format_bytes
from stack.errors import EXIT_CHECK_FAILED

_PLACE = click.Path(path_type=Path)


@click.group("bundle")
def command() -> None:
    """Carry the stack to a machine without a network: images, model, configuration, history and this tool.

    A bundle is a directory, or one file that ends in `.tar` or `.tar.zst`.
    """


@command.command("save", short_help="Save the stack to a directory or file")
@click.argument("where", metavar="FILE|DIR", type=_PLACE)
@click.option("--with-caches", is_flag=True, help="Save compile caches too; `load` takes them with --trust only")
@click.option("--no-tool", is_flag=True, help="Leave out this tool and its wheels")
@JSON
@project_options
@click.pass_obj
def save(
    console: Console,
    config_path: Path | None,
    as_json: bool,
    project: str | None,
    where: Path,
    with_caches: bool,
    no_tool: bool,
) -> None:
    """Save the stack as it last came up. Secrets and paths of this machine stay here.

    Saving to the same directory again writes only what changed, and an interrupted save goes on.
    """
    from stack.operations.bundle.open import list_parts
    from stack.operations.bundle.save import run_save

    session = open_session(console, config_path, {"project": project})
    with console.live():
        saved = run_save(session, where, with_caches=with_caches, with_tool=not no_tool)
    if as_json:
        sizes = {"size_bytes": saved.size_bytes, "written_bytes": saved.written_bytes}
        left_out = list(saved.bundle.left_out)
        images = [image.model_dump(mode="json") for image in saved.bundle.images]
        console.json({"schema_version": 1, "bundle": str(where), **sizes, "images": images, "left_out": left_out})
        return
    for part, count, size in list_parts(saved.bundle):
        console.result(f"{part:<8}  {count:>5} files, {format_bytes(size)}")
    _tell_left_out(console, saved.bundle.left_out, "true on this machine only, and left out")
    written = format_bytes(saved.written_bytes)
    console.result(f"saved     {where}, {format_bytes(saved.size_bytes)}, {written} of it written now")


@command.command("load", short_help="Load a saved stack into Docker and onto the shared volume")
@click.argument("where", metavar="FILE|DIR", type=_PLACE)
@click.option(
    "--to",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Directory for stack.toml and stack.lock; this one if not given",
)
@click.option("--trust", is_flag=True, help="Take all of its configuration, and compile caches: both may run code here")
@click.option("--accept", type=click.Choice(["verified", "claimed"]), help="What proves a pinned commit")
@click.option("--force", is_flag=True, help="Replace a stack.toml or stack.lock that says something else")
@click.option("--project", help="Project name; the saved one if not given [env: STACK_PROJECT]")
@JSON
@click.pass_obj
def load(
    console: Console,
    where: Path,
    target: Path,
    trust: bool,
    accept: str | None,
    force: bool,
    project: str | None,
    as_json: bool,
) -> None:
    """Load a bundle. Every byte is hashed before anything is loaded; nothing of it is run."""
    from stack.operations.bundle.load import run_load
    from stack.operations.bundle.target import LoadWishes

    project = project or click.get_current_context().find_root().params.get("root_project")
    flags = {"project": project, "engine.accept": accept}
    wishes = LoadWishes(target.absolute(), os.environ, flags, trust, force)
    with console.live():
        loaded = run_load(where, wishes, console.report, console.info)
    if as_json:
        console.json(_build_document(loaded))
        return
    for service, image_id in loaded.images.items():
        console.result(f"{service:<13}  {image_id}")
    console.result(f"{'model':<13}  {_describe_model(loaded)}")
    console.result(f"{'commit':<13}  {_describe_commit(loaded)}")
    more = "" if trust else " (`--trust` takes more from somebody who is trusted, but no paths of another machine)"
    _tell_left_out(console, loaded.left_out, f"not taken from the bundle{more}")
    if loaded.caches is None:
        console.info("the bundle has compile caches, which the engine would run: they are taken with --trust only")
    for path in loaded.written:
        console.result(f"{'wrote':<13}  {path}")
    console.success(f"project `{loaded.project}` is here: `stack up --offline` in {target.absolute()} starts it")


@command.command("verify", short_help="Hash every byte of a bundle, and name what is wrong")
@click.argument("where", metavar="FILE|DIR", type=_PLACE)
@JSON
@click.pass_obj
def verify(console: Console, where: Path, as_json: bool) -> None:
    """Compare a bundle with its manifest; exit code 1 if anything is damaged, missing or too many."""
    from stack.operations.bundle.open import build_verify_document, find_problems, open_bundle

    with console.live():
        opened = open_bundle(where)
        problems = find_problems(opened, console.report)
    if as_json:
        console.json(build_verify_document(opened, problems))
    else:
        for problem in problems:
            console.result(f"{problem.state:<8}  {problem}")
        count = len(opened.bundle.paths)
        if not problems:
            console.result(f"whole     {where}, {count} files, {format_bytes(opened.bundle.size_bytes)}")
    if problems:
        raise click.exceptions.Exit(EXIT_CHECK_FAILED)


@command.command("list", short_help="Show what is in a bundle")
@click.argument("where", metavar="FILE|DIR", type=_PLACE)
@JSON
@click.pass_obj
def show(console: Console, where: Path, as_json: bool) -> None:
    """Show what is in a bundle; only its manifest is read."""
    from stack.operations.bundle.open import build_list_document, list_parts, open_bundle

    opened = open_bundle(where)
    if as_json:
        console.json(build_list_document(opened))
        return
    bundle = opened.bundle
    rows = [
        ("project", f"{bundle.project}, saved {bundle.created} by stack {bundle.tool_version}"),
        ("platform", f"{bundle.platform}, {bundle.device}"),
        ("model", f"{bundle.model.id} at {bundle.model.revision}"),
        *((image.service, f"{image.name} {image.digest or image.image_id}") for image in bundle.images),
        *(("commit", f"{image.commit} (there {image.level})") for image in bundle.images if image.commit),
        *((part, f"{count} files, {format_bytes(size)}") for part, count, size in list_parts(bundle)),
    ]
    for name, text in rows:
        console.result(f"{name:<13}  {text}")


def _describe_model(loaded: Any) -> str:
    model, place = loaded.opened.bundle.model, loaded.model_place
    if place is None:
        return f"{model.id} at {model.revision}"
    return f"{place} (for this project alone: the bundle calls it {model.id} at {model.revision})"


def _describe_commit(loaded: Any) -> str:
    return f"{loaded.commit} ({loaded.level} here)" if loaded.commit else "unknown"


def _build_document(loaded: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "bundle": str(loaded.opened.source.where),
        "project": loaded.project,
        "images": dict(loaded.images),
        "model": loaded.opened.bundle.model.model_dump(mode="json"),
        "model_directory": str(loaded.model_place) if loaded.model_place else None,
        "commit": loaded.commit,
        "commit_level": loaded.level,
        "caches": loaded.caches or 0,
        "left_out": list(loaded.left_out),
        "written": [str(path) for path in loaded.written],
    }


def _tell_left_out(console: Console, keys: Any, why: str) -> None:
    if keys:
        console.info(f"{why}: {', '.join(keys)}")
