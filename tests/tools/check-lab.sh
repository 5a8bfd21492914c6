#!/bin/sh
# check-lab.sh - the laboratory's tool and the scenario programs: bad input (unknown scenarios, options and allocators, sizes that
# cannot be, output that cannot be written) gives one clear line and the right status; a missing gnuplot costs the plots only, a
# broken one too, missing Go its programs, a missing make nothing that is built; the small report has every figure and nothing
# unescaped, and in Chromium its script runs without an error.
# Chromium is used when it is there and never installed. Writes under build/lab-check only.
set -u
cd "$(dirname "$0")/../.."
lab=experiments/holdfast-lab
out=build/lab-check
objdir=build/release
rm -rf "$out"
mkdir -p "$out/fake/scenarios"
bad=0
fault() { echo "check-lab: $*"; bad=1; }

refuses() { # refuses STATUS WORDS ARGUMENT...: that status, and one line on stderr that has the words
  want=$1
  words=$2
  shift 2
  timeout 120 $lab "$@" >"$out/stdout" 2>"$out/stderr"
  got=$?
  [ "$got" = "$want" ] || fault "'$*' ended with $got, not $want"
  [ "$(wc -l <"$out/stderr")" = 1 ] || fault "'$*' printed other than one line: $(head -n 3 "$out/stderr")"
  grep -q -- "$words" "$out/stderr" || fault "'$*' did not say '$words' but: $(head -n 1 "$out/stderr")"
}

program_refuses() { # program_refuses WORDS PROGRAM ARGUMENT...: status 2, and one line on stderr that has the words
  words=$1
  shift
  timeout 60 "$@" >"$out/stdout" 2>"$out/stderr" </dev/null
  got=$?
  [ "$got" = 2 ] || fault "'$*' ended with $got, not 2"
  [ "$(wc -l <"$out/stderr")" = 1 ] || fault "'$*' printed other than one line: $(head -n 3 "$out/stderr")"
  grep -q -- "$words" "$out/stderr" || fault "'$*' did not say '$words' but: $(head -n 1 "$out/stderr")"
}

make -s "$objdir/lab/mapdemo" scenarios example-programs >"$out/make.log" 2>&1 || { cat "$out/make.log"; exit 1; }

# ---- bad input ----
refuses 2 "arguments are required"
refuses 2 "invalid choice" nosuch
refuses 2 "unknown scenario 'nosuch'" run nosuch
refuses 2 "unknown scenario '../tsdb'" run ../tsdb
refuses 2 "unknown scenario 'nosuch'" compare nosuch
refuses 2 "unknown scenario 'nosuch'" report --only nosuch --out "$out/none"
refuses 2 "no program for allocator 'nosuch'" run tsdb --allocator nosuch
refuses 2 "no program for allocator 'nosuch'" report --allocator nosuch --out "$out/none"
refuses 2 "unknown scenario 'nosuch'" range nosuch
refuses 2 "no parameters of 'steps'" range steps
refuses 2 "not a whole number" run tsdb --seed banana
refuses 2 "not a whole number" run tsdb --seed=-1
refuses 2 "not a whole number" run tsdb --seed 18446744073709551616
refuses 2 "not a number of programs" report --jobs 0
refuses 2 "not a number of seconds" run tsdb --timeout 0
refuses 2 "not a number of seconds" run tsdb --timeout nan
refuses 2 "cannot be written" run tsdb --small --csv "$out/no/such/folder.csv"
refuses 2 "cannot be written" compare tsdb --small --csv "$out"
refuses 2 "cannot be written" report --small --out "$out/stdout/below"
refuses 2 "No such file" map "$out/nosuch.map"
refuses 2 "not a heap map" map Makefile
refuses 2 "width 3" map Makefile --width 3
refuses 2 "rows 0" map Makefile --rows 0
mkdir -p "$out/taken/index.html" "$out/taken2/data/scenarios.csv"
refuses 2 "cannot be written: it is a directory" report --small --out "$out/taken"
refuses 2 "cannot be written: it is a directory" report --small --out "$out/taken2"
timeout 120 $lab run tiny --small --allocator holdfast --csv /dev/full >"$out/stdout" 2>"$out/stderr"
[ $? = 2 ] && [ "$(grep -c "/dev/full: cannot be written: No space left" "$out/stderr")" = 1 ] || fault "a CSV on a full device: $(cat "$out/stderr")"
$lab list >/dev/full 2>"$out/stderr" && fault "list to a full device ended well"
[ "$(wc -l <"$out/stderr")" = 1 ] || fault "a full device: $(head -n 3 "$out/stderr")"

