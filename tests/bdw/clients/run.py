#!/usr/bin/env python3
"""run.py - runs the clients of the table (clients.py) on Debian's libgc.so.1 and on ours, and compares what they print.

Each work runs once on theirs as it is, once more on theirs to count collections, and --runs times on ours: with cycles as the
library chooses, always beside the program, and always stopped, in turn. With --size stress ours is a torture build, and a cycle
runs at every n-th allocation. Closing line: N passed, N failed.
"""
import argparse
import glob
import hashlib
import os
import re
import signal
import subprocess
import sys
import tempfile

from clients import WORKS

OURS_TRACE = re.compile(rb"^gc \d+ (@|beside).*\n", re.M)
OURS_CYCLE = re.compile(rb"^gc \d+ @", re.M)
THEIRS_CYCLE = re.compile(rb"^GC #\d+ freed", re.M)
MODES = ("auto", "always", "off")


class Fault(Exception):
    """What went wrong in a run, for people."""


def environment(work, size, folder, settings):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GC_", "LD_", "GUILE"))}
    env.update(HOME=folder, LANG="C.UTF-8", LC_ALL="C.UTF-8", TZ="UTC", GUILE_AUTO_COMPILE="0", XDG_CACHE_HOME=folder)
    env.update({k: v.format(size=size, work=folder) for k, v in work.environment.items()})
    env.update(settings)
    return env


def end(child):
    """A run that does not end is stopped with all its children, and what its threads did is shown, if gdb is there."""
    stacks = subprocess.run(["gdb", "-p", str(child.pid), "-batch", "-ex", "thread apply all backtrace 12"],
                            capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL).stdout if has_gdb() else ""
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    return stacks


def has_gdb():
    return any(os.access(os.path.join(folder, "gdb"), os.X_OK) for folder in os.environ["PATH"].split(":"))


def command(arguments, folder, env, limit):
    """Output and errors of one command that ends with 0."""
    child = subprocess.Popen(arguments, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             start_new_session=True)
    try:
        out, err = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise Fault(f"{' '.join(arguments)}: no end within {limit} s\n{end(child)}") from None
    if child.returncode != 0:
        raise Fault(f"{' '.join(arguments)} ended with {child.returncode}:\n{(out[-500:] + err[-3000:]).decode(errors='replace')}")
    return out, err


def digests(patterns, folder):
    found = sorted(path for pattern in patterns for path in glob.glob(os.path.join(folder, pattern)))
    lines = []
    for path in found:
        with open(path, "rb") as file:
            lines.append(f"{os.path.basename(path)} {hashlib.sha256(file.read()).hexdigest()}\n")
    return "".join(lines).encode()


def run(work, size, settings):
    """Output (with the digests of what was made), and errors, of all steps."""
    with tempfile.TemporaryDirectory() as place:
        folder = os.path.join(place, "w")  # so that filters know its last name
        os.mkdir(folder)
        for name, content in work.files(size).items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
        env = environment(work, size, folder, settings)
        out = err = b""
        for step in work.steps(size):
            more_out, more_err = command(step, folder, env, work.limit)
            out, err = out + more_out, err + more_err
        out += digests(work.made, folder)
        out, err = out.replace(folder.encode(), b"/FOLDER/w"), err.replace(folder.encode(), b"/FOLDER/w")
    for pattern, replacement, _why in work.filters:
        out = re.sub(pattern.encode(), replacement.encode(), out)
    return out, err


def difference(what, want, got):
    """The first line that differs."""
    for number, (a, b) in enumerate(zip(want.splitlines() + [b"(end)"], got.splitlines() + [b"(end)"]), 1):
        if a != b:
            return f"{what}, line {number}: {b[:300]!r} instead of {a[:300]!r}"
    return f"{what} differs in its end"


