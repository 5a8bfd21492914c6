#!/usr/bin/env python3
"""run.py - runs the benchmark programs of all allocators and prints one table against the project's bars.

Owns:    which programs make up a workload, the bars, the table and the CSV.
Promise: allocators take turns (A B C A B C ...), so that a slow minute of the machine hits all alike;
         figures are medians over the rounds. Nothing in the output names the host or a path.
Usage:   run.py [--rounds N] [--small] [--only WORKLOAD]... [--csv FILE] [--bin DIR]
Exit:    0 all programs ran (whatever the bars say), 1 a program failed, 2 bad arguments.
Python's standard library only. The programs come from `make bench-build` (bench.mk)."""

import argparse
import csv
import mmap
import os
import platform
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass, field

OURS = "holdfast"
PEERS = ["glibc", "jemalloc", "mimalloc", "bdwgc", "go"]
MALLOCS = ["glibc", "jemalloc", "mimalloc"]
COLLECTORS = (OURS, "bdwgc", "go")
HEAP_SIZES_MIB = [64 << step for step in range(8)]
RUN_SECONDS = 1800  # a program that takes longer is stuck
WARM_BYTES = 4 << 30  # more than any program touches that does not do this itself
WARM_SHARE = 0.5  # of what is available, at most
ENVIRONMENT = re.compile(r"^(GC_|MALLOC_|MIMALLOC_|GLIBC_TUNABLES|GO(GC|MEMLIMIT|MAXPROCS|DEBUG)$)")


@dataclass
class Metric:
    """A row of the table. bars: peer -> highest ratio ours/peer. at_most, at_least: on our own value.
    only: the allocators whose programs print it; all of them when empty."""
    name: str
    bars: dict = field(default_factory=dict)
    at_most: float = None
    at_least: float = None
    only: tuple = ()


@dataclass
class Run:
    """A program with its arguments; every row it prints is one of metrics."""
    workload: str
    program: str
    args: list
    peers: list
    metrics: list


def garbage_run(size):
    bars = {"jemalloc": 0.5, "bdwgc": 0.25}
    return Run("garbage", "garbage", ["--size", str(size)], PEERS, [Metric(f"garbage_{size}", bars)])


def twothreads_metrics(job):
    base = f"twothreads_{job}_"
    return [Metric(base + "threads"), Metric(base + "processes"), Metric(base + "ratio", at_least=0.9)]


def gap_metrics(workload, gap, stopped=None):
    """What livetree.c's three programs have in common."""
    return [Metric(f"{workload}_gap", **gap), Metric(f"{workload}_stopped", at_most=stopped, only=(OURS, "go")),
            Metric(f"{workload}_cycles", only=COLLECTORS)]


def ring_run(workload, args, bars):
    metrics = [Metric(f"{workload}_{name}", bars.get(name, {})) for name in ("longest", "p9999", "p50", "time")]
    metrics += [Metric(f"{workload}_stopped", only=(OURS,)), Metric(f"{workload}_cycles", only=COLLECTORS)]
    return Run(workload, "ring", args, MALLOCS + ["bdwgc"], metrics)


def tracking_metrics(job, at_least=None):
    base = f"tracking_{job}_"
    return [Metric(base + "inside"), Metric(base + "outside"), Metric(base + "ratio", at_least=at_least)]


def heapsize_run(workload, args):
    metrics = [m for mib in HEAP_SIZES_MIB
               for m in (Metric(f"{workload}_gap_{mib}"), Metric(f"{workload}_stopped_{mib}", only=(OURS,)))]
    metrics += [Metric(f"{workload}_gap_growth", at_most=0.5),
                Metric(f"{workload}_stopped_growth", at_most=0.5, only=(OURS,))]
    return Run(workload, "heapsize", args, ["bdwgc"], metrics)


