#!/usr/bin/env bash
# Bring a Chromium for the browser tests, when there is none and this user may install one.
#
# Never fails: without a browser those tests are skipped, and say so.
set -u
cd "$(dirname "$0")/.."

.venv/bin/python -m tools.browser >/dev/null && exit 0

without() {
  echo "$1: the browser tests will be skipped" >&2
  exit 0
}

as_root=()
if [ "$(id -u)" != 0 ]; then
  sudo -n true 2>/dev/null || without "no Chromium, and no right to install one"
  as_root=(sudo -n)
fi
command -v apt-get >/dev/null || without "no Chromium, and no apt-get to install one"

install() {
  if grep -qi '^ID=ubuntu' /etc/os-release; then
    # Ubuntu packages Chromium as a snap alone, which containers cannot run.
    timeout 300 .venv/bin/playwright install --with-deps chromium
  else
    "${as_root[@]}" apt-get update -qq &&
      "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends chromium fonts-dejavu-core
  fi
}

echo "installing Chromium for the browser tests (about 400 MB on disk)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! install >"$log" 2>&1; then
  tail -n 5 "$log" >&2
  without "Chromium could not be installed"
fi