# The programs themselves, on each allocator.
for program in "$objdir"/scenarios/*-*; do
  case $program in *.csv | */go-cache) continue ;; esac
  program_refuses "" "$program" --nosuch
  program_refuses "" "$program" extra
  program_refuses "" "$program" --seed
  program_refuses "" "$program" --seed 18446744073709551616
  program_refuses "" "$program" --seed -1
  program_refuses "/no/such/folder.csv" "$program" --csv /no/such/folder.csv
  program_refuses "$out" "$program" --small --json "$out"
done

# Sizes that cannot be.
histogram() { # histogram WORDS TEXT
  printf '%b' "$2" >"$out/histogram"
  for program in "$objdir"/scenarios/tiny-*; do
    case $program in *.csv) continue ;; esac
    program_refuses "$1" "$program" --small --histogram "$out/histogram"
  done
}
histogram "line 2: the size is not between 1 and 64 MiB" '8 1\n0 5\n'
histogram "line 1: the size is not between 1 and 64 MiB" '67108865 1\n'
histogram "line 1: not two whole numbers" '18446744073709551616 1\n'
histogram "line 1: not two whole numbers" '-1 3\n'
histogram "line 1: not two whole numbers" '1.5 3\n'
histogram "line 3: the count is 0" '# sizes\n16 5\n5 0\n'
histogram "line 1: more than 2^60 bytes" '67108864 99999999999999\n'
histogram "no line with a size" '# nothing\n\n'
for program in "$objdir"/scenarios/tiny-*; do
  case $program in *.csv) continue ;; esac
  program_refuses "--histogram" "$program" --small --histogram "$out/nosuch"
  program_refuses "--histogram" "$program" --small --histogram "$out"
done
for program in "$objdir"/scenarios/tsdb-holdfast "$objdir"/scenarios/service-holdfast; do
  for model in "" series requests= =5 nosuch=1 series=1.5,limit=1.5 scale=5,limit=5 series=-1,requests=0 series=99999999999,limit=99999999999 \
    capacity=128, limit=100,; do
    program_refuses "--model $model" "$program" --small --model "$model"
  done
done
program_refuses "usage: mapdemo" "$objdir/lab/mapdemo" --small
"$objdir/lab/mapdemo" --small "$out/nosuch" 2>"$out/stderr" >/dev/null && fault "mapdemo wrote into no folder"
[ "$(wc -l <"$out/stderr")" = 1 ] || fault "mapdemo: $(head -n 3 "$out/stderr")"

# ---- heap maps ----
"$objdir/lab/mapdemo" --small "$out" >/dev/null || fault "mapdemo"
head -c 2000 "$out/before.map" >"$out/half.map"
refuses 2 "cut short" map "$out/half.map"
$lab map "$out/before.map" >"$out/map.txt" || fault "map"
grep -q "257 spans" "$out/map.txt" || fault "map: not the 256 spans of mapdemo and one for its pointers"
grep -q "2.00 *256 *256 *fragment+0x" "$out/map.txt" || fault "map: does not say who pins the 256 spans"
escape=$(printf '\033')
grep -q "$escape" "$out/map.txt" && fault "map: colours in a file"
LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $lab map "$out/after.map" >"$out/map.txt" || fault "map in ASCII"
if command -v script >/dev/null 2>&1; then
  env -u NO_COLOR TERM=xterm script -qec "$lab map $out/before.map" /dev/null </dev/null | grep -q "$escape" || fault "map: no colours on a terminal"
  NO_COLOR=1 TERM=xterm script -qec "$lab map $out/before.map" /dev/null </dev/null | grep -q "$escape" && fault "map: colours despite NO_COLOR"
