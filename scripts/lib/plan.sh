# shellcheck shell=bash
# shellcheck disable=SC2034  # the lists are read by the files that are sourced beside this one
# What the host lacks, and the exact commands that put it right: facts in, three lists out.
#   LACKS     what is missing, a line each
#   COMMANDS  shell commands, printed and run as they stand
#   NOTES     what was left alone, and why

PLUGIN_FOLDER=/usr/local/lib/docker/cli-plugins
WORK_FOLDER=/var/cache/stack-docker-plugins
NVIDIA_ARCHIVE=https://nvidia.github.io/libnvidia-container
# A daemon that was killed leaves its pid file, and a new one refuses to start while that number is in use, if only by a
# process that nobody has reaped.
# shellcheck disable=SC2016  # expanded where the command runs
BY_HAND='grep -qs dockerd /proc/$(cat /var/run/docker.pid 2>/dev/null)/cmdline || rm -f /var/run/docker.pid; setsid nohup dockerd >/var/log/dockerd.log 2>&1 </dev/null &'

# build_plan serving|tests
build_plan() {
  LACKS=() COMMANDS=() NOTES=() PACKAGES=() SUITE_PLUGINS=() ONLY_WANTED=yes
  NVIDIA_STEP="" START_STEP=""
  read_os
  read_docker
  plan_python
  plan_engine
  plan_plugins
  plan_image_builder "$1"
  plan_nvidia
  if [[ $1 == tests ]]; then plan_test_tools; fi
  write_commands
}

lacks() {
  LACKS+=("$1")
  ONLY_WANTED=no
}

plan_python() {
  if is_venv_current || find_python >/dev/null; then return 0; fi
  lacks "Python 3.11 or newer with its venv module"
  require_known_os "Python 3.11 or newer with venv and ensurepip"
  if [[ $OS_FAMILY == ubuntu && $OS_MAJOR == 22 ]]; then
    PACKAGES+=(python3.11 python3.11-venv)
  else
    PACKAGES+=(python3 python3-venv)
  fi
}

require_known_os() {
  if [[ -n $OS_FAMILY ]] && has apt-get; then return 0; fi
  die "$OS_NAME lacks $1" \
    "packages are known here for Debian 12 and newer and Ubuntu 22.04 and newer; install it by hand, then run this again" 3
}

plan_engine() {
  case $DOCKER_STATE in
    elsewhere)
      die "no Docker engine answers at $(docker_endpoint)" \
        "DOCKER_HOST or the Docker context names it: start that engine, or unset DOCKER_HOST and run \`docker context use default\`" 3
      ;;
    snap) die "the Docker snap is not running" "start it with \`snap start docker\`, then run this again" 3 ;;
    podman) die "\`docker\` is Podman here" "Docker Engine with Compose v2 is needed; remove podman-docker to let it be installed" 3 ;;
    stopped)
      lacks "a running Docker daemon"
      START_STEP=start
      ;;
    absent)
      lacks "Docker Engine"
      require_known_os "Docker Engine"
      PACKAGES+=(docker.io iptables)
      if [[ $OS_FAMILY == debian && $OS_MAJOR -ge 13 ]]; then PACKAGES+=(docker-cli); fi
      START_STEP=start
      ;;
  esac
  if [[ $DOCKER_STATE == absent ]] && lacks_apparmor_parser; then PACKAGES+=(apparmor); fi
  plan_group
}

plan_group() {
  JOIN_GROUP=no
  if [[ $DOCKER_STATE == ready ]] || is_root || is_in_docker_group; then return 0; fi
  lacks "$(id -un) in the group docker, whose members can act as root on this machine"
  JOIN_GROUP=yes
  if ! has sg && [[ -n $OS_FAMILY ]]; then PACKAGES+=(util-linux-extra); fi
}