RUNS = [
    Run("trees", "trees", [], PEERS,
        [Metric("trees_time", {"bdwgc": 0.4, "jemalloc": 0.6, "mimalloc": 0.9})]),
    garbage_run(16), garbage_run(64), garbage_run(256),
    Run("refill", "refill", [], MALLOCS + ["bdwgc"],
        [Metric("refill", {"mimalloc": 0.5}), Metric("refill_with_collect")]),
    Run("twothreads", "twothreads", [], MALLOCS + ["bdwgc"],
        [m for job in ("garbage16", "garbage64", "trees") for m in twothreads_metrics(job)]),
    Run("marktree", "marktree", [], ["bdwgc", "go"],
        [Metric("marktree_dfs_mark", {"bdwgc": 0.27}), Metric("marktree_dfs_build"),
         Metric("marktree_dfs_rss_built", at_most=1.06), Metric("marktree_dfs_rss_collected", at_most=1.06)]),
    Run("marktree", "marktree", ["--random"], ["bdwgc", "go"],
        [Metric("marktree_random_mark", {"bdwgc": 0.17})]),
    Run("livetree", "livetree", [], PEERS,
        gap_metrics("livetree", {"bars": {"bdwgc": 0.01, "go": 1 / 3}}) +
        [Metric("livetree_gap_p9999"), Metric("livetree_time", {"bdwgc": 1.0}), Metric("livetree_build")]),
    Run("paced", "livetree", ["--rate", "100000"], ["bdwgc", "go"],
        gap_metrics("paced", {}, stopped=1.5) + [Metric("paced_delay_p9999"), Metric("paced_rate")]),
    Run("stores", "livetree", ["--stores"], ["bdwgc"],
        gap_metrics("stores", {"at_most": 10}) +
        [Metric("stores_collect_quiet"), Metric("stores_gap_over_quiet", at_most=50),
         Metric("stores_running", at_least=0.5), Metric("stores_rate_no_cycle"), Metric("stores_rate_in_cycle")]),
    ring_run("ring", [], {"longest": {"bdwgc": 0.2}, "p9999": {"jemalloc": 1.0}}),
    ring_run("ring_noscan", ["--noscan"], {}),
    Run("tracking", "tracking", [], [],
        tracking_metrics("visit") + tracking_metrics("store") + tracking_metrics("replace", at_least=0.7)),
    heapsize_run("heapsize", []),
    heapsize_run("heapsize_noscan", ["--noscan"]),
    Run("idle", "idle", [], ["bdwgc"], [Metric("idle_cpu", at_most=0.01), Metric("idle_settling_cpu")]),
]
WORKLOADS = list(dict.fromkeys(run.workload for run in RUNS))


def fail(text, status=2):
    print(f"run.py: {text}", file=sys.stderr)
    sys.exit(status)


class OneLineParser(argparse.ArgumentParser):
    def error(self, message):
        fail(message)


def rounds_number(text):
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"needs a whole number from 1 to 9999, not {text!r}")
    return int(text)


