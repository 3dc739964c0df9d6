#!/usr/bin/env bash
# Makes the virtual environment of the LiteLLM proxy that `make bench-serve` compares with: var/peers/litellm.
#
# A second call sees that nothing changed and returns at once. Environment: PYTHON (python3), PIP_ARGS (words for pip).
set -euo pipefail
cd "$(dirname "$0")/../.."
lock=benchmarks/peers/litellm.txt
venv=var/peers/litellm
if cmp -s "$lock" "$venv/.installed"; then exit 0; fi
echo "setup: installing $(grep -c == "$lock") pinned packages into $venv"
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
# shellcheck disable=SC2086  # PIP_ARGS is a list of words
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps ${PIP_ARGS:-} -r "$lock" \
  2> >(grep -v '^WARNING: Location' >&2)
cp "$lock" "$venv/.installed"
