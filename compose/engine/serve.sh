#!/bin/sh
# Starts `vllm serve` with the arguments given, in any image that has it.
#
# - The API key comes from a secret file: in argv or in Compose's environment `docker inspect` would show it.
# - Upstream's test images set VLLM_GPU_SYNC_CHECK=error, which makes a served model fail.
# - Open files go up to the daemon's hard limit: asking Compose for a number fails where the limit is lower.
# - The exit status decides what Docker does with an `on-failure` container, after a crash and at the next start
#   of the machine alike: any but 0 brings it back. So an engine that is asked to stop, as at a shutdown, ends
#   with 143, and only a crash loop ends with 0.
# - The loop is counted here, because Docker's own limit (`on-failure:3`) counts over a container's whole life: an
#   engine that crashed three times in a month would stay away after the next reboot. What counts is
#   crashes in a row, with no stretch of STACK_SETTLED_SECONDS of service between them.
set -u
ulimit -S -n "$(ulimit -H -n)" 2>/dev/null || true
unset VLLM_GPU_SYNC_CHECK

most_restarts=3
crashes_file=/cache/.crashes
settled_file=/tmp/stack-settled
container=
read -r container </etc/hostname || true

# Ends after a crash: with the status given while Docker shall try again, with 0 when it shall not.
end_crashed() {
    [ -e "$settled_file" ] && exit "$1"
    whose='' crashes=0
    { read -r whose crashes <"$crashes_file"; } 2>/dev/null || true
    # Another container is another configuration: its crashes are not ours.
    [ "$whose" = "$container" ] || crashes=0
    case $crashes in '' | *[!0-9]*) crashes=0 ;; esac
    crashes=$((crashes + 1))
    if [ "$crashes" -gt "$most_restarts" ]; then
        rm -f "$crashes_file"
        echo "serve.sh: error: the engine ended $crashes times in a row, the last time with status $1; giving up" >&2
        exit 0
    fi
    if ! { echo "$container $crashes" >"$crashes_file"; } 2>/dev/null; then
        echo "serve.sh: error: the engine ended with status $1, and $crashes_file cannot be written; giving up" >&2
        exit 0
    fi
    exit "$1"
}

if [ -e /run/secrets/api_key ]; then
    # A key that cannot be read must not become an engine without one.
    VLLM_API_KEY=$(cat /run/secrets/api_key) && [ -n "$VLLM_API_KEY" ] || {
        echo "serve.sh: error: /run/secrets/api_key cannot be read by uid $(id -u), or is empty" >&2
        end_crashed 1
    }
    export VLLM_API_KEY
fi

stopping=
vllm serve "$@" &
child=$!
trap 'stopping=1; kill -TERM "$child" 2>/dev/null' TERM INT
{
    until curl --fail --silent --max-time 4 http://127.0.0.1:8000/health; do sleep 5; done
    sleep "${STACK_SETTLED_SECONDS:-600}"
    rm -f "$crashes_file"
    : >"$settled_file"
} >/dev/null 2>&1 &
status=0
wait "$child" || status=$?
# A trapped signal ends `wait` early: wait again for the engine itself.
while kill -0 "$child" 2>/dev/null; do
    status=0
    wait "$child" || status=$?
done
[ "$status" -ne 0 ] || status=143
[ -n "$stopping" ] || end_crashed "$status"
exit "$status"
