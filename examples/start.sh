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
# GET /healthz once it can serve. It reads both ports from its environment.
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
lists=("$example"/package-lock.json "$example"/requirements.txt)
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
  printf '%s\n' "$wanted" >"$example/.installed"
fi
[ -z "$only_install" ] || exit 0

if [ -z "${TIDEGATE-}" ]; then
  cargo build --release --quiet -p tidegate >&2
  TIDEGATE=$(cd .. && pwd)/target/release/tidegate
fi
export PAGE_PORT=${PAGE_PORT:-3000} GATEWAY_PORT=${GATEWAY_PORT:-8080} ADMIN_PORT=${ADMIN_PORT:-8081}

children=()
# shellcheck disable=SC2329 # the trap calls it
end() {
  trap - EXIT INT TERM
  kill "${children[@]}" 2>/dev/null || true
  wait
}
trap end EXIT
trap 'end; exit 0' INT TERM

if [ -e "$example/package.json" ]; then
  (cd "$example" && exec node --disable-warning=ExperimentalWarning .) &
else
  (cd "$example" && exec .venv/bin/python -m backend) &
fi
children+=($!)

variables=()
# Only where the example's stage has a backend to call by address.
if grep -q '^variables = .*backend' "$example/gateway.toml"; then
  variables=(--set "apis.$example.stages.live.variables.backend=\"127.0.0.1:$PAGE_PORT\"")
fi
"$TIDEGATE" run "$example/gateway.toml" \
  --set "listen.address=\"127.0.0.1:$GATEWAY_PORT\"" \
  --set "admin.address=\"127.0.0.1:$ADMIN_PORT\"" "${variables[@]}" &
children+=($!)

# answers PORT PATH: whether 200 is answered there. In the shell itself: a machine may lack curl.
answers() {
  local status
  exec 3<>"/dev/tcp/127.0.0.1/$1" || return
  printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$2" >&3
  read -r _ status _ <&3
  [ "$status" = 200 ]
}

# Whichever ends first, ends the other.
(
  for _ in $(seq 300); do
    if { answers "$PAGE_PORT" /healthz && answers "$ADMIN_PORT" /health/ready; } 2>/dev/null; then
      printf '\n  The example is at   http://127.0.0.1:%s\n  The gateway is at   ws://127.0.0.1:%s/live\n\n  Ctrl-C ends both.\n\n' "$PAGE_PORT" "$GATEWAY_PORT"
      exit
    fi
    sleep 0.1
  done
) &
wait -n "${children[@]}" || true
give_up "the backend or the gateway has ended; what it said is above"