def theirs(work, size):
    """What Debian's library gives: output, errors. It must have collected."""
    want = run(work, size, {})
    if not want[0]:
        raise Fault("prints nothing: that compares nothing")
    counted = len(THEIRS_CYCLE.findall(run(work, size, {"GC_PRINT_STATS": "1"})[1]))
    if counted < work.least:
        raise Fault(f"Debian's library collected {counted} times; at least {work.least} wanted")
    return want, counted


def ours(work, size, want, settings):
    """Raises Fault if ours differs; returns its collections."""
    out, err = run(work, size, settings)
    cycles = len(OURS_CYCLE.findall(err))
    err = OURS_TRACE.sub(b"", err)
    if out != want[0]:
        raise Fault(difference("output", want[0], out))
    if err != want[1]:
        raise Fault(difference("errors", want[1], err))
    # Beside a short program, how many come to their end before it does is up to the scheduler.
    if cycles < work.least and settings.get("GC_CONCURRENT") != "always":
        raise Fault(f"collected {cycles} times; at least {work.least} wanted")
    return cycles


def check(work, args):
    """Yields (title, fault or None) of each run."""
    size = work.sizes[args.size]
    try:
        want, counted = theirs(work, size)
    except Fault as fault:
        yield f"{work.name}, Debian's", str(fault)
        return
    yield f"{work.name}, Debian's, {counted} collections", None
    for number in range(args.runs if args.ours else 0):
        settings = {"LD_LIBRARY_PATH": args.ours, "GC_TRACE": "1", "GC_CONCURRENT": args.mode or MODES[number % len(MODES)]}
        if args.size == "stress":
            settings["GC_TORTURE"] = str(args.every or work.every)
        title = f"{work.name}, run {number + 1}, GC_CONCURRENT={settings['GC_CONCURRENT']}"
        try:
            cycles = ours(work, size, want, settings)
            yield f"{title}, {cycles} collections", None
        except Fault as fault:
            yield title, str(fault)


def table():
    """The table of clients in Markdown, for docs/clients.md."""
    print("| work | what it does | full, bounded, stress | filtered |\n| --- | --- | --- | --- |")
    for work in WORKS:
        sizes = ", ".join(str(work.sizes[s] or "-") for s in ("full", "bounded", "stress"))
        print(f"| {work.name} | {work.does} | {sizes} | {'; '.join(why for _p, _r, why in work.filters) or 'nothing'} |")


def chosen(names, size):
    """The works of these names, or of these clients, that have that size."""
    known = {work.name for work in WORKS} | {work.name.split("/")[0] for work in WORKS}
    for name in names:
        if name not in known:
            sys.exit(f"no such client: {name}; known: {' '.join(sorted(known))}")
    return [w for w in WORKS if w.sizes[size] is not None and (not names or w.name in names or w.name.split("/")[0] in names)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", metavar="FOLDER", type=os.path.abspath, help="where our libgc.so.1 is; without it only Debian's is run")
    parser.add_argument("--size", choices=("full", "bounded", "stress"), default="full")
    parser.add_argument("--runs", type=int, default=3, help="runs of each work on ours (3)")
    parser.add_argument("--mode", choices=MODES, help="only this GC_CONCURRENT, not all in turn")
    parser.add_argument("--every", type=int, help="with --size stress: allocations between cycles, for all works")
    parser.add_argument("--table", action="store_true", help="print the table of clients and end")
    parser.add_argument("names", nargs="*", help="clients or works; all")
    args = parser.parse_args()
    if args.table:
        table()
        return 0
    if args.ours and not os.path.exists(os.path.join(args.ours, "libgc.so.1")):
        sys.exit(f"no libgc.so.1 in {args.ours}: make bdw builds it")
    passed = failed = 0
    for work in chosen(args.names, args.size):
        for title, fault in check(work, args):
            passed, failed = (passed + 1, failed) if fault is None else (passed, failed + 1)
            print(f"ok      {title}" if fault is None else f"FAILED  {title}: {fault}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