fi

# ---- programs that misbehave, and texts that must be escaped ----
cat >"$out/fake/scenarios/fake-holdfast" <<'FAKE'
#!/bin/sh
[ "$1" = --json ] || exit 2
text='<script>alert(1)</script>&'
row="\"scenario\":\"fake\",\"allocator\":\"holdfast\",\"live_bytes\":1,\"heap_alloc\":1,\"heap_inuse\":2,\"heap_usage\":2,\"resident\":3,\"fragmentation\":1"
case "$(cat "$(dirname "$0")/mode")" in
  dies) kill -SEGV $$ ;;
  silent) exit 0 ;;
  garbage) echo '{"scenario":' >"$2" ;;
  infinite) echo "{\"scenario\":\"fake\",\"question\":\"\",\"workload\":\"\",\"metric\":\"\",\"finding\":{\"text\":\"\",\"holds\":true},\"rows\":[{$row,\"t\":1e999}]}" >"$2" ;;
  slow) exec sleep 30 ;;
  *) echo "{\"scenario\":\"fake\",\"question\":\"$text\",\"workload\":\"$text\",\"metric\":\"$text\",\"finding\":{\"text\":\"$text\",\"holds\":false,\"differs\":\"$text\"},\"rows\":[{$row,\"variant\":\"$text'\`id\`\",\"t\":1,\"extra\":\"$text=$text\"}]}" >"$2"
     exit 1 ;;
esac
FAKE
chmod +x "$out/fake/scenarios/fake-holdfast"
misbehaves() { # misbehaves MODE WORDS
  echo "$1" >"$out/fake/scenarios/mode"
  refuses 1 "$2" --objdir "$out/fake" run fake --timeout 2
}
misbehaves dies "signal 11"
misbehaves silent "wrote no JSON"
misbehaves garbage "cannot be read"
misbehaves infinite "'t' is not finite"
misbehaves slow "stopped after 2 s"
misbehaves differs "NOT reproduced"
$lab --objdir "$out/fake" report --only fake --out "$out/escaped" >/dev/null 2>"$out/stderr"
[ $? = 1 ] || fault "a report with a finding that is not reproduced did not end with 1"
grep "refused" "$out/stderr" && fault "gnuplot stumbles over a text"
grep -q "&lt;script&gt;alert" "$out/escaped/index.html" || fault "the report lost a text"
grep -q "<script>alert" "$out/escaped/index.html" && fault "the report has a text unescaped"

# ---- without gnuplot ----
mkdir "$out/bin"
echo "$PATH" | tr : '\n' | while read -r folder; do ln -s "$folder"/* "$out/bin/" 2>/dev/null; done
rm -f "$out/bin/gnuplot"*
PATH=$PWD/$out/bin timeout 120 $lab report --small --only mitigations --out "$out/bare" >"$out/stdout" 2>"$out/stderr" || fault "the report without gnuplot ended with $?"
[ "$(grep -c "gnuplot is not installed" "$out/stderr")" = 1 ] || fault "no line says that gnuplot is missing"
python3 tests/tools/check-page.py "$out/bare/index.html" mitigations || fault "the report without gnuplot"

# One that cannot draw.
printf '#!/bin/sh\necho "gnuplot: no terminal" >&2\nexit 1\n' >"$out/bin/gnuplot"
chmod +x "$out/bin/gnuplot"
PATH=$PWD/$out/bin timeout 120 $lab report --small --only mitigations --allocator holdfast --out "$out/bare" >"$out/stdout" 2>"$out/stderr" || fault "the report with a broken gnuplot ended with $?"
grep -q "no terminal" "$out/stderr" || fault "no line says that gnuplot is broken: $(cat "$out/stderr")"
python3 tests/tools/check-page.py "$out/bare/index.html" mitigations || fault "the report with a broken gnuplot"

# ---- without Go: as if its programs had never been built ----
mkdir -p "$out/nogo/scenarios"
ln -s "$PWD/$objdir/lab" "$PWD/$objdir/examples" "$out/nogo/"
for program in "$objdir"/scenarios/*-*; do
  case $program in *-go | */go-cache) continue ;; esac
  ln -s "$PWD/$program" "$out/nogo/scenarios/"
