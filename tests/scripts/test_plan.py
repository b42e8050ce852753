"""The plan for one machine after another, compared as the text that a person reads."""

from textwrap import dedent

import pytest

APT = "env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get install -y --no-install-recommends"
BY_HAND = (
    "grep -qs dockerd /proc/$(cat /var/run/docker.pid 2>/dev/null)/cmdline || rm -f /var/run/docker.pid;"
    " setsid nohup dockerd >/var/log/dockerd.log 2>&1 </dev/null &"
)


def text(block: str) -> str:
    return dedent(block).lstrip("\n").replace("@INSTALL", APT).replace("@BY_HAND", BY_HAND)


def test_a_fresh_debian_12_without_a_terminal_gets_the_commands_and_nothing_runs(machine):
    machine.no_registry()
    run = machine.run("up")
    assert run.stderr == text("""
        This machine lacks:
          - Python 3.11 or newer with its venv module
          - Docker Engine
          - Docker Compose v2
          - Docker buildx
          - mmdebstrap, to build images from packages: no container registry answers

        Commands that put this right:
          apt-get update
          @INSTALL python3 python3-venv docker.io iptables mmdebstrap
          rm -rf /var/cache/stack-docker-plugins
          install -d /var/cache/stack-docker-plugins/lists/partial /var/cache/stack-docker-plugins/cache/archives/partial /usr/local/lib/docker/cli-plugins
          printf '%s\\n' 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian/ trixie main' 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian/ forky main' >/var/cache/stack-docker-plugins/sources.list
          printf '%s\\n' 'Dir::Etc::SourceList "/var/cache/stack-docker-plugins/sources.list";' 'Dir::Etc::SourceParts "/dev/null";' 'Dir::State::Lists "/var/cache/stack-docker-plugins/lists";' 'Dir::Cache "/var/cache/stack-docker-plugins/cache";' >/var/cache/stack-docker-plugins/apt.conf
          env APT_CONFIG=/var/cache/stack-docker-plugins/apt.conf apt-get update
          cd /var/cache/stack-docker-plugins/cache && env APT_CONFIG=/var/cache/stack-docker-plugins/apt.conf apt-get download docker-compose docker-buildx
          for deb in /var/cache/stack-docker-plugins/cache/*.deb; do dpkg -x "$deb" /var/cache/stack-docker-plugins/unpacked; done
          install -m 755 /var/cache/stack-docker-plugins/unpacked/usr/libexec/docker/cli-plugins/* /usr/local/lib/docker/cli-plugins
          rm -rf /var/cache/stack-docker-plugins
          service docker start || { @BY_HAND }

        error: there is no terminal to ask on: run these commands, or run this again with --yes
        """)  # noqa: E501
    assert run.code == 3
    assert run.stdout == ""
    assert not [call for call in run.called("apt-get") if "indextargets" not in call]


def test_a_fresh_debian_13_as_a_user_with_sudo(machine):
    machine.system("debian-13")
    machine.systemd()
    machine.user("ada", uid=1000)
    machine.sudo()
    machine.sg()
    machine.no_registry()
    assert machine.run("up").stderr == text("""
        This machine lacks:
          - Python 3.11 or newer with its venv module
          - Docker Engine
          - ada in the group docker, whose members can act as root on this machine
          - Docker Compose v2
          - Docker buildx
          - mmdebstrap fakechroot fakeroot uidmap, to build images from packages: no container registry answers

        Commands that put this right:
          sudo apt-get update
          sudo @INSTALL python3 python3-venv docker.io iptables docker-cli docker-compose docker-buildx mmdebstrap fakechroot fakeroot uidmap
          sudo systemctl enable --now docker
          sudo usermod -aG docker ada

        error: there is no terminal to ask on: run these commands, or run this again with --yes
        """)  # noqa: E501


def test_a_fresh_ubuntu_22_04_takes_the_newer_python_of_its_archive(machine):
    machine.system("ubuntu-22.04")
    machine.systemd()
    machine.user("ada", uid=1000, groups="sudo")
    machine.sudo()
    machine.sg()
    machine.python(suits=False)
    assert machine.run("up").stderr == text("""
        This machine lacks:
          - Python 3.11 or newer with its venv module
          - Docker Engine
          - ada in the group docker, whose members can act as root on this machine
          - Docker Compose v2
          - Docker buildx

        Commands that put this right:
          sudo apt-get update
          sudo @INSTALL python3.11 python3.11-venv docker.io iptables docker-compose-v2 docker-buildx
          sudo systemctl enable --now docker
          sudo usermod -aG docker ada

        error: there is no terminal to ask on: run these commands, or run this again with --yes
        """)