def parse_arguments():
    here = os.path.dirname(os.path.abspath(__file__))
    default_bin = os.path.join(os.path.relpath(os.path.join(here, "..", "..")), "build", "release", "bench")
    parser = OneLineParser(prog="run.py", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=rounds_number, default=5, help="runs of each program (5)")
    parser.add_argument("--small", action="store_true", help="tiny sizes: does everything run?")
    parser.add_argument("--only", action="append", metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--csv", metavar="FILE", help="write the figures there as well")
    parser.add_argument("--bin", metavar="DIR", default=default_bin, help="where the programs are")
    args = parser.parse_args()
    for name in args.only or []:
        if name not in WORKLOADS:
            fail(f"--only {name}: the workloads are {', '.join(WORKLOADS)}")
    if not os.path.isdir(args.bin):
        fail(f"--bin {args.bin}: no such directory (make bench-build fills it)")
    if args.csv is not None:
        check_writable(args.csv)
    return args


def check_writable(path):
    """Said before the hours of running, not after."""
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or not os.access(path if os.path.exists(path) else folder, os.W_OK):
        fail(f"--csv {path}: cannot be written")


# -- the machine ----------------------------------------------------------------------------------------

def read_text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def first_match(pattern, text, default="unknown"):
    found = re.search(pattern, text, re.M)
    return found.group(1).strip() if found else default


def versions(binaries):
    """What the programs themselves say: {allocator: version}, and the compilers that built them."""
    allocators, compilers = {}, {}
    for (_, variant), path in binaries.items():
        if variant in allocators:
            continue
        try:
            done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            continue
        allocators[variant] = first_match(r"^allocator \S+ (.*)$", done.stdout).split("-")[0]
        if "compiler" in done.stdout:
            compilers[first_match(r"^compiler (.*)$", done.stdout)] = True
    return allocators, list(compilers)


def describe_machine(binaries, args):
    allocators, compilers = versions(binaries)
    cpuinfo, meminfo = read_text("/proc/cpuinfo"), read_text("/proc/meminfo")
    kib = int(first_match(r"^MemTotal:\s*(\d+)", meminfo, "0"))
    thp = read_text("/sys/kernel/mm/transparent_hugepage/enabled")
    # A value with a slash may be a path, which is nobody's business.
    settings = [f"{k}={v}" if "/" not in v else k for k, v in sorted(os.environ.items()) if ENVIRONMENT.match(k)]
    return [
        ("cpu", first_match(r"^model name\s*:\s*(.*)$", cpuinfo)),
        ("cores", str(len(os.sched_getaffinity(0)))),
        ("memory", f"{kib / 1048576:.1f} GiB"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("transparent huge pages", first_match(r"\[(\w+)\]", thp)),
        ("compiler", ", ".join(compilers) or "unknown"),
        ("allocators", ", ".join(f"{name} {version}" for name, version in allocators.items())),
        ("linking", f"{OURS} statically, peers as shared libraries"),
        ("settings", " ".join(settings) or "none"),
        ("load at start", f"{os.getloadavg()[0]:.2f}"),
        ("rounds", f"{args.rounds}{', small sizes' if args.small else ''}"),
    ]


def warm_memory():
    """In a virtual machine the first touch of memory the host has not backed yet costs many times a page
    fault, and whoever runs first would pay for it. So it is touched once beforehand, by a child."""
    available = int(first_match(r"^MemAvailable:\s*(\d+)", read_text("/proc/meminfo"), "0")) * 1024
    size = min(WARM_BYTES, int(available * WARM_SHARE)) // mmap.PAGESIZE * mmap.PAGESIZE
    code = (f"import mmap\nm = mmap.mmap(-1, {size}, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
            f"for i in range(0, {size}, {mmap.PAGESIZE}): m[i] = 1\n")
    if size:
        subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False)


# -- running --------------------------------------------------------------------------------------------

def find_binaries(runs, folder):
    """({(program, variant): path}, notes on what is missing)."""
    found, missing = {}, {}
    for run in runs:
        for variant in [OURS] + run.peers:
            path = os.path.abspath(os.path.join(folder, f"{run.program}-{variant}"))
            if os.access(path, os.X_OK):
                found[run.program, variant] = path
            else:
                missing.setdefault(variant, {})[run.program] = True
    notes = [f"{variant} skipped: not built for {', '.join(programs)}" for variant, programs in missing.items()]
    return found, notes


def parse_rows(text, metrics, variant):
    """{metric: (value, unit)}, or None when it is not exactly the rows expected of that variant."""
    rows = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) != 3:
            return None
        try:
            rows[words[0]] = (float(words[1]), words[2])
        except ValueError:
            return None
    return rows if set(rows) == {m.name for m in metrics if not m.only or variant in m.only} else None


def run_once(path, run, variant, small):
    """(rows, None) or (None, what went wrong)."""
    command = [path] + run.args + (["--small"] if small else [])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return None, f"no end after {RUN_SECONDS} s"
    except OSError as error:
        return None, error.strerror
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        return None, f"status {done.returncode} {last}".strip()
    rows = parse_rows(done.stdout, run.metrics, variant)
    return (rows, None) if rows is not None else (None, "unexpected output")


def measure(run, binaries, args, values, units, failures):
    """values[metric, variant] gets one figure per round. A variant that failed is not tried again."""
    variants = [v for v in [OURS] + run.peers if (run.program, v) in binaries]
    for number in range(args.rounds):
        for variant in list(variants):
            progress(f"{run.program} {' '.join(run.args)} {variant} round {number + 1}/{args.rounds}")
            rows, problem = run_once(binaries[run.program, variant], run, variant, args.small)
            if problem:
                failures.append(f"{' '.join([run.program] + run.args)} with {variant} FAILED: {problem}")
                variants.remove(variant)
                for metric in run.metrics:
                    values.pop((metric.name, variant), None)
                continue
            for name, (value, unit) in rows.items():
                values.setdefault((name, variant), []).append(value)
                units[name] = unit


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


