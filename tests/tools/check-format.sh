#!/bin/sh
# check-format.sh - what `make format` would change is an error.
set -eu
cd "$(dirname "$0")/../.."
git ls-files '*.c' '*.h' | grep -v sizeclass_tab.h | xargs clang-format --dry-run -Werror && echo "format: ok"