@pytest.mark.parametrize("system", ["ubuntu-24.04", "mint"])
def test_a_fresh_ubuntu_24_04_and_what_uses_its_archive(machine, system):
    machine.system(system)
    machine.systemd()
    machine.no_registry()
    assert machine.run("up").commands == [
        "apt-get update",
        f"{APT} python3 python3-venv docker.io iptables docker-compose-v2 docker-buildx"
        " mmdebstrap debian-archive-keyring",
        "systemctl enable --now docker",
    ]


def test_debian_without_a_number_is_taken_for_the_newest(machine):
    machine.system("debian-sid")
    machine.systemd()
    assert machine.run("up").commands == [
        "apt-get update",
        f"{APT} python3 python3-venv docker.io iptables docker-cli docker-compose docker-buildx",
        "systemctl enable --now docker",
    ]


def test_without_sudo_the_commands_are_for_root_to_run(machine):
    machine.user("ada", uid=1000)
    machine.sg()
    machine.python()
    machine.docker("stopped")
    run = machine.run("up", "--yes")
    assert run.stderr == text("""
        This machine lacks:
          - a running Docker daemon
          - ada in the group docker, whose members can act as root on this machine

        Commands that put this right:
          service docker start || { @BY_HAND }
          usermod -aG docker ada

        error: run these commands as root, then run this again
        """)
    assert run.code == 3
    assert not run.called("service")


def test_sudo_that_wants_a_password_stops_where_there_is_no_terminal(machine):
    machine.user("ada", uid=1000, groups="docker")
    machine.sudo(password=True)
    machine.python()
    machine.docker("stopped")
    run = machine.run("up", "--yes")
    assert run.stderr.endswith(
        "error: sudo asks for a password and there is no terminal: run these commands, then run this again\n"
    )
    assert run.code == 3
    assert not run.called("service")


def test_sudo_keeps_the_proxy(machine):
    machine.user("ada", uid=1000, groups="docker")
    machine.sudo()
    machine.python()
    machine.docker("stopped")
    machine.environment["https_proxy"] = "http://proxy.example:3128"
    assert machine.run("up").commands == [
        "sudo --preserve-env=http_proxy,https_proxy,no_proxy,HTTP_PROXY,HTTPS_PROXY,NO_PROXY sh -c"
        f" 'service docker start || {{ {BY_HAND} }}'"
    ]


@pytest.mark.parametrize("system", ["fedora", "debian-11"])
def test_another_system_is_told_what_is_needed(machine, system):
    machine.system(system)
    machine.python()
    run = machine.run("up", "--yes")
    name = {"fedora": "Fedora Linux 44", "debian-11": "Debian GNU/Linux 11 (bullseye)"}[system]
    assert run.stderr == text(f"""
        error: {name} lacks Docker Engine

        hint: packages are known here for Debian 12 and newer and Ubuntu 22.04 and newer; install it by hand, then run this again
        """)  # noqa: E501
    assert run.code == 3


def test_another_system_with_everything_in_place_is_no_problem(machine):
    machine.system("fedora")
    machine.ready()
    machine.no_registry()
    assert machine.run("up").code == 0


def test_an_apparmor_kernel_gets_its_parser_with_the_engine(machine):
    machine.python()
    machine.file("/sys/module/apparmor/parameters/enabled", "Y\n")
    assert f"{APT} docker.io iptables apparmor" in machine.run("up").commands


def test_a_gpu_without_its_driver_goes_on_with_the_cpu_and_says_so(machine):
    machine.ready()
    machine.gpu(driver=False)
    run = machine.run("up")
    assert run.code == 0
    assert run.stderr.startswith(
        "note: an NVIDIA GPU is here, but its driver is not loaded, so the engine runs on the CPU;"
        " for the GPU, install nvidia-driver from Debian's non-free component and restart the machine\n"
    )


