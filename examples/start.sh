#!/usr/bin/env bash
# Starts an example: its backend, and the gateway with the example's gateway.toml. Ctrl-C ends both.
#
#   examples/start.sh dashboard            installs what the backend needs beside it, then starts
#   examples/start.sh --install dashboard  installs only
#
# PAGE_PORT (3000), GATEWAY_PORT (8080) and ADMIN_PORT (8081) move the three ports. TIDEGATE names
# a built gateway; without it cargo builds one.
#
# What an example gives: gateway.toml with an api of the example's name and a stage `live`; a
# backend, by package.json (`npm start`) or by requirements.txt (`python -m backend`), which listens
# on 127.0.0.1:$PAGE_PORT, calls the gateway at http://127.0.0.1:$GATEWAY_PORT/live and answers
# GET /healthz once it can serve. It reads both ports from its environment. Where there is
# install.sh, it installs what else is needed, after .venv is made; .venv/bin is in the PATH of
# both. Where there is gateway.args, its lines are further arguments of `tidegate run`; $PAGE_PORT,
# $GATEWAY_PORT and $SCRATCH (a folder that goes with the run) are replaced in them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

give_up() {
  printf 'start.sh: %s\n' "$*" >&2
  exit 64
}
examples() { find . -mindepth 2 -maxdepth 2 \( -name package.json -o -name requirements.txt \) -printf '%h\n' | sed 's|^./||' | sort -u | tr '\n' ' '; }

only_install=
if [ "${1-}" = --install ]; then
  only_install=yes
  shift
fi
[ $# -eq 1 ] || give_up "say which example: $(examples)"
example=${1%/}
[ -e "$example/package.json" ] || [ -e "$example/requirements.txt" ] || give_up "there is no example $example; there are: $(examples)"

# What was installed, from which lists: installed again only when one of them changes.
lists=("$example"/{,functions/*/}package-lock.json "$example"/requirements.txt "$example"/install.sh)
for list in "${!lists[@]}"; do [ -e "${lists[list]}" ] || unset "lists[list]"; done
wanted=$(cat "${lists[@]}" | sha256sum)
if [ "$(cat "$example/.installed" 2>/dev/null)" != "$wanted" ]; then
  if [ -e "$example/package-lock.json" ]; then
    npm --prefix "$example" ci --no-audit --no-fund --loglevel=error --ignore-scripts >&2
  fi
  if [ -e "$example/requirements.txt" ]; then
    rm -rf "$example/.venv"
    python3 -m venv "$example/.venv"
    "$example/.venv/bin/pip" install -q --disable-pip-version-check -r "$example/requirements.txt" >&2
  fi
  if [ -e "$example/install.sh" ]; then "$example/install.sh"; fi
  printf '%s\n' "$wanted" >"$example/.installed"
fi
[ -z "$only_install" ] || exit 0

if [ -z "${TIDEGATE-}" ]; then
  cargo build --release --quiet -p tidegate >&2
  TIDEGATE=$(cd .. && pwd)/target/release/tidegate
fi
export PAGE_PORT=${PAGE_PORT:-3000} GATEWAY_PORT=${GATEWAY_PORT:-8080} ADMIN_PORT=${ADMIN_PORT:-8081}
SCRATCH=
if grep -qs '[$]SCRATCH' "$example/gateway.args"; then SCRATCH=$(mktemp -d); fi
if [ -e "$example/.venv" ]; then export PATH="$PWD/$example/.venv/bin:$PATH"; fi

children=()
# shellcheck disable=SC2329 # the trap calls it
end() {
  trap - EXIT
  trap '' INT TERM # a second one is for those who have not ended yet
  kill "${children[@]}" 2>/dev/null || true
  wait
  rm -rf "$SCRATCH"
}
trap end EXIT
trap 'end; exit 0' INT TERM

if [ -e "$example/package.json" ]; then
  (cd "$example" && exec node --disable-warning=ExperimentalWarning .) &
else
  (cd "$example" && exec .venv/bin/python -m backend) &
fi
children+=($!)

# answers PORT PATH: whether 2xx is answered there. In the shell itself: a machine may lack curl.
answers() {
  local status
  exec 3<>"/dev/tcp/127.0.0.1/$1" || return
  printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$2" >&3
  read -r _ status _ <&3
  [[ $status == 2* ]]
}

# comes_up PORT PATH: waits until it is answered there, or until something that was started has ended.
comes_up() {
  for _ in $(seq 600); do
    if answers "$1" "$2" 2>/dev/null; then return; fi
    for child in "${children[@]}"; do
      kill -0 "$child" 2>/dev/null || give_up "the backend or the gateway has ended; what it said is above"
    done
    sleep 0.1
  done
  give_up "nothing answers on port $1"
}

variables=()
# Only where the example's stage has a backend to call by address.
if grep -q '^variables = .*backend' "$example/gateway.toml"; then
  variables=(--set "apis.$example.stages.live.variables.backend=\"127.0.0.1:$PAGE_PORT\"")
fi
if [ -e "$example/gateway.args" ]; then
  while IFS= read -r line; do
    line=${line//\$PAGE_PORT/$PAGE_PORT} line=${line//\$GATEWAY_PORT/$GATEWAY_PORT}
    variables+=("${line//\$SCRATCH/$SCRATCH}")
  done <"$example/gateway.args"
fi
# First the backend: the gateway may ask it for something when it starts.
comes_up "$PAGE_PORT" /healthz
"$TIDEGATE" run "$example/gateway.toml" \
  --set "listen.address=\"127.0.0.1:$GATEWAY_PORT\"" \
  --set "admin.address=\"127.0.0.1:$ADMIN_PORT\"" "${variables[@]}" &
children+=($!)
comes_up "$ADMIN_PORT" /health/ready
printf '\n  The example is at   http://127.0.0.1:%s\n  The gateway is at   ws://127.0.0.1:%s/live\n\n  Ctrl-C ends both.\n\n' "$PAGE_PORT" "$GATEWAY_PORT"

# Whichever ends first, ends the other.
wait -n "${children[@]}" || true
give_up "the backend or the gateway has ended; what it said is above"
