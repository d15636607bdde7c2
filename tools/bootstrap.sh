#!/usr/bin/env bash
# Make a virtual environment with uv in it: tools/bootstrap.sh FOLDER
#
# Asks for nothing but a Python of 3.11 or newer with its venv module. $PYTHON chooses another
# interpreter. Safe to repeat: what is already there is left alone.
set -euo pipefail

venv=${1:?usage: tools/bootstrap.sh FOLDER}

new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if new_enough "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  local found
  found=$("${PYTHON:-python3}" --version 2>&1) || found="no ${PYTHON:-python3} on PATH"
  echo "Parallax needs Python 3.11 or newer; found: $found." >&2
  echo "Install one (Debian 12, Ubuntu 24.04: apt-get install python3 python3-venv)" >&2
  echo "or name it: make PYTHON=/path/to/python3.12 ..." >&2
  return 1
}

[ -x "$venv/bin/uv" ] && exit

# A folder without pip is what an interrupted attempt left.
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  python=$(find_python)
  if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "$python has no venv module. On Debian and Ubuntu: apt-get install python$version-venv" >&2
    exit 1
  fi
  echo "creating $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv"
fi

"$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