def test_a_gpu_without_its_driver_stops_where_the_gpu_was_asked_for(machine):
    machine.system("ubuntu-24.04")
    machine.ready()
    machine.gpu(driver=False)
    run = machine.run("up", "--device", "cuda")
    assert run.stderr == text("""
        error: an NVIDIA GPU is here, but its driver is not loaded

        hint: run `sudo ubuntu-drivers install` and restart the machine, or leave out --device cuda
        """)
    assert run.code == 3


def test_a_gpu_with_its_driver_gets_the_container_toolkit(machine):
    machine.ready()
    machine.systemd()
    machine.gpu(driver=True)
    run = machine.run("up")
    assert run.stderr == text("""
        This machine lacks:
          - the NVIDIA container toolkit, so that containers see the GPU (Docker is restarted: running containers stop)

        Commands that put this right:
          apt-get update
          curl -fsSL --output /usr/share/keyrings/nvidia-container-toolkit.asc https://nvidia.github.io/libnvidia-container/gpgkey
          printf '%s\\n' 'deb [signed-by=/usr/share/keyrings/nvidia-container-toolkit.asc] https://nvidia.github.io/libnvidia-container/stable/deb/$(ARCH) /' >/etc/apt/sources.list.d/nvidia-container-toolkit.list
          apt-get update
          @INSTALL nvidia-container-toolkit
          nvidia-ctk runtime configure --runtime=docker
          systemctl restart docker

        error: there is no terminal to ask on: run these commands, or run this again with --yes
        """)  # noqa: E501


def test_a_toolkit_that_docker_does_not_know_is_only_configured(machine):
    machine.ready()
    machine.gpu(driver=True)
    machine.stub("nvidia-ctk")
    assert machine.run("up").commands == [
        "nvidia-ctk runtime configure --runtime=docker",
        f"service docker restart || {{ kill $(cat /var/run/docker.pid); sleep 5; {BY_HAND} }}",
    ]


def test_a_fresh_machine_with_a_gpu_gets_all_of_it_in_one_plan(machine):
    machine.system("ubuntu-24.04")
    machine.systemd()
    machine.python()
    machine.gpu(driver=True)
    commands = machine.run("up").commands
    assert commands[:2] == ["apt-get update", f"{APT} docker.io iptables docker-compose-v2 docker-buildx"]
    assert commands[-3:] == [
        f"{APT} nvidia-container-toolkit",
        "nvidia-ctk runtime configure --runtime=docker",
        "systemctl restart docker",
    ]


@pytest.mark.parametrize("arguments", [["--device", "cpu"], ["--device=cpu"]])
def test_asking_for_the_cpu_leaves_the_gpu_alone(machine, arguments):
    machine.ready()
    machine.gpu(driver=True)
    assert machine.run("up", *arguments).code == 0


def test_a_docker_that_knows_the_gpu_needs_nothing(machine):
    machine.python()
    machine.docker(runtimes=',"nvidia":{}')
    machine.gpu(driver=True)
    assert machine.run("up").code == 0


def test_another_makers_display_controller_is_not_a_gpu_for_cuda(machine):
    machine.ready()
    machine.file("/sys/bus/pci/devices/0000:00:02.0/vendor", "0x8086\n")
    machine.file("/sys/bus/pci/devices/0000:00:02.0/class", "0x030000\n")
    machine.file("/sys/bus/pci/devices/0000:01:00.1/vendor", "0x10de\n")
    machine.file("/sys/bus/pci/devices/0000:01:00.1/class", "0x040300\n")
    assert machine.run("up").code == 0


def test_only_the_missing_plugin_is_installed(machine):
    machine.system("debian-13")
    machine.python()
    machine.docker(plugins="compose")
    run = machine.run("up")
    assert run.lacks == ["Docker buildx"]
    assert run.commands == ["apt-get update", f"{APT} docker-buildx"]


def test_dockers_own_packages_get_their_own_plugins(machine):
    machine.system("ubuntu-24.04")
    machine.python()
    machine.docker(plugins="", package="docker-ce")
    commands = machine.run("up").commands
    assert commands == ["apt-get update", f"{APT} docker-compose-plugin docker-buildx-plugin"]


@pytest.mark.parametrize(
    "endpoint",
    ["unix:///home/ada/.docker/desktop/docker.sock", "unix:///run/user/1000/docker.sock", "ssh://box"],
)
def test_desktop_rootless_and_remote_engines_are_used_as_they_are(machine, endpoint):
    machine.user("ada", uid=1000)
    machine.python()
    machine.docker(endpoint=endpoint, package="")
    run = machine.run("up")
    assert run.code == 0
    assert "lacks" not in run.stderr


