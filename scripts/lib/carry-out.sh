# shellcheck shell=bash
# Shows the plan, asks, runs it, and says what went wrong. ASSUME_YES and DRY_RUN are yes or no.

LOCK_WAIT_SECONDS=300

# prepare_host serving|tests: gives back a host that `stack` can work on, or ends the run.
prepare_host() {
  local note
  build_plan "$1"
  for note in "${NOTES[@]}"; do say "note: $note"; done
  if [[ ${#LACKS[@]} == 0 ]]; then return 0; fi
  print_plan
  if [[ $DRY_RUN == yes ]]; then
    say "Nothing of this was run (--dry-run)."
    return 0
  fi
  if ! may_run; then return 0; fi
  run_commands
  if [[ -n $START_STEP ]]; then wait_docker; fi
  build_plan "$1"
  if [[ ${#LACKS[@]} -gt 0 && $ONLY_WANTED == no ]]; then
    print_plan
    die "the commands ran, but this is still missing" "" 3
  fi
}

print_plan() {
  local line
  say "This machine lacks:"
  for line in "${LACKS[@]}"; do say "  - $line"; done
  say ""
  say "Commands that put this right:"
  for line in "${COMMANDS[@]}"; do say "  $line"; done
  say ""
}

# True if the commands may run; false if they may not and the run can go on without them; else it ends.
may_run() {
  local answer=""
  if ! is_root && ! has sudo; then
    refuse "run these commands as root, then run this again"
    return 1
  fi
  if [[ $ASSUME_YES != yes ]]; then
    if [[ ! -t 0 ]]; then
      refuse "there is no terminal to ask on: run these commands, or run this again with --yes"
      return 1
    fi
    read -r -p "Run them now? [y/N] " answer || answer=""
    if [[ ! $answer =~ ^[Yy]([Ee][Ss])?$ ]]; then
      refuse "nothing was changed"
      return 1
    fi
  fi
  if ! is_root && ! sudo -n true 2>/dev/null && [[ ! -t 0 ]]; then
    refuse "sudo asks for a password and there is no terminal: run these commands, then run this again"
    return 1
  fi
}

refuse() {
  if [[ $ONLY_WANTED == yes ]]; then
    say "Going on without: $1."
  else
    die "$1" "" 3
  fi
}

run_commands() {
  local command
  LOG=$(mktemp)
  trap 'rm -f "$LOG"' EXIT
  for command in "${COMMANDS[@]}"; do
    say "+ $command"
    if run_logged "$command"; then continue; fi
    # One broken third-party source fails the whole update; whether it matters shows at the installation.
    if [[ $command == *"apt-get update" ]]; then
      warn "\`$command\` failed; going on with the package lists that are here"
    elif [[ $ONLY_WANTED == yes ]]; then
      warn "\`$command\` failed; going on without"
      return 0
    else
      die "\`$command\` failed" "$(explain_failure)"
    fi
  done
}

# Another package manager (a fresh Ubuntu updates itself at boot) holds the lock for a while.
run_logged() {
  local waited=0
  while ! PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin bash -c "$1" </dev/null 2>&1 | tee "$LOG" >&2; do
    if ! grep -q 'Could not get lock\|Unable to acquire' "$LOG" || ((waited >= LOCK_WAIT_SECONDS)); then return 1; fi
    if ((waited == 0)); then say "Another package manager is at work: waiting up to $LOCK_WAIT_SECONDS seconds for it …"; fi
    sleep 5
    waited=$((waited + 5))
  done
}

explain_failure() {
  if grep -q 'Could not get lock\|Unable to acquire' "$LOG"; then
    echo "another package manager still holds the lock: wait until it has finished, then run this again"
  elif grep -qi 'could not resolve\|temporary failure\|could not connect\|unable to connect\|network is unreachable\|timed out' "$LOG"; then
    echo "the package archive cannot be reached: check the network and the proxy (http_proxy, apt's Acquire::http::Proxy)"
  elif grep -q 'Unable to locate package\|no installation candidate' "$LOG" && [[ $OS_FAMILY == ubuntu ]]; then
    echo "the archive has no such package: enable the component universe with \`sudo add-apt-repository universe\`, then run this again"
  elif grep -q 'Unable to locate package\|no installation candidate\|Failed to fetch' "$LOG"; then
    echo "the package lists are old or cannot be fetched: look at what \`apt-get update\` says"
  elif grep -q 'not in the sudoers\|incorrect password\|may not run sudo' "$LOG"; then
    echo "sudo refuses: let an administrator run the commands above, then run this again"
  else
    echo "its own words are above; put that right, then run this again"
  fi
}

wait_docker() {
  local tries
  for ((tries = 0; tries < 60; tries++)); do
    read_docker
    if [[ $DOCKER_STATE == ready || $DOCKER_STATE == denied ]]; then return 0; fi
    sleep 1
  done
  die "the Docker daemon did not come up within a minute" \
    "its log says why: \`journalctl -u docker\`, /var/log/docker.log or /var/log/dockerd.log" 3
}

# join_docker_group COMMAND…: starts the command again inside the group, if that is what it takes to reach Docker.
join_docker_group() {
  if [[ $DOCKER_STATE != denied ]] || ! is_in_docker_group; then return 0; fi
  if [[ -n ${STACK_IN_DOCKER_GROUP:-} ]]; then
    die "Docker's socket refuses $(id -un), who is in the group docker" "look at \`ls -l /var/run/docker.sock\`" 3
  fi
  if ! has sg; then
    die "$(id -un) is in the group docker, but this session was opened before" "log out and in, then run this again" 3
  fi
  say "Going on in the group docker; new logins are in it by themselves."
  export STACK_IN_DOCKER_GROUP=yes
  exec sg docker -c "exec $(quote_words "$@")"
}
