"""`scripts/up` as it runs: who is asked, what is called, and what a second run leaves alone."""

import os
import re
import shutil

import pytest


def fresh(machine):
    """A fresh Debian 13 on which an installation gives Python and a running Docker."""
    machine.system("debian-13")
    machine.systemd()
    with machine.after("apt-get", "install -y"):
        machine.python()
        machine.docker()


def test_yes_installs_starts_sets_up_and_hands_over_the_other_arguments(machine):
    fresh(machine)
    run = machine.run("up", "--model", "a b'c", "--yes", "--dry", "")
    assert run.code == 0
    assert [call for call in run.calls if re.match("apt-get|systemctl|stack|python3 -m", call)] == [
        "apt-get update",
        "apt-get install -y --no-install-recommends python3 python3-venv docker.io iptables docker-cli"
        " docker-compose docker-buildx",
        "systemctl enable --now docker",
        "python3 -m venv CHECKOUT/.venv",
        "stack up --model a b'c --dry ",
    ]
    assert run.stdout == ""


@pytest.mark.parametrize("answer", ["y", "Yes"])
def test_on_a_terminal_it_asks_and_goes_on_after_a_yes(machine, answer):
    fresh(machine)
    run = machine.run("up", answer=answer)
    assert run.code == 0
    assert "Run them now? [y/N]" in run.stderr
    assert run.calls[-1] == "stack up"


@pytest.mark.parametrize("answer", ["n", "", "yikes"])
def test_any_other_answer_changes_nothing(machine, answer):
    fresh(machine)
    run = machine.run("up", answer=answer)
    assert run.code == 3
    assert run.stderr.endswith("error: nothing was changed\n")
    assert not run.called("apt-get") and not run.called("stack")
    assert not (machine.checkout / ".venv").exists()


def test_the_second_run_asks_nothing_installs_nothing_and_writes_nothing(machine):
    machine.user("ada", uid=1000, groups="docker")
    machine.ready()
    machine.stub("sudo", "exit 1")
    assert machine.run("up").code == 0
    before = machine.digest()
    run = machine.run("up", "--json")
    assert run.code == 0
    assert machine.digest() == before
    assert run.calls[-1] == "stack up --json"
    assert {call.split(" ")[0] for call in run.calls} <= {"id", "docker", "curl", "stack"}
    assert run.stderr == ""


def test_a_daemon_that_is_not_running_is_only_started(machine):
    machine.python()
    machine.docker("stopped")
    machine.systemd()
    with machine.after("systemctl", "enable --now docker"):
        machine.docker()
    run = machine.run("up", "--yes")
    assert run.code == 0
    assert run.commands == ["systemctl enable --now docker"]


def test_a_user_who_joins_the_docker_group_goes_on_inside_it(machine):
    machine.user("ada", uid=1000, groups="sudo")
    machine.sudo()
    machine.python()
    machine.docker("denied")
    with machine.after("usermod", "-aG docker ada"):
        machine.user("ada", uid=1000, groups="sudo docker")
        machine.stub("sg", 'cp "$STUBS/usermod/inside" "$(dirname "$0")/docker"; shift 2; exec sh -c "$1"')
        machine.docker()
        (machine.bin / "docker").rename(machine.bin / "inside")
    machine.stub("sg")
    run = machine.run("up", "--yes", "--model", "it's $HOME")
    assert run.code == 0
    assert run.commands == ["sudo usermod -aG docker ada"]
    assert "Going on in the group docker; new logins are in it by themselves." in run.stderr
    assert run.called("sg") == ["sg docker -c exec CHECKOUT/scripts/up --yes --model 'it'\\''s $HOME'"]
    assert run.calls[-1] == "stack up --model it's $HOME"


def test_a_member_whose_session_is_older_goes_on_inside_the_group_without_root(machine):
    machine.user("ada", uid=1000, groups="docker")
    machine.python()
    machine.docker("denied")
    machine.sg()
    run = machine.run("up")
    assert run.called("sg")
    assert run.code == 3, "the socket still refuses: once is enough"
    assert "error: Docker's socket refuses ada, who is in the group docker" in run.stderr
    assert len(run.called("sg")) == 1


