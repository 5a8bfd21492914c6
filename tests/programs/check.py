#!/usr/bin/env python3
"""check.py - runs the real programs and compares what they print: Holdfast's twins with malloc's, and Lua's with the
plain interpreter's. The programs hold their memory to their bounds themselves.

With cycles beside the program (always), stopped (off), and as the library chooses; --torture: inputs small enough for a
cycle at every GC_TORTURE-th allocation. Closing line: N passed, N failed.
"""
import argparse
import os
import subprocess
import sys

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lua", "work.lua")
INTERPRETER = "lua5.4"

# Arguments: for the whole check, and in a torture build with a cycle at every so many allocations.
PROGRAMS = {
    "sqlite": {"full": ["6000", "2"], "torture": ["60", "2"], "every": 50},
    "lua": {"full": [SCRIPT, "20"], "torture": [SCRIPT, "1"], "every": 1500},
    "cjson": {"full": ["400"], "torture": ["4"], "every": 40},
    "libxml": {"full": ["150"], "torture": ["3"], "every": 100},
}


def run(command, environment, limit=300):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GC_")}
    env.update(environment)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


def expected(bin_dir, name, arguments):
    """What malloc's twin prints; for Lua the interpreter must agree."""
    status, out, err = run([os.path.join(bin_dir, name + "-malloc")] + arguments, {})
    if status != 0 or not out:
        return None, f"malloc's twin ended with {status}: {err}"
    if name == "lua":
        status, plain, err = run([INTERPRETER] + arguments, {})
        if status != 0 or plain != out:
            return None, f"malloc's twin and {INTERPRETER} (status {status}) differ: {err}"
    return out, ""


def ways(torture, every):
    if torture:
        return [{"GC_TORTURE": str(every), "GC_CONCURRENT": c} for c in ("off", "always")]
    return [{"GC_CONCURRENT": c} for c in ("auto", "off", "always")]


def check(bin_dir, name, torture):
    """Yields (title, fault or None) of each run."""
    settings = PROGRAMS[name]
    arguments = settings["torture" if torture else "full"]
    want, fault = expected(bin_dir, name, arguments)
    yield f"{name} malloc", fault or None
    if want is None:
        return
    for variant in ("holdfast", "clearing", "freeing"):
        for environment in ways(torture, settings["every"]):
            if variant != "holdfast" and environment["GC_CONCURRENT"] != "always":
                continue
            status, out, err = run([os.path.join(bin_dir, f"{name}-{variant}")] + arguments, environment)
            title = " ".join([name, variant] + [f"{k}={v}" for k, v in environment.items()])
            if status != 0:
                yield title, f"ended with {status}; its stderr:\n{err}"
            elif out != want:
                yield title, f"printed\n{out}instead of\n{want}"
            else:
                yield title, None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, metavar="FOLDER", help="where the programs are")
    parser.add_argument("--torture", action="store_true", help="they are built for torture")
    parser.add_argument("names", nargs="*", help=f"of {' '.join(PROGRAMS)}; all")
    args = parser.parse_args()
    passed = failed = 0
    for name in args.names or PROGRAMS:
        for title, fault in check(args.bin, name, args.torture):
            if fault is None:
                passed += 1
                print(f"ok      {title}", flush=True)
            else:
                failed += 1
                print(f"FAILED  {title}: {fault}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
