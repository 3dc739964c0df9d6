#!/usr/bin/env bash
# Makes the virtual environment from the lock files and installs the system packages that are missing.
#
#   deploy/setup.sh run     what `make demo` and `make up` need: Python packages, redis-server
#   deploy/setup.sh test    that, and what `make test` needs: development packages, chromium, promtool, strace, node
#
# A second call sees that nothing changed and returns at once. Environment: VENV (.venv), PYTHON (python3),
# TORCH_INDEX (an extra package index that serves CPU builds of torch), PIP_ARGS (anything else for pip).
set -euo pipefail
cd "$(dirname "$0")/.."
want=${1:-run}
venv=${VENV:-.venv}

say() { printf 'setup: %s\n' "$*"; }
stop() { printf 'setup: %s\n' "$*" >&2; exit 1; }

need_package() { # need_package COMMAND DEBIAN-PACKAGE
  command -v "$1" >/dev/null || install_package "$1" "$2"
}

need_library() { # need_library SONAME DEBIAN-PACKAGE
  ldconfig -p 2>/dev/null | grep -q "$1" || install_package "$1" "$2"
}

install_package() { # install_package WHAT-IS-MISSING DEBIAN-PACKAGE
  local as_root=""
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || stop "$1 is missing and I may not install it; run: sudo apt-get install $2"
    as_root=sudo
  fi
  command -v apt-get >/dev/null || stop "$1 is missing and there is no apt-get here; install $2 and try again"
  say "installing $2"
  # The package would start a server of its own on its default port; ours run on private ports only.
  local policy=/usr/sbin/policy-rc.d made=""
  if [ ! -e "$policy" ]; then printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null; $as_root chmod +x "$policy"; made=1; fi
  $as_root apt-get update -qq >/dev/null || true
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends "$2" >/dev/null 2>&1 || {
    [ -z "$made" ] || $as_root rm -f "$policy"
    stop "could not install $2; install it by hand and try again"
  }
  [ -z "$made" ] || $as_root rm -f "$policy"
}

install_lock() { # install_lock FILE [PIP-OPTION...]
  local lock=$1 stamp="$venv/.installed-$(basename "$1")"
  shift
  if [ -e "$stamp" ] && cmp -s "$lock" "$stamp"; then return; fi
  say "installing $(grep -c == "$lock") pinned packages from $lock"
  # shellcheck disable=SC2086  # PIP_ARGS is a list of words
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
    ${PIP_ARGS:-} "$@" -r "$lock" 2> >(grep -v '^WARNING: Location' >&2)
  cp "$lock" "$stamp"
}

install_node_lock() { # install_node_lock DIRECTORY
  local stamp="$1/node_modules/.installed"
  if [ -e "$stamp" ] && cmp -s "$1/package-lock.json" "$stamp"; then return; fi
  say "installing the packages of $1/package-lock.json"
  npm ci --prefix "$1" --no-audit --no-fund --loglevel=error >/dev/null
  cp "$1/package-lock.json" "$stamp"
}

"${PYTHON:-python3}" -c 'import ensurepip' 2>/dev/null || install_package "Python's venv" python3-venv
need_library libnuma.so.1 libnuma1 # vLLM's CPU kernels link to it
[ -x "$venv/bin/python" ] || { say "making $venv"; "${PYTHON:-python3}" -m venv "$venv"; }
install_lock requirements/cpu.txt
if [ ! -e "$venv/.checked" ]; then
  "$venv/bin/python" -c 'import torch' 2>/dev/null || stop \
    "torch does not import: your index served a CUDA build. Run again with TORCH_INDEX=<PyTorch's index of CPU wheels> after: rm -r $venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . 2> >(grep -v '^WARNING: Location' >&2)
  touch "$venv/.checked"
fi
need_package redis-server redis-server
if [ "$want" = test ]; then
  install_lock requirements/dev.txt
  for lock in benchmarks/peers/shared.txt benchmarks/peers/trl-*.txt; do # apart from the environment: two versions of one package, for comparison only
    install_lock "$lock" --upgrade --target "$venv/peers/$(basename "$lock" .txt)"
  done
  need_package chromium chromium
  need_package promtool prometheus
  need_package strace strace
  need_package node nodejs
  need_package npm npm
  install_node_lock tests/serve/clients/node
fi