def test_without_sg_a_member_is_told_to_log_in_again(machine):
    machine.user("ada", uid=1000, groups="docker")
    machine.python()
    machine.docker("denied")
    run = machine.run("up")
    assert run.stderr.endswith("hint: log out and in, then run this again\n")
    assert run.code == 3


def test_a_dry_run_prints_what_the_host_lacks_and_goes_on_to_the_tools_own_plan(machine):
    machine.python()
    machine.system("debian-13")
    run = machine.run("up", "--dry-run")
    assert run.code == 0
    assert "Nothing of this was run (--dry-run)." in run.stderr
    assert not run.called("apt-get")
    assert run.calls[-1] == "stack up --dry-run"


def test_help_needs_nothing_and_then_shows_both(machine):
    run = machine.run("up", "--help")
    assert run.code == 0
    assert run.stdout.startswith("Usage: ./scripts/up [--yes] [stack up arguments ...]\n")
    assert run.calls == []
    machine.ready()
    machine.run("up")
    assert machine.run("up", "-h").calls == ["stack up --help"]


def test_arguments_behind_two_dashes_are_left_alone(machine):
    machine.ready()
    assert machine.run("up", "--", "--yes", "-h").calls[-1] == "stack up -- --yes -h"


def test_a_broken_third_party_source_does_not_stop_the_installation(machine):
    fresh(machine)
    machine.stub("apt-get", (machine.bin / "apt-get").read_text() + '[ "$1" != update ]')
    run = machine.run("up", "--yes")
    assert "warning: `apt-get update` failed; going on with the package lists that are here" in run.stderr
    assert run.code == 0


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("E: Could not resolve 'deb.debian.org'", "the package archive cannot be reached: check the network"),
        ("E: Unable to locate package docker-cli", "the package lists are old or cannot be fetched"),
        ("E: Sub-process /usr/bin/dpkg returned an error code (1)", "its own words are above"),
    ],
)
def test_a_failed_installation_is_explained(machine, words, hint):
    machine.python()
    machine.system("debian-13")
    machine.stub("apt-get", f'if [ "$1" != update ]; then echo "{words}" >&2; exit 100; fi')
    run = machine.run("up", "--yes")
    assert run.code == 1
    assert words in run.stderr
    assert f"\nhint: {hint}" in run.stderr
    assert not run.called("stack")


def test_ubuntu_without_universe_is_told_how_to_enable_it(machine):
    machine.python()
    machine.system("ubuntu-24.04")
    machine.stub("apt-get", 'echo "E: Unable to locate package docker.io"; [ "$1" = update ]')
    assert "sudo add-apt-repository universe" in machine.run("up", "--yes").stderr


def test_a_held_lock_is_waited_for(machine):
    machine.stub("sleep")
    fresh(machine)
    busy = machine.stubs / "busy"
    busy.write_text("")
    done = (machine.bin / "apt-get").read_text().split('"$CALLS"\n', 1)[1]
    machine.stub(
        "apt-get",
        f'if [ "$1" != update ] && rm "{busy}" 2>/dev/null; then\n'
        f'  echo "E: Could not get lock /var/lib/dpkg/lock-frontend" >&2; exit 100\nfi\n{done}',
    )
    run = machine.run("up", "--yes")
    assert run.stderr.count("Another package manager is at work: waiting up to 300 seconds for it …") == 1
    assert run.code == 0


def test_a_daemon_that_does_not_come_up_is_said_so(machine):
    machine.stub("sleep")
    machine.python()
    machine.docker("stopped")
    machine.systemd()
    run = machine.run("up", "--yes")
    assert "error: the Docker daemon did not come up within a minute\n\nhint: its log says why" in run.stderr
    assert run.code == 3


def test_what_is_still_missing_afterwards_is_named(machine):
    machine.python()
    machine.docker(plugins="compose")
    machine.system("debian-13")
    run = machine.run("up", "--yes")
    assert run.stderr.endswith("error: the commands ran, but this is still missing\n")
    assert run.code == 3


