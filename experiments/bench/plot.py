#!/usr/bin/env python3
"""plot.py - draws the longest gap and the longest pause against the size of the heap, from run.py's CSV.

Usage:  plot.py FIGURES.csv OUT.svg     (after run.py --only heapsize --only heapsize_noscan --csv FIGURES.csv)
Needs:  python3-matplotlib. Not part of any check."""

import csv
import re
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as pyplot  # noqa: E402

ROW = re.compile(r"^(heapsize|heapsize_noscan)_(gap|stopped)_(\d+)$")


def read_lines(path):
    """{(allocator, workload, what): [(GiB, ms)]}"""
    lines = {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            found = ROW.match(row["metric"])
            if found:
                key = (row["allocator"], found[1], found[2])
                lines.setdefault(key, []).append((int(found[3]) / 1024, float(row["median"])))
    return lines


def main():
    if len(sys.argv) != 3:
        sys.exit("plot.py: needs a CSV file and an output file")
    lines = read_lines(sys.argv[1])
    if not lines:
        sys.exit(f"plot.py: no heapsize rows in {sys.argv[1]}")
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for (allocator, workload, what), points in sorted(lines.items()):
        kind = "noscan" if workload.endswith("noscan") else "scanned"
        label = f"{allocator}, {kind}, {'longest gap' if what == 'gap' else 'world stopped'}"
        axes.plot(*zip(*sorted(points)), marker="o", markersize=3, linestyle="-" if what == "gap" else "--", label=label)
    axes.set(xscale="log", yscale="log", xlabel="live heap, GiB", ylabel="ms")
    axes.grid(True, which="major", linewidth=0.3)
    axes.legend(fontsize="small")
    figure.savefig(sys.argv[2], bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    main()
