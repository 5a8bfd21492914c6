#!/usr/bin/env python3
"""bench.py - the clients of the table (clients.py) measured on Debian's libgc.so.1 and on ours: medians and ratios.

Runs are interleaved, theirs, ours, theirs, ours, so that what slows the machine for a while slows both. Of a work's commands one, mostly
the last, is measured; those before prepare it, once, on Debian's library. Time is wall-clock, peak memory the most that was resident. What is resident after the data was dropped is read while the program waits, at once and
10 seconds later; the longest pause is what a loop of the program sees beside a heap of 500 MB. Prints a Markdown table; --csv FILE writes all runs.
"""
import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time

from clients import HERE, WORKS, guile_compile
from run import Fault, command, environment

LIBRARIES = ("theirs", "ours")
# What the bars of wall time are about; the memory of the others is measured as well.
ALLOCATION_HEAVY = ("guile/trees", "guile/strings", "ecl/compiled", "neko/boot", "stalin/boyer")
BARS = {"wall": 0.8, "peak": 1.0, "dropped": 0.3, "pause": 0.05}
UNITS = {"wall": "s", "cpu": "s", "peak": "MiB", "built": "MiB", "dropped": "MiB", "dropped 10 s": "MiB", "pause": "ms", "collections": ""}
HEAP_MEGABYTES, PAUSE_TURNS = 500, 20000000


def settings(library, args):
    return {"LD_LIBRARY_PATH": args.ours} if library == "ours" else {}


def measured(arguments, folder, env):
    """Wall and CPU seconds and peak MiB of one command. time(1) stands between: a child of ours would begin with our own peak."""
    began = time.monotonic()
    done = subprocess.run(["/usr/bin/time", "-o", "usage", "-f", "%U %S %M", *arguments], cwd=folder, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    wall = time.monotonic() - began
    if done.returncode != 0:
        raise Fault(f"{' '.join(arguments)} ended with {done.returncode}")
    with open(os.path.join(folder, "usage")) as file:
        user, system, peak = map(float, file.read().split())
    return {"wall": wall, "cpu": user + system, "peak": peak / 1024}


def bench_work(work, args):
    """Yields (library, {metric: value})."""
    size = work.sizes["bounded" if args.small else "full"]
    with tempfile.TemporaryDirectory() as folder:
        for name, content in work.files(size).items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
        steps = work.steps(size)
        chosen = work.measured % len(steps)
        for step in steps[:chosen]:
            command(step, folder, environment(work, size, folder, {}), work.limit)
        for _ in range(args.rounds):
            for library in LIBRARIES:
                yield library, measured(steps[chosen], folder, environment(work, size, folder, settings(library, args)))


def guile_program(name, folder):
    """A program of the folder guile, compiled into that folder."""
    command(guile_compile(f"{HERE}/guile/{name}.scm", f"{folder}/{name}.go"), folder, dict(os.environ), 60)
    return ["guile", "--no-auto-compile", "-c", f'(load-compiled "{folder}/{name}.go")']


def resident(pid):
    """Resident MiB of a process now."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS:"))


def expect(child, word):
    line = child.stdout.readline().strip()
    if line != word:
        raise Fault(f"said {line!r} instead of {word!r}")


def go_on(child):
    child.stdin.write("\n")
    child.stdin.flush()


def dropped(arguments, env):
    """Resident memory when the data is built, right after it was dropped and collected, and 10 s later."""
    with subprocess.Popen(arguments, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        expect(child, "built")
        found = {"built": resident(child.pid)}
        go_on(child)
        expect(child, "dropped")
        found["dropped"] = resident(child.pid)
        time.sleep(10)  # what a library gives back by itself in that time is what is measured
        found["dropped 10 s"] = resident(child.pid)
        go_on(child)
    return found


def paused(arguments, env):
    done = subprocess.run(arguments, env=env, capture_output=True, text=True, check=True, timeout=300, stdin=subprocess.DEVNULL)
    microseconds, collections, _seconds = done.stdout.split()
    return {"pause": int(microseconds) / 1000, "collections": int(collections)}


def bench_guile_heap(args):
    """Yields (what, library, {metric: value}) of the two programs with a large heap."""
    megabytes = 20 if args.small else HEAP_MEGABYTES
    with tempfile.TemporaryDirectory() as folder:
        drop, pause = guile_program("drop", folder), guile_program("pause", folder)
        for _ in range(args.rounds):
            for library in LIBRARIES:
                env = {**os.environ, **settings(library, args)}
                yield f"guile, {megabytes} MB", library, dropped(drop + [str(megabytes)], env)
                yield f"guile, {megabytes} MB", library, paused(pause + [str(megabytes), str(PAUSE_TURNS // (20 if args.small else 1))], env)


def rows(args):
    """All measurements: (what, metric, library, value)."""
    for work in WORKS:
        if work.sizes["bounded" if args.small else "full"] is None or (args.names and work.name not in args.names):
            continue
        for library, found in bench_work(work, args):
            for metric, value in found.items():
                yield work.name, metric, library, value
    if not args.names or "guile/heap" in args.names:
        for what, library, found in bench_guile_heap(args):
            for metric, value in found.items():
                yield what, metric, library, value


def bar(what, metric):
    if metric == "wall" and what not in ALLOCATION_HEAVY:
        return None
    return BARS.get(metric)


def print_table(measurements):
    print("| what | metric | ours | libgc 8.2 | ours / libgc | bar |\n| --- | --- | ---: | ---: | ---: | --- |")
    values = {}
    for what, metric, library, value in measurements:
        values.setdefault((what, metric), {}).setdefault(library, []).append(value)
    for (what, metric), found in values.items():
        mine, other = (statistics.median(found[library]) for library in ("ours", "theirs"))
        ratio = mine / other if other else float("nan")
        wanted = bar(what, metric)
        verdict = "" if wanted is None else f"<= {wanted}x {'met' if ratio <= wanted else 'NOT MET'}"
        print(f"| {what} | {metric} {UNITS[metric]} | {mine:.3f} | {other:.3f} | {ratio:.3f}x | {verdict} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", metavar="FOLDER", type=os.path.abspath, required=True, help="where our libgc.so.1 is")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="bounded sizes: does it run at all")
    parser.add_argument("--csv", metavar="FILE", help="all runs, one a line")
    parser.add_argument("names", nargs="*", help="works, or guile/heap for the two programs with 500 MB; all")
    args = parser.parse_args()
    measurements = []
    try:
        for row in rows(args):
            measurements.append(row)
            print("  ".join(map(str, row)), file=sys.stderr, flush=True)
    except Fault as fault:
        sys.exit(f"bench: {fault}")
    print_table(measurements)
    if args.csv:
        with open(args.csv, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("what", "metric", "library", "value"))
            writer.writerows(measurements)
    return 0


if __name__ == "__main__":
    sys.exit(main())
