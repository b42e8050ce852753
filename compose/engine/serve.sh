#!/bin/sh
# Starts `vllm serve` with the arguments given, in any image that has it.
#
# - The API key comes from a secret file: in argv or in Compose's environment `docker inspect` would show it.
# - Upstream's test images set VLLM_GPU_SYNC_CHECK=error, which makes a served model fail.
# - The exit status is never 0: Docker brings an `on-failure` container back after a reboot only then.
# - Open files go up to the daemon's hard limit: asking Compose for a number fails where the limit is lower.
set -u
ulimit -S -n "$(ulimit -H -n)" 2>/dev/null || true
unset VLLM_GPU_SYNC_CHECK
if [ -e /run/secrets/api_key ]; then
    # A key that cannot be read must not become an engine without one.
    VLLM_API_KEY=$(cat /run/secrets/api_key) && [ -n "$VLLM_API_KEY" ] || {
        echo "serve.sh: error: /run/secrets/api_key cannot be read by uid $(id -u), or is empty" >&2
        exit 1
    }
    export VLLM_API_KEY
fi
vllm serve "$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null' TERM INT
status=0
wait "$child" || status=$?
# A trapped signal ends `wait` early: wait again for the engine itself.
while kill -0 "$child" 2>/dev/null; do
    status=0
    wait "$child" || status=$?
done
[ "$status" -ne 0 ] || status=143
exit "$status"
