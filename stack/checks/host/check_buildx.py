"""Buildx, where images are built on this machine."""

from __future__ import annotations

from stack.checks.host.check import HostCheck, HostContext, Outcome

_HINT = "./scripts/up installs it; or see https://docs.docker.com/build/install-buildx/"


def run(context: HostContext) -> Outcome:
    """Ask the plugin for its version."""
    built = [image.service for image in context.target.images if image.action == "build"]
    if not built:
        return Outcome("skip", "no image has to be built")
    answer = context.world.ask_tool(("docker", "buildx", "version"))
    if answer.returncode != 0:
        return Outcome(
            "fail",
            f"`docker buildx` is not installed, and images are built here: {', '.join(built)}",
            hint=_HINT,
            why="the builder inside the daemon knows neither secrets (the CA bundle) nor named contexts (wheels)",
        )
    words = answer.stdout.split()
    version = words[1] if len(words) > 1 else "of unknown version"
    builder = context.world.environ.get("BUILDX_BUILDER")
    if builder:
        return Outcome(
            "warn",
            f"buildx {version}; BUILDX_BUILDER chooses the builder `{builder}`",
            hint="unset BUILDX_BUILDER if the builds fail",
            why="a builder in a container keeps its result to itself, and cannot see base images that are only here",
            data={"version": version},
        )
    return Outcome("pass", f"buildx {version}", data={"version": version})


CHECK = HostCheck("buildx", run, order=40, is_quick=True)