def test_an_engine_elsewhere_that_does_not_answer_is_not_replaced(machine):
    machine.python()
    machine.docker("stopped")
    machine.environment["DOCKER_HOST"] = "tcp://box.example:2376"
    run = machine.run("up", "--yes")
    assert run.stderr == text("""
        error: no Docker engine answers at tcp://box.example:2376

        hint: DOCKER_HOST or the Docker context names it: start that engine, or unset DOCKER_HOST and run `docker context use default`
        """)  # noqa: E501
    assert run.code == 3


def test_an_engine_that_is_no_package_gets_no_plugin_from_the_archive(machine):
    machine.system("ubuntu-24.04")
    machine.python()
    machine.docker(plugins="buildx", package="")
    run = machine.run("up", "--yes")
    assert run.stderr.startswith("error: this Docker lacks the plugins: compose\n")
    assert run.code == 3
    assert not run.called("apt-get")


def test_a_gpu_beside_an_engine_that_is_no_package_is_only_noted(machine):
    machine.python()
    machine.docker(endpoint="ssh://box", package="")
    machine.gpu(driver=True)
    run = machine.run("up")
    assert run.code == 0
    assert run.stderr.startswith("note: an NVIDIA GPU is here, but this Docker is not from a package")


def test_podman_under_dockers_name_is_told_apart(machine):
    machine.python()
    machine.docker("stopped", program="podman")
    run = machine.run("up")
    assert run.stderr.startswith("error: `docker` is Podman here\n")
    assert run.code == 3


def test_a_registry_that_answers_needs_no_image_builder(machine):
    machine.ready()
    assert machine.run("up").code == 0


@pytest.mark.parametrize("code", ["000", "403", "502"])
def test_a_proxy_that_answers_in_the_registrys_place_is_no_registry(machine, code):
    machine.ready()
    machine.stub("curl", f"printf {code}")
    run = machine.run("up")
    assert run.lacks == ["mmdebstrap, to build images from packages: no container registry answers"]


def test_without_a_registry_an_engine_image_that_is_here_is_enough(machine):
    machine.python()
    machine.docker(images="a6e7c9cb0fb3")
    machine.no_registry()
    run = machine.run("up")
    assert run.code == 0
    assert "lacks" not in run.stderr


@pytest.mark.parametrize(("system", "uidmap"), [("debian-12", ""), ("ubuntu-22.04", ""), ("ubuntu-24.04", " uidmap")])
def test_a_user_gets_what_builds_a_base_image_without_root(machine, system, uidmap):
    machine.system(system)
    machine.user("ada", uid=1000, groups="docker")
    machine.sudo()
    machine.ready()
    machine.no_registry()
    machine.file("/usr/share/keyrings/debian-archive-keyring.gpg")
    tools = f"mmdebstrap fakechroot fakeroot{uidmap}"
    assert machine.run("up").lacks == [f"{tools}, to build images from packages: no container registry answers"]


def test_the_image_builder_alone_may_be_refused(machine):
    machine.ready()
    machine.no_registry()
    run = machine.run("up", "--no-smoke")
    assert run.commands == ["apt-get update", f"{APT} mmdebstrap"]
    assert "Going on without: there is no terminal to ask on" in run.stderr
    assert run.code == 0
    assert run.calls[-1] == "stack up --no-smoke"


def test_the_image_builder_is_needed_where_images_from_packages_were_asked_for(machine):
    machine.ready()
    run = machine.run("up", "--images", "packages")
    assert run.lacks == ["mmdebstrap, to build images from packages"]
    assert run.code == 3


def test_the_image_builder_is_not_wanted_where_a_registry_was_asked_for(machine):
    machine.ready()
    machine.no_registry()
    assert machine.run("up", "--images=registry").code == 0


def test_what_the_tests_need_is_one_installation_and_starts_no_service(machine):
    machine.ready()
    machine.systemd()
    machine.stub("shellcheck")
    machine.stub("mkfs.ext4")
    run = machine.run("host-setup", "--tests")
    assert run.lacks == ["for the tests: prometheus docker-registry nginx-light iproute2"]
    assert run.commands == [
        "apt-get update",
        f"{APT} prometheus docker-registry nginx-light iproute2",
        "systemctl disable --now prometheus docker-registry nginx",
    ]
