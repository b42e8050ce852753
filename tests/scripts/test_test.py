"""`scripts/test` and `.ci/run`: what they install, in which order they check, and what pytest is given."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ("promtool", "docker-registry", "nginx", "ip", "mkfs.ext4", "shellcheck", "mmdebstrap")


def prepared(machine):
    machine.ready()
    for tool in TOOLS:
        machine.stub(tool)
    for tool in ("ruff", "lint-imports"):
        machine.stub(tool)
    machine.stub("pytest", 'echo "STACK_REQUIRE=$STACK_REQUIRE in $PWD" >>"$CALLS"; echo "3 passed in 0.01s"')


def test_it_checks_the_sources_first_and_ends_with_pytests_own_line(machine):
    prepared(machine)
    machine.stub("ruff", "echo 'All checks passed!'")
    run = machine.run("test", "-k", "smoke and not slow")
    assert run.code == 0
    start = run.calls.index("ruff check")
    assert run.calls[start:] == [
        "ruff check",
        "ruff format --check",
        "lint-imports",
        "pytest -ra --durations=10 -k smoke and not slow",
        "STACK_REQUIRE=docker in CHECKOUT",
    ]
    assert run.stdout == "3 passed in 0.01s\n"


def test_a_finding_in_the_sources_fails_before_the_long_run(machine):
    prepared(machine)
    machine.stub("lint-imports", "exit 1")
    run = machine.run("test")
    assert run.code == 1
    assert not run.called("pytest")


def test_the_exit_code_of_pytest_is_the_exit_code(machine):
    prepared(machine)
    machine.stub("pytest", "exit 5")
    assert machine.run("test").code == 5


def test_the_packages_for_the_tests_are_in_the_environment(machine):
    prepared(machine)
    run = machine.run("test")
    assert run.called("uv")[0].endswith("--no-default-groups --group build --group dev")


def test_without_a_terminal_it_stops_before_the_first_root_command(machine):
    machine.ready()
    run = machine.run("test")
    assert run.code == 3
    assert run.lacks == [
        "for the tests: prometheus docker-registry nginx-light iproute2 e2fsprogs shellcheck",
    ]


def test_in_ci_it_does_not_ask(machine):
    machine.ready()
    with machine.after("apt-get", "install -y"):
        for tool in (*TOOLS, "ruff", "lint-imports", "pytest"):
            machine.stub(tool)
    machine.environment["CI"] = "true"
    run = machine.run("test")
    assert run.code == 0
    assert [call for call in run.called("apt-get") if "install" in call] == [
        "apt-get install -y --no-install-recommends"
        " prometheus docker-registry nginx-light iproute2 e2fsprogs shellcheck"
    ]


def test_without_a_registry_the_image_builder_is_needed_whatever_images_are_here(machine):
    prepared(machine)
    machine.docker(images="a6e7c9cb0fb3")
    (machine.bin / "mmdebstrap").unlink()
    machine.no_registry()
    run = machine.run("test")
    assert run.lacks == ["mmdebstrap, to build images from packages: no container registry answers"]
    assert run.code == 3


def test_ci_runs_the_same_script_and_nothing_else():
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "set -euo pipefail",
        'cd "$(dirname "${BASH_SOURCE[0]}")/.."',
        'exec ./scripts/test "$@"',
    ]
