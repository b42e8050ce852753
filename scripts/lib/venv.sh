# shellcheck shell=bash
# `.venv` in the checkout, with exactly what uv.lock names. ROOT is the checkout, VENV_GROUPS "build" or "build dev".
# pip installs, since it alone follows a machine's own pip settings (index, mirror, proxy, certificate) whatever
# index the lock was made from; uv only turns the lock into pip's words. The lock's hashes hold in both.

VENV=$ROOT/.venv
STAMP=$VENV/.installed-from

# What .venv was made of, a line each: the place and the interpreter, the lock, the groups of packages.
venv_place() { printf '%s %s' "$VENV" "$(readlink -f "$VENV/bin/python")"; }

venv_lock() { cat "$ROOT/uv.lock" "$ROOT/pyproject.toml" | sha256sum; }

read_stamp() {
  local lines=()
  if [[ -r $STAMP ]]; then mapfile -t lines <"$STAMP"; fi
  MADE_AT=${lines[0]:-} MADE_FROM=${lines[1]:-} MADE_WITH=${lines[2]:-}
}

is_venv_current() {
  [[ -x $VENV/bin/python && -x $VENV/bin/stack ]] || return 1
  read_stamp
  [[ $MADE_AT == "$(venv_place)" && $MADE_FROM == "$(venv_lock)" && $MADE_WITH == "$VENV_GROUPS"* ]]
}

ensure_venv() {
  local lock
  if is_venv_current; then return 0; fi
  exec {lock}<"$ROOT/scripts" # two first runs at once: the second waits, then finds the work done
  flock "$lock"
  if ! is_venv_current; then install_venv; fi
  exec {lock}<&-
}

install_venv() {
  local requirements
  if [[ -d $VENV && ! -w $VENV ]]; then
    die "$VENV belongs to another user" "remove it (\`sudo rm -rf $(quote_word "$VENV")\`); this script asks for root itself where it needs it" 3
  fi
  read_stamp
  if [[ $MADE_WITH == "build dev" ]]; then VENV_GROUPS="build dev"; fi
  if [[ -n $MADE_AT && $MADE_AT != "$(venv_place)" ]]; then rm -rf "$VENV"; fi # moved, or another Python since
  make_venv
  rm -f "$STAMP"
  requirements=$(mktemp)
  say "Installing the locked Python packages into $VENV …"
  uv_from_lock >"$requirements"
  run_pip --require-hashes --no-deps --requirement "$requirements"
  export_lock >"$requirements"
  run_pip --require-hashes --no-deps --requirement "$requirements"
  run_pip --no-deps --no-build-isolation --editable "$ROOT"
  rm -f "$requirements"
  printf '%s\n' "$(venv_place)" "$(venv_lock)" "$VENV_GROUPS" >"$STAMP"
}

make_venv() {
  local python
  if "$VENV/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then return 0; fi
  python=$(find_python) || die "no Python 3.11 or newer with venv here" "run scripts/host-setup" 3
  rm -rf "$VENV"
  "$python" -m venv "$VENV"
}

# uv's own entry of the lock, as a pip requirement (its source would want a Rust compiler): uv reads the rest.
uv_from_lock() {
  awk '/^\[\[package\]\]/ { in_uv = 0 }
    /^name = "uv"$/ { in_uv = 1 }
    in_uv && /^version = / { gsub(/"/, "", $3); printf "uv==%s", $3 }
    in_uv && /\.whl"/ && match($0, /sha256:[0-9a-f]+/) { printf " --hash=%s", substr($0, RSTART, RLENGTH) }
    END { print "" }' "$ROOT/uv.lock"
}

export_lock() {
  local group groups=()
  for group in $VENV_GROUPS; do groups+=(--group "$group"); done
  "$VENV/bin/uv" export --project "$ROOT" --python "$VENV/bin/python" --quiet --offline --frozen --no-config \
    --no-header --no-annotate --no-emit-project --no-default-groups "${groups[@]}"
}

# A machine's `user = true` would install beside .venv; SSL_CERT_FILE is not heard by every version of pip.
run_pip() {
  local certificate=${PIP_CERT:-${SSL_CERT_FILE:-}}
  env PIP_USER=0 ${certificate:+"PIP_CERT=$certificate"} PIP_DISABLE_PIP_VERSION_CHECK=1 \
    "$VENV/bin/python" -m pip install --quiet "$@" >&2 ||
    die "the Python packages could not be installed" \
      "pip's words are above; if the package index was not reached, set PIP_INDEX_URL, PIP_CERT or https_proxy, or use pip.conf" 3
}
