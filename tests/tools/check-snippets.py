#!/usr/bin/env python3
"""check-snippets.py - compiles every C block of README.md and docs/*.md against the public headers, and runs those marked to be run.

Usage:  check-snippets.py --lib build/release/libholdfast.a [FILE...]

A block is fenced as
  ```c               a whole program where it has a main, which is compiled and linked; else statements, or
                     declarations where it begins with one of a function, as the body of a function
  ```c file          declarations, at file scope
  ```c run           a whole program that is run too and must end with 0; a ```text block that follows directly
                     is what it must print
  ```c declarations  of docs/api.md: all of a file together, without our headers
What a block takes for granted stands before it, in <!-- given: C declarations -->; it is put before the statements.
Any other block that says c is an error, so that none goes unchecked. Closing line: N passed, N failed.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
C_HEADERS = ["errno.h", "inttypes.h", "pthread.h", "signal.h", "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h",
             "sys/mman.h", "ucontext.h", "unistd.h"]
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-variable", "-Wno-unused-but-set-variable",
         "-Wno-unused-parameter", "-Wno-unused-function", "-Iapi"]
BLOCK = re.compile(r"(?:<!-- given: (?P<given>.*?) -->\s*)?^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$(?P<output>\n+```text\n(?P<text>.*?)^```$)?", re.S | re.M)


class Snippet:
    def __init__(self, path, line, kind, given, body, output):
        self.path, self.line, self.kind, self.given, self.body, self.output = path, line, kind, given or "", body, output

    def title(self):
        return f"{os.path.relpath(self.path, ROOT)}:{self.line}"

    def source(self):
        """With what it needs around it; its lines keep their numbers in messages."""
        ours = [os.path.basename(h) for h in sorted(glob.glob(os.path.join(ROOT, "api/gc_*.h")))]
        if self.kind == "declarations":
            ours = []
        marker = f'#line {self.line + 1} "{self.title().split(":")[0]}"\n'
        if self.kind == "run" or re.search(r"^int main\(", self.body, re.M):
            return marker + self.body
        head = "".join(f"#include <{h}>\n" for h in C_HEADERS + ours)
        if self.kind in ("file", "declarations"):
            return head + self.given + "\n" + marker + self.body
        includes = "".join(re.findall(r"^#include .*\n", self.body, re.M))
        body = re.sub(r"^#include .*$", "", self.body, flags=re.M)
        return f"{includes}{head}void snippet(void);\nvoid snippet(void) {{\n{self.given}\n{marker}{body}}}\n"


def find(path):
    with open(path) as file:
        text = file.read()
    found, declarations = [], None
    for m in BLOCK.finditer(text):
        words = m["info"].split()
        if not words or words[0] not in ("c", "C"):
            continue
        line = text.count("\n", 0, m.start("info")) + 1
        kind = words[1] if len(words) > 1 else "plain"
        if words[0] == "C" or len(words) > 2 or kind not in ("plain", "file", "run", "declarations"):
            sys.exit(f"{path}:{line}: no such kind of block: {m['info']}")
        if kind != "declarations":
            found.append(Snippet(path, line, kind, m["given"], m["body"], m["text"] if kind == "run" else None))
        elif declarations is None:
            declarations = Snippet(path, line, kind, None, m["body"], None)
            found.append(declarations)
        else:
            declarations.body += m["body"]
    return found


def check(snippet, cc, lib):
    """None, or what is wrong."""
    whole = snippet.kind == "run" or "int main(" in snippet.body
    with tempfile.TemporaryDirectory() as folder:
        source, program = os.path.join(folder, "snippet.c"), os.path.join(folder, "snippet")
        with open(source, "w") as file:
            file.write(snippet.source())
        rest = ["-o", program, lib, "-pthread", "-ldl"] if whole else ["-fsyntax-only"]
        built = subprocess.run([cc] + FLAGS + [source] + rest, cwd=ROOT, capture_output=True, text=True)
        if built.returncode != 0:
            return built.stderr
        if snippet.kind != "run":
            return None
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GC_")}
        try:
            ran = subprocess.run([program], env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return "it does not end"
        if ran.returncode != 0:
            return f"it ends with {ran.returncode}: {ran.stderr}"
        if snippet.output is not None and ran.stdout != snippet.output:
            return f"it prints\n{ran.stdout}and not\n{snippet.output}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lib", required=True, help="the static library, relative to the top folder")
    parser.add_argument("--cc", default=os.environ.get("CC", "gcc"))
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()
    files = args.files or [os.path.join(ROOT, "README.md")] + sorted(glob.glob(os.path.join(ROOT, "docs/*.md")))
    snippets = [s for path in files for s in find(path)]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for snippet, fault in zip(snippets, pool.map(lambda s: check(s, args.cc, args.lib), snippets)):
            if fault is not None:
                failed += 1
                print(f"FAILED  {snippet.title()} ({snippet.kind}): {fault}")
    print(f"{len(snippets) - failed} passed, {failed} failed")
    return failed != 0 or not snippets


if __name__ == "__main__":
    sys.exit(main())
