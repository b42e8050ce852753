# shellcheck shell=bash
# The plan as commands, in the order they run. `root_command` takes plain words, `root_shell` shell syntax.

write_commands() {
  if [[ ${#PACKAGES[@]} -gt 0 || ${#SUITE_PLUGINS[@]} -gt 0 || $NVIDIA_STEP == install ]]; then
    root_command "apt-get update"
  fi
  if [[ ${#PACKAGES[@]} -gt 0 ]]; then
    install_packages "${PACKAGES[@]}"
    quiet_test_services
  fi
  if [[ ${#SUITE_PLUGINS[@]} -gt 0 ]]; then write_plugin_commands; fi
  if [[ -n $NVIDIA_STEP ]]; then write_nvidia_commands; fi
  if [[ -n $START_STEP ]]; then write_start_command; fi
  if [[ $JOIN_GROUP == yes ]]; then root_command "usermod -aG docker $(id -un)"; fi
}

root_command() { COMMANDS+=("$(root_prefix)$1"); }

root_shell() {
  local prefix
  prefix=$(root_prefix)
  if [[ -n $prefix ]]; then
    COMMANDS+=("${prefix}sh -c $(quote_word "$1")")
  else
    COMMANDS+=("$1")
  fi
}

# root_file PATH LINE…
root_file() {
  local path=$1 line words="printf '%s\n'"
  shift
  for line in "$@"; do words+=" $(quote_word "$line")"; done
  if is_root || ! has sudo; then
    COMMANDS+=("$words >$path")
  else
    COMMANDS+=("$words | sudo tee $path >/dev/null")
  fi
}

# sudo drops the proxy settings unless it is told to keep them.
root_prefix() {
  if is_root || ! has sudo; then return 0; fi
  if [[ -n ${http_proxy:-}${https_proxy:-}${HTTP_PROXY:-}${HTTPS_PROXY:-} ]]; then
    printf 'sudo --preserve-env=http_proxy,https_proxy,no_proxy,HTTP_PROXY,HTTPS_PROXY,NO_PROXY '
  else
    printf 'sudo '
  fi
}

# needrestart (Ubuntu) otherwise asks questions, and may restart services, in the middle of an installation.
install_packages() {
  root_command "env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get install -y --no-install-recommends $*"
}

# Their packages start services on the ports that `stack` and other people's programs use.
quiet_test_services() {
  local package units=()
  has_systemd || return 0
  for package in "${PACKAGES[@]}"; do
    case $package in
      prometheus | docker-registry) units+=("$package") ;;
      nginx-light) units+=(nginx) ;;
    esac
  done
  if [[ ${#units[@]} -gt 0 ]]; then root_command "systemctl disable --now ${units[*]}"; fi
}

# Debian 12 has no Compose v2 and no buildx. Newer suites do, and those packages need nothing newer than its libc:
# so they are unpacked as plugins, and no other suite is added to the system's own sources. The newest wins; where
# the younger suite's index is too old to be trusted (a mirror that stands still), the stable one is enough.
write_plugin_commands() {
  local source apt="env APT_CONFIG=$WORK_FOLDER/apt.conf apt-get"
  source="deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_archive)"
  root_command "rm -rf $WORK_FOLDER"
  root_command "install -d $WORK_FOLDER/lists/partial $WORK_FOLDER/cache/archives/partial $PLUGIN_FOLDER"
  root_file "$WORK_FOLDER/sources.list" "$source trixie main" "$source forky main"
  root_file "$WORK_FOLDER/apt.conf" "Dir::Etc::SourceList \"$WORK_FOLDER/sources.list\";" \
    'Dir::Etc::SourceParts "/dev/null";' "Dir::State::Lists \"$WORK_FOLDER/lists\";" "Dir::Cache \"$WORK_FOLDER/cache\";"
  root_command "$apt update"
  root_shell "cd $WORK_FOLDER/cache && $apt download ${SUITE_PLUGINS[*]}"
  root_shell "for deb in $WORK_FOLDER/cache/*.deb; do dpkg -x \"\$deb\" $WORK_FOLDER/unpacked; done"
  root_shell "install -m 755 $WORK_FOLDER/unpacked/usr/libexec/docker/cli-plugins/* $PLUGIN_FOLDER"
  root_command "rm -rf $WORK_FOLDER"
}

# The mirror that the system uses itself.
debian_archive() {
  local uri
  # shellcheck disable=SC2016  # apt's own placeholder
  uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Release: bookworm' 2>/dev/null | head -n 1) || uri=""
  printf '%s' "${uri:-http://deb.debian.org/debian/}"
}

# Source: NVIDIA's installation guide of the container toolkit, section "With apt".
# apt fills in $(ARCH), and reads a key as it is published where the file's name ends in .asc.
write_nvidia_commands() {
  local key=/usr/share/keyrings/nvidia-container-toolkit.asc
  if [[ $NVIDIA_STEP == install ]]; then
    root_command "curl -fsSL --output $key $NVIDIA_ARCHIVE/gpgkey"
    root_file /etc/apt/sources.list.d/nvidia-container-toolkit.list "deb [signed-by=$key] $NVIDIA_ARCHIVE/stable/deb/\$(ARCH) /"
    root_command "apt-get update"
    install_packages nvidia-container-toolkit
  fi
  root_command "nvidia-ctk runtime configure --runtime=docker"
}

# Without systemd (containers, WSL without it) a service script may refuse: then the daemon is started by hand.
write_start_command() {
  if has_systemd && [[ $START_STEP == restart ]]; then
    root_command "systemctl restart docker"
  elif has_systemd; then
    root_command "systemctl enable --now docker"
  elif [[ $START_STEP == restart && $DOCKER_STATE == ready ]]; then
    root_shell "service docker restart || { kill \$(cat /var/run/docker.pid); sleep 5; $BY_HAND }"
  else
    root_shell "service docker start || { $BY_HAND }"
  fi
}