done
rm -f "$out/bin/go" "$out/bin/gnuplot"
no_go() { PATH=$PWD/$out/bin timeout 120 $lab --objdir "$out/nogo" "$@" >"$out/stdout" 2>"$out/stderr"; }
no_go run tiny --small --allocator go && fault "tiny on Go without Go ended well"
[ "$(wc -l <"$out/stderr")" = 1 ] && grep -q "no program for allocator 'go'; there are: holdfast" "$out/stderr" || fault "without Go: $(cat "$out/stderr")"
no_go run tiny --small --allocator holdfast || fault "tiny without Go ended with $?"
no_go report --small --only tiny --out "$out/gone" || fault "the report without Go ended with $?: $(cat "$out/stderr")"
[ "$(grep -c "left out because not installed:.* go" "$out/stderr")" = 1 ] || fault "no line says that Go is missing: $(cat "$out/stderr")"
grep -q "left out because not installed:.* go" "$out/gone/index.html" || fault "the page does not say that Go is missing"
python3 tests/tools/check-page.py "$out/gone/index.html" tiny || fault "the report without Go"

# ---- without make: what is built runs ----
rm -f "$out/bin/make"
PATH=$PWD/$out/bin timeout 120 $lab report --small --only mitigations --allocator holdfast --out "$out/bare" >"$out/stdout" 2>"$out/stderr" || fault "the report without make ended with $?"
grep -q "cannot run make" "$out/stderr" || fault "no line says that make is missing"
python3 tests/tools/check-page.py "$out/bare/index.html" mitigations || fault "the report without make"

# ---- the small report ----
names=$($lab list | sed -n 's/^\([a-z0-9_]\{1,\}\) .*/\1/p')
[ "$(echo "$names" | wc -w)" -ge 4 ] || fault "list: scenarios are missing: $names"
$lab list | grep -q "its question is told" && fault "list: a scenario without its question"
# Two allocators, so that it stays short.
timeout 240 $lab report --small --jobs 2 --allocator holdfast --allocator jemalloc --out "$out/report" >"$out/stdout" 2>"$out/stderr" || { fault "report"; cat "$out/stderr"; }
plots=
if command -v gnuplot >/dev/null 2>&1; then plots=--plots; else echo "check-lab: no gnuplot: plots not checked"; fi
# shellcheck disable=SC2086
python3 tests/tools/check-page.py $plots "$out/report/index.html" $names || fault "the report's page"
head -n 1 "$out/report/data/scenarios.csv" | grep -q "^scenario,allocator,variant,t,live_bytes," || fault "the report's CSV"

# ---- in a browser ----
if command -v chromium >/dev/null 2>&1; then
  timeout 60 chromium --headless --no-sandbox --disable-gpu --user-data-dir="$out/profile" --enable-logging=stderr \
    --dump-dom "file://$PWD/$out/report/index.html" >"$out/dom.html" 2>"$out/chromium.log" || fault "chromium ended with $?"
  grep ":CONSOLE" "$out/chromium.log" && fault "the page's script complains"
  # shellcheck disable=SC2086
  python3 tests/tools/check-page.py $plots --ran "$out/dom.html" $names || fault "the page in a browser"
else
  echo "check-lab: no chromium: the page in a browser: skipped"
fi
rm -rf "$out/profile" "$out/bin"
[ "$bad" = 0 ] && echo "lab: ok"
exit "$bad"