plan_plugins() {
  local missing=()
  if [[ $DOCKER_STATE == absent ]] && ! has docker; then
    missing=(compose buildx)
  else
    has_compose || missing+=(compose)
    has_buildx || missing+=(buildx)
  fi
  if [[ ${#missing[@]} == 0 ]]; then return 0; fi
  if [[ " ${missing[*]} " == *" compose "* ]]; then lacks "Docker Compose v2"; fi
  if [[ " ${missing[*]} " == *" buildx "* ]]; then lacks "Docker buildx"; fi
  add_plugin_packages "${missing[@]}"
}

add_plugin_packages() {
  local plugin
  ENGINE_SOURCE=distribution
  if [[ $DOCKER_STATE != absent ]]; then read_engine_source; fi
  if [[ $ENGINE_SOURCE == other ]]; then
    die "this Docker lacks the plugins: $*" \
      "the engine is not from a package of this system, so it is left alone: add Compose v2 and buildx as its makers say" 3
  fi
  require_known_os "the Docker plugins: $*"
  for plugin in "$@"; do
    case $ENGINE_SOURCE/$OS_FAMILY/$OS_MAJOR/$plugin in
      docker-ce/*) PACKAGES+=("docker-$plugin-plugin") ;;
      */debian/12/*) SUITE_PLUGINS+=("docker-$plugin") ;;
      */ubuntu/*/compose) PACKAGES+=(docker-compose-v2) ;;
      *) PACKAGES+=("docker-$plugin") ;;
    esac
  done
}

# Images come from a registry, or are built here from packages. Where that was not asked for outright, `stack up`
# may have all it needs without: so a "no" to this alone does not end the run.
plan_image_builder() {
  local tools=(mmdebstrap) tool missing=()
  if ! is_root; then tools+=(fakechroot fakeroot); fi
  # fakechroot cannot enter a suite whose libc is older than the host's: there user namespaces serve instead.
  if ! is_root && ! is_libc_of_debian_12; then tools+=(newuidmap:uidmap); fi
  for tool in "${tools[@]}"; do has_daemon "${tool%%:*}" || missing+=("${tool##*:}"); done
  if [[ $OS_FAMILY == ubuntu && ! -e $FILES_UNDER/usr/share/keyrings/debian-archive-keyring.gpg ]]; then
    missing+=(debian-archive-keyring)
  fi
  if [[ ${#missing[@]} == 0 || ${WANT_IMAGES:-auto} == registry || -z $OS_FAMILY ]]; then return 0; fi
  if [[ ${WANT_IMAGES:-auto} == packages ]]; then
    lacks "${missing[*]}, to build images from packages"
  elif has_registry; then
    return 0
  elif [[ $1 == tests ]]; then
    lacks "${missing[*]}, to build images from packages: no container registry answers"
  elif has_engine_image; then
    return 0
  else
    LACKS+=("${missing[*]}, to build images from packages: no container registry answers")
  fi
  PACKAGES+=("${missing[@]}")
}

is_libc_of_debian_12() { [[ $OS_FAMILY/$OS_MAJOR == debian/12 || $OS_FAMILY/$OS_MAJOR == ubuntu/22 ]]; }

plan_nvidia() {
  if [[ ${WANT_DEVICE:-auto} == cpu ]]; then return 0; fi
  if ! has_nvidia_gpu; then return 0; fi
  if ! has_nvidia_driver; then
    note_missing_driver
    return 0
  fi
  if has_nvidia_runtime; then return 0; fi
  ENGINE_SOURCE=distribution
  if [[ $DOCKER_STATE != absent ]]; then read_engine_source; fi
  if [[ $ENGINE_SOURCE == other ]]; then
    NOTES+=("an NVIDIA GPU is here, but this Docker is not from a package of this system and is left alone: give it the NVIDIA container toolkit as its makers say")
    return 0
  fi
  require_known_os "the NVIDIA container toolkit"
  lacks "the NVIDIA container toolkit, so that containers see the GPU (Docker is restarted: running containers stop)"
  NVIDIA_STEP=configure START_STEP=restart
  if ! has nvidia-ctk; then
    NVIDIA_STEP=install
    if ! has curl; then PACKAGES+=(curl ca-certificates); fi
  fi
}

note_missing_driver() {
  local driver="install nvidia-driver from Debian's non-free component"
  if [[ $OS_FAMILY == ubuntu ]]; then driver="run \`sudo ubuntu-drivers install\`"; fi
  if [[ ${WANT_DEVICE:-auto} == cuda ]]; then
    die "an NVIDIA GPU is here, but its driver is not loaded" "$driver and restart the machine, or leave out --device cuda" 3
  fi
  NOTES+=("an NVIDIA GPU is here, but its driver is not loaded, so the engine runs on the CPU; for the GPU, $driver and restart the machine")
}

# The programs that the tests start, and the package of each.
plan_test_tools() {
  local pair missing=()
  for pair in promtool:prometheus docker-registry:docker-registry nginx:nginx-light ip:iproute2 \
    mkfs.ext4:e2fsprogs shellcheck:shellcheck; do
    has_daemon "${pair%%:*}" || missing+=("${pair##*:}")
  done
  if [[ ${#missing[@]} == 0 ]]; then return 0; fi
  lacks "for the tests: ${missing[*]}"
  require_known_os "what the tests use: ${missing[*]}"
  PACKAGES+=("${missing[@]}")
}
