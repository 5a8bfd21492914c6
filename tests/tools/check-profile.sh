#!/bin/sh
# check-profile.sh TEST_PROFILE - the profile that gc_profile_write writes is one for other readers too: Python's gzip with a
# reader of profile.proto written from its description and, where Go is installed, `go tool pprof` itself.
set -eu
cd "$(dirname "$0")/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$1" write "$scratch/profile.pb.gz"
python3 tests/tools/read_profile.py "$scratch/profile.pb.gz"
if command -v go >/dev/null 2>&1; then
  export HOME="$scratch" PPROF_TMPDIR="$scratch" GOCACHE="$scratch/cache"
  go tool pprof -top -sample_index=pinned_space "$scratch/profile.pb.gz" >"$scratch/top"
  awk '/^ *flat/ { rows = 1; next } rows { print $NF; exit }' "$scratch/top" | grep -qx f_pins ||
    { echo "go tool pprof does not have f_pins first:"; cat "$scratch/top"; exit 1; }
  go tool pprof -top -sample_index=alloc_objects "$scratch/profile.pb.gz" | grep -q 'f_dies$'
  go tool pprof -raw "$scratch/profile.pb.gz" >/dev/null
  echo "go tool pprof: ok"
else
  echo "go tool pprof: not here, not checked"
fi
