# shellcheck shell=bash
# shellcheck disable=SC2034  # the facts are read by the files that are sourced beside this one
# What this machine has. Nothing here changes anything.
# FILES_UNDER goes before every path that is read: the tests lay out a machine of their own there.

FILES_UNDER=${STACK_TEST_ROOT:-}

has() { command -v "$1" >/dev/null 2>&1; }

# Debian leaves the sbin folders out of a user's PATH.
has_daemon() {
  has "$1" || [[ -x $FILES_UNDER/usr/sbin/$1 || -x $FILES_UNDER/usr/local/sbin/$1 || -x $FILES_UNDER/sbin/$1 ]]
}

is_root() { [[ $(id -u) == 0 ]]; }

has_systemd() { [[ -d $FILES_UNDER/run/systemd/system ]]; }

# Sets OS_NAME, OS_FAMILY (debian, ubuntu, or empty where the packages are not known) and OS_MAJOR.
read_os() {
  local file=$FILES_UNDER/etc/os-release id version ubuntu
  OS_NAME="this system" OS_FAMILY="" OS_MAJOR=0
  [[ -r $file ]] || return 0
  OS_NAME=$(os_field "$file" PRETTY_NAME) id=$(os_field "$file" ID)
  version=$(os_field "$file" VERSION_ID) ubuntu=$(os_field "$file" UBUNTU_CODENAME)
  if [[ $id != ubuntu && -n $ubuntu ]]; then # Mint, Pop!_OS and others that use Ubuntu's archive
    case $ubuntu in
      jammy) id=ubuntu version=22.04 ;;
      noble) id=ubuntu version=24.04 ;;
    esac
  fi
  case $id in
    debian) OS_FAMILY=debian OS_MAJOR=${version:-99} ;; # testing and sid have no number
    ubuntu) OS_FAMILY=ubuntu OS_MAJOR=${version%%.*} ;;
  esac
  if [[ $OS_FAMILY == debian && $OS_MAJOR -lt 12 || $OS_FAMILY == ubuntu && $OS_MAJOR -lt 22 ]]; then
    OS_FAMILY=""
  fi
}

os_field() { (
  # shellcheck source=/dev/null
  source "$1"
  printf '%s' "${!2:-}"
); }

# Prints the first Python that can make a virtual environment for `stack`.
find_python() {
  local candidate
  for candidate in python3.13 python3.12 python3.11 python3; do
    if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$candidate"
      return 0
    fi
  done
  return 1
}

# Sets DOCKER_STATE: ready; denied (the socket); stopped; absent; elsewhere (another engine than this machine's
# own, which does not answer); snap (the same); podman (which answers to the name docker).
read_docker() {
  local answer
  DOCKER_STATE=absent
  has docker || return 0
  if answer=$(timeout 15 docker version --format '{{.Server.Version}}' 2>&1); then
    DOCKER_STATE=ready
  elif [[ $(docker --version 2>/dev/null) == *[Pp]odman* ]]; then
    DOCKER_STATE=podman
  elif ! is_local_socket; then
    DOCKER_STATE=elsewhere
  elif [[ $answer == *"ermission denied"* ]]; then
    DOCKER_STATE=denied
  elif [[ $(command -v docker) == /snap/* ]]; then
    DOCKER_STATE=snap
  elif has_daemon dockerd; then
    DOCKER_STATE=stopped
  fi
}

# Where the client looks, after DOCKER_HOST, DOCKER_CONTEXT and `docker context use`.
docker_endpoint() {
  docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || printf '%s\n' "${DOCKER_HOST:-}"
}

is_local_socket() {
  local endpoint
  endpoint=$(docker_endpoint)
  [[ ${endpoint:-unix:///var/run/docker.sock} =~ ^unix:///(var/)?run/docker\.sock$ ]]
}

# Sets ENGINE_SOURCE: distribution, docker-ce (Docker's own packages) or other (snap, Desktop, rootless, remote,
# binaries by hand). Only the first two are ever given another package, and none is ever replaced.
read_engine_source() {
  ENGINE_SOURCE=other
  if ! is_local_socket || [[ $(command -v docker) == /snap/* ]]; then
    return 0
  elif is_installed docker-ce; then
    ENGINE_SOURCE=docker-ce
  elif is_installed docker.io; then
    ENGINE_SOURCE=distribution
  fi
}

is_installed() { [[ $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) == "install ok installed" ]]; }

has_compose() { [[ $(docker compose version --short 2>/dev/null) =~ ^v?([2-9]|[1-9][0-9]) ]]; }

has_buildx() { docker buildx version >/dev/null 2>&1; }

# The group database says so; the running session may have been opened before.
is_in_docker_group() { [[ " $(id -nG "$(id -un)" 2>/dev/null) " == *" docker "* ]]; }

# Any HTTP answer that a registry gives counts. curl knows proxies; bash alone tries the port.
has_registry() {
  local code
  if has curl; then
    code=$(curl -s -o /dev/null -w '%{http_code}' --max-time 3 https://registry-1.docker.io/v2/ 2>/dev/null) || return 1
    [[ $code == 401 || $code == 200 ]]
  else
    timeout 3 bash -c '</dev/tcp/registry-1.docker.io/443' >/dev/null 2>&1
  fi
}

# Published (vllm/vllm-openai, also by a mirror's name) or built here.
has_engine_image() {
  local -a names=(--filter 'reference=vllm/*' --filter 'reference=*/vllm/*' --filter 'reference=*/stack/engine')
  [[ -n $(docker image ls --quiet "${names[@]}" 2>/dev/null) ]]
}

has_nvidia_gpu() {
  local device
  for device in "$FILES_UNDER"/sys/bus/pci/devices/*; do
    [[ -r $device/vendor && -r $device/class ]] || continue
    if [[ $(<"$device/vendor") == 0x10de && $(<"$device/class") == 0x03* ]]; then return 0; fi
  done
  has_nvidia_driver
}

has_nvidia_driver() {
  [[ -r $FILES_UNDER/proc/driver/nvidia/version ]] || { has nvidia-smi && nvidia-smi -L 2>/dev/null | grep -q GPU; }
}

has_nvidia_runtime() {
  grep -qs '"nvidia"' "$FILES_UNDER/etc/docker/daemon.json" ||
    docker info --format '{{json .Runtimes}}' 2>/dev/null | grep -q '"nvidia"'
}

# The kernel enforces AppArmor profiles; an engine without the parser then starts no container.
lacks_apparmor_parser() {
  [[ $(cat "$FILES_UNDER/sys/module/apparmor/parameters/enabled" 2>/dev/null) == Y ]] && ! has_daemon apparmor_parser
}