def test_the_packages_of_the_lock_are_installed_with_the_machines_own_pip_settings(machine):
    machine.ready()
    machine.environment |= {
        "PIP_INDEX_URL": "https://mirror.example/simple",
        "SSL_CERT_FILE": "/etc/corporate.pem",
        "https_proxy": "http://proxy.example:3128",
        "PIP_USER": "1",
    }
    run = machine.run("up")
    settings = [
        "PIP_CERT=/etc/corporate.pem",
        "PIP_DISABLE_PIP_VERSION_CHECK=1",
        "PIP_INDEX_URL=https://mirror.example/simple",
        "PIP_USER=0",
        "SSL_CERT_FILE=/etc/corporate.pem",
        "https_proxy=http://proxy.example:3128",
    ]
    installed = [re.sub("/tmp/[^ ]*", "FILE", call) for call in run.calls]
    installed = installed[installed.index("python3 -m venv CHECKOUT/.venv") + 1 :]
    assert [re.sub("--requirement .*", "--requirement FILE", call) for call in installed] == [
        "python -m pip install --quiet --require-hashes --no-deps --requirement FILE",
        *settings,
        f"uv==1.2.3 --hash=sha256:{'ab' * 32}",
        "uv export --project CHECKOUT --python CHECKOUT/.venv/bin/python --quiet --offline --frozen"
        " --no-config --no-header --no-annotate --no-emit-project --no-default-groups --group build",
        "python -m pip install --quiet --require-hashes --no-deps --requirement FILE",
        *settings,
        "numpy==2.0 --hash=sha256:cd",
        "python -m pip install --quiet --no-deps --no-build-isolation --editable CHECKOUT",
        *settings,
        "stack up",
    ]


def test_a_changed_lock_is_installed_into_the_same_environment(machine):
    machine.ready()
    machine.run("up")
    lock = machine.checkout / "uv.lock"
    lock.write_text(lock.read_text().replace("1.2.3", "1.2.4"))
    run = machine.run("up")
    assert any(call.startswith("uv==1.2.4") for call in run.calls)
    assert not [call for call in run.called("python3") if "-m venv" in call]


def test_a_moved_checkout_makes_its_environment_anew(machine):
    machine.ready()
    machine.run("up")
    moved = machine.checkout.with_name("elsewhere")
    shutil.move(machine.checkout, moved)
    machine.checkout = moved
    assert "python3 -m venv CHECKOUT/.venv" in machine.run("up").calls


def test_a_failed_installation_is_tried_again_by_the_next_run(machine):
    machine.docker()
    machine.python(pip="exit 1")
    run = machine.run("up")
    assert run.code == 3
    assert "error: the Python packages could not be installed" in run.stderr
    assert not run.called("stack")
    machine.python()
    shutil.copy(machine.bin / "python3", machine.checkout / ".venv/bin/python")
    assert machine.run("up").calls[-1] == "stack up"


def test_the_tests_packages_stay_when_up_runs_after_them(machine):
    machine.ready()
    machine.run("up")
    stamp = machine.checkout / ".venv/.installed-from"
    stamp.write_text(stamp.read_text().replace("build\n", "build dev\n"))
    assert machine.run("up").calls[-1] == "stack up"
    assert not machine.run("up").called("uv")
    (machine.checkout / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert machine.run("up").called("uv")[0].endswith("--group build --group dev")


def test_the_newest_known_python_is_taken(machine):
    machine.docker()
    machine.python(name="python3", suits=False)
    machine.python(name="python3.12")
    machine.python(name="python3.11")
    assert "python3.12 -m venv CHECKOUT/.venv" in machine.run("up").calls


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a folder of another user's")
def test_an_environment_of_another_users_is_not_written_to(machine, tmp_path):
    machine.user("ada", uid=1000, groups="docker")
    machine.ready()
    (machine.checkout / ".venv").mkdir()
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == 0 and not path.stat().st_mode & 0o005:
            path.chmod(0o755)
    machine.calls.chmod(0o666)
    setpriv = shutil.which("setpriv")
    run = machine.run("up", via=[setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"])
    assert run.stderr.startswith("error: CHECKOUT/.venv belongs to another user\n")
    assert run.code == 3
