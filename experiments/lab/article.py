"""article.py - Examples 1-4 and the step table beside the article's figures.

Owns:    running the programs of experiments/examples and reading their CSV. The article's figures are in article.c there;
         the programs print them, and judge by their exit status."""

import csv
import os
import subprocess

import programs

EXAMPLES = ["example1", "example2", "example3", "example4"]
TABLE = "step_table"


def run(objdir, timeout):
    """{program: (rows as the CSV has them, "" or what was wrong)}."""
    results = {}
    for name in EXAMPLES + [TABLE]:
        path = os.path.join(programs.ROOT, objdir, "examples", name)
        try:
            done = subprocess.run([path, "--csv"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  errors="replace", timeout=timeout, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            results[name] = ([], f"cannot be run: {error.__class__.__name__}")
            continue
        rows = list(csv.DictReader(done.stdout.splitlines()))
        wrong = (done.stderr.strip().splitlines() or ["ended with an error"])[-1] if done.returncode else ""
        results[name] = (rows, wrong)
    return results
