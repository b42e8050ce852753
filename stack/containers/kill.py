"""Kill what runs inside a container, as a crash does: Docker then does what its restart policy says.

`docker kill` is not the same: the daemon takes it for the user's wish, and starts nothing again
(moby, daemon/kill.go: `HasBeenManuallyStopped`).
"""

from __future__ import annotations

from collections.abc import Sequence

import docker

from stack.containers.daemon import translated

# The shell's own commands alone: a lean image has no `pidof`. The container's first process is Docker's init, which
# no signal from inside ends, and has another name.
_SCRIPT = """
for entry in /proc/[0-9]*; do
    read -r name <"$entry/comm" || continue
    case $name in {names}) kill -9 "${{entry#/proc/}}" ;; esac
done 2>/dev/null
"""


def kill_processes(client: docker.DockerClient, container_id: str, names: Sequence[str], *, before: str = "") -> None:
    """Kill every process of a container whose name matches, and do not wait for what comes of it.

    Args:
        client: A connection to the daemon.
        container_id: The container.
        names: Patterns of the shell: `python*`.
        before: A command of the shell to run first.

    Raises:
        CommandError: The daemon refuses, as for a container that does not run.
    """
    script = f"{before}\n{_SCRIPT.format(names='|'.join(names))}"
    with translated("killing a container's processes"):
        client.containers.get(container_id).exec_run(["sh", "-c", script], detach=True)


def restart_container(client: docker.DockerClient, container_id: str) -> None:
    """Stop a container and start it again; Docker's count of its restarts begins anew.

    Raises:
        CommandError: The daemon refuses.
    """
    with translated("restarting a container"):
        client.containers.get(container_id).restart()
