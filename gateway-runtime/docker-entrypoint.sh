#!/bin/sh
# What tini starts: the supervisor of all processes of a node, with the build that is in the image. Options are those of
# `gatewright run`; --py.*, --pe.* and --envoy.* reach the executors, the policy engine and Envoy. A build without
# Python policies starts no executor. Anything that is no option is run instead: `docker run IMAGE gatewright version`.
set -eu

case "${1:---}" in
-*) ;;
*) exec "$@" ;;
esac

# The management API asks for a token always; others can reach it where the operator knows that token.
if [ -n "${GATEWRIGHT_CONTROLLER_TOKEN_FILE:-}${GATEWRIGHT_CONTROLLER_TOKEN:-}" ]; then
    management_host=0.0.0.0
else
    management_host=127.0.0.1
fi

# `docker stop` kills after ten seconds: an orderly stop has to be shorter.
exec gatewright run --build /app/build --log-format json --host 0.0.0.0 --controller-host "$management_host" --drain-seconds 7 \
    --state-dir /var/lib/gatewright --run-dir "$GATEWRIGHT_RUN_DIR" --log-format json "$@"
