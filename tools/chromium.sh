#!/usr/bin/env bash
# Bring a Chromium for the browser tests, when there is none and this user may install one.
#
# Never fails: without a browser those tests are skipped, and say so.
set -u

for name in chromium chromium-browser google-chrome; do
  # A run, not only a lookup: Ubuntu's chromium-browser is a stub that asks for its snap.
  "$name" --version >/dev/null 2>&1 && exit 0
done

if [ "$(id -u)" = 0 ]; then
  as_root=()
elif sudo -n true 2>/dev/null; then
  as_root=(sudo -n)
else
  echo "no Chromium, and no right to install one: the browser tests will be skipped" >&2
  exit 0
fi

if [ -r /etc/os-release ] && grep -qi '^ID=ubuntu' /etc/os-release; then
  # Ubuntu packages Chromium as a snap only, which containers cannot run.
  [ -n "$("$(dirname "$0")/../.venv/bin/python" -m tools.chromium_path)" ] && exit 0
  echo "installing Chromium for the browser tests (playwright's own)"
  timeout 300 .venv/bin/playwright install --with-deps --only-shell chromium ||
    echo "that failed: the browser tests will be skipped" >&2
  exit 0
fi

if ! command -v apt-get >/dev/null; then
  echo "no Chromium, and no apt-get to install one: the browser tests will be skipped" >&2
  exit 0
fi

echo "installing Chromium for the browser tests (apt-get, about 400 MB on disk)"
log=$(mktemp)
if ! { "${as_root[@]}" apt-get update -qq &&
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq \
    --no-install-recommends chromium fonts-dejavu-core; } >"$log" 2>&1; then
  tail -n 5 "$log" >&2
  echo "that failed: the browser tests will be skipped" >&2
fi
rm -f "$log"
exit 0