# -- reporting ------------------------------------------------------------------------------------------

@dataclass
class Result:
    """One metric, ready to print: medians by variant, ratios ours/peer, (bar text, verdict) by variant."""
    workload: str
    metric: Metric
    unit: str
    medians: dict
    ratios: dict
    verdicts: dict


def verdict(value, limit, small, at_least=False):
    if small:
        return "not judged"
    if value is None:
        return "not measured"
    return "met" if (value >= limit if at_least else value <= limit) else "NOT MET"


def judge(run, metric, values, units, small):
    medians = {v: statistics.median(values[metric.name, v])
               for v in [OURS] + run.peers if (metric.name, v) in values}
    ours = medians.get(OURS)
    ratios = {v: ours / m for v, m in medians.items() if v != OURS and ours is not None and m}
    verdicts = {peer: (f"<={limit:g}x {peer}", verdict(ratios.get(peer), limit, small))
                for peer, limit in metric.bars.items()}
    if metric.at_most is not None:
        verdicts[OURS] = (f"<={metric.at_most:g}", verdict(ours, metric.at_most, small))
    if metric.at_least is not None:
        verdicts[OURS] = (f">={metric.at_least:g}", verdict(ours, metric.at_least, small, at_least=True))
    return Result(run.workload, metric, units.get(metric.name, ""), medians, ratios, verdicts)


def cell(result, variant):
    if variant not in result.medians:
        return "-"
    text = f"{result.medians[variant]:.4g}"
    return f"{text} ({result.ratios[variant]:.3f}x)" if variant in result.ratios else text


def print_table(results):
    table = [["workload", "metric", "unit", OURS] + [f"{p} (ratio)" for p in PEERS] + ["bar"]]
    for r in results:
        bars = ", ".join(f"{bar} {outcome}" for bar, outcome in r.verdicts.values())
        name = r.metric.name.removeprefix(r.workload + "_")
        table.append([r.workload, name, r.unit] + [cell(r, v) for v in [OURS] + PEERS] + [bars or "-"])
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())


def write_csv(path, machine, notes, results, values):
    with open(path, "w", encoding="utf-8", newline="") as file:
        for name, value in machine + [("note", note) for note in notes]:
            file.write(f"# {name}: {value}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow("workload metric unit allocator median ratio_holdfast_over_it bar verdict rounds".split())
        for r in results:
            for variant, median in r.medians.items():
                bar, outcome = r.verdicts.get(variant, ("", ""))
                ratio = f"{r.ratios[variant]:.4f}" if variant in r.ratios else ""
                rounds = " ".join(f"{v:g}" for v in values[r.metric.name, variant])
                writer.writerow([r.workload, r.metric.name, r.unit, variant, f"{median:.6g}", ratio, bar, outcome,
                                 rounds])


def main():
    args = parse_arguments()
    runs = [run for run in RUNS if not args.only or run.workload in args.only]
    binaries, notes = find_binaries(runs, args.bin)
    if not binaries:
        fail("no benchmark program found (make bench-build builds them)")
    machine = describe_machine(binaries, args)
    for name, value in machine:
        print(f"{name}: {value}")
    sys.stdout.flush()
    if not args.small:
        progress("touching memory")
        warm_memory()
    values, units, failures = {}, {}, []
    for run in runs:
        measure(run, binaries, args, values, units, failures)
    progress("")
    results = [judge(run, metric, values, units, args.small) for run in runs for metric in run.metrics]
    for note in notes + failures:
        print(f"note: {note}")
    print()
    print_table(results)
    if args.csv is not None:
        try:
            write_csv(args.csv, machine, notes + failures, results, values)
        except OSError as error:
            fail(f"--csv {args.csv}: {error.strerror}", 1)
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        fail("interrupted", 130)
