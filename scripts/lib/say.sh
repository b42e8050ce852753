# shellcheck shell=bash
# Messages. All of them go to stderr: stdout belongs to `stack` and to pytest.

say() { printf '%s\n' "$*" >&2; }

warn() { printf 'warning: %s\n' "$*" >&2; }

# die MESSAGE [HINT] [EXIT CODE]: 1 = a command failed, 2 = wrong usage, 3 = the host lacks something.
die() {
  printf 'error: %s\n' "$1" >&2
  if [[ -n ${2:-} ]]; then printf '\nhint: %s\n' "$2" >&2; fi
  exit "${3:-1}"
}

# As sh reads it back: bash's own printf %q may write $'…', which dash does not know.
quote_word() {
  local word=$1
  if [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]]; then
    printf '%s' "$word"
  else
    printf "'%s'" "${word//\'/\'\\\'\'}"
  fi
}

quote_words() {
  local separator="" word
  for word in "$@"; do
    printf '%s' "$separator"
    quote_word "$word"
    separator=" "
  done
}
