#!/usr/bin/env python3
"""bench.py - time and peak memory of the real programs, Holdfast's twins against malloc's: a table of medians.

The runs of all variants of a program are interleaved, in an order that turns from round to round, so that what slows
the machine for a while slows all. Time is wall-clock and, in brackets, CPU seconds of all threads; memory is the most that was resident.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lua", "work.lua")
PROGRAMS = {
    "sqlite": ["80000", "2"],
    "lua": [SCRIPT, "240"],
    "cjson": ["3000"],
    "libxml": ["1500"],
}
SMALL = {"sqlite": ["2000", "2"], "lua": [SCRIPT, "2"], "cjson": ["50"], "libxml": ["20"]}
VARIANTS = ["malloc", "holdfast", "clearing", "freeing"]


def one(command):
    """Wall seconds, CPU seconds, peak resident MiB; the output, for comparing."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GC_TRACE")}
    environment["TWIN_HEAP_TOLD"] = "1"  # tests hold bounds; here cycles run beside the program
    begin = time.monotonic()
    with tempfile.TemporaryFile() as told:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, stdin=subprocess.DEVNULL, env=environment)
        out = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - begin
        told.seek(0)
        lines = told.read().decode(errors="replace")
    child.returncode = os.waitstatus_to_exitcode(status)
    peak = re.search(r"^VmHWM:\s*(\d+) kB", lines, re.M)
    if status != 0 or peak is None:
        sys.exit(f"bench: {' '.join(command)} ended with {child.returncode}:\n{lines[-500:]}")
    return wall, usage.ru_utime + usage.ru_stime, int(peak[1]) / 1024, out


def measure(bin_dir, name, arguments, rounds):
    """For each variant the medians of wall, CPU and memory."""
    runs = {v: [] for v in VARIANTS}
    outputs = set()
    for r in range(rounds):
        turn = VARIANTS[r % len(VARIANTS):] + VARIANTS[:r % len(VARIANTS)]
        for variant in turn:
            wall, cpu, memory, out = one([os.path.join(bin_dir, f"{name}-{variant}")] + arguments)
            runs[variant].append((wall, cpu, memory))
            outputs.add(out)
    if len(outputs) != 1:
        sys.exit(f"bench: {name}: the twins print different things")
    return {v: [statistics.median(column) for column in zip(*rows)] for v, rows in runs.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, metavar="FOLDER", help="where the programs are")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="small inputs: does it run at all")
    parser.add_argument("--json", metavar="FILE", help="the medians, for other tools")
    parser.add_argument("names", nargs="*", help=f"of {' '.join(PROGRAMS)}; all")
    args = parser.parse_args()
    print("| program | " + " | ".join(f"{v}: s (CPU)" for v in VARIANTS) + " | " + " | ".join(f"{v}: MiB" for v in VARIANTS) + " |")
    print("| --- |" + " ---: |" * (2 * len(VARIANTS)))
    results = {}
    for name in args.names or PROGRAMS:
        results[name] = measure(args.bin, name, (SMALL if args.small else PROGRAMS)[name], args.rounds)
        times = " | ".join(f"{results[name][v][0]:.2f} ({results[name][v][1]:.2f})" for v in VARIANTS)
        memory = " | ".join(f"{results[name][v][2]:.1f}" for v in VARIANTS)
        print(f"| {name} | {times} | {memory} |", flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
