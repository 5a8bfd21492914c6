"""tables.py - the figures of a run put together: what each variant came to, and allocators side by side.

Owns:    the summaries and the aligned text tables; the report's HTML tables are made from the same rows.
Units:   bytes in, MiB in the text."""

import csv
import re

import programs

MIB = 1024.0 * 1024.0
MAX_EXTRAS = 16

# What is compared between allocators: label, field, how the points over time become one figure.
COMPARED = [
    ("live at the end", "live_bytes", "end"),
    ("in use at the end", "heap_inuse", "end"),
    ("fragmentation at the end", "fragmentation", "end"),
    ("fragmentation, highest", "fragmentation", "peak"),
    ("resident, highest", "resident", "peak"),
]


def mib(value):
    return "-" if value is None else f"{value / MIB:.2f}"


def by_variant(rows):
    """{variant: rows in the order of t}, variants in the order of their first row."""
    groups = {}
    for row in rows:
        groups.setdefault(row["variant"], []).append(row)
    return {variant: sorted(group, key=lambda row: row["t"]) for variant, group in groups.items()}


def is_sweep(variant, rows):
    """Whether a variant is one point of many: "class 48" with its only row at t = 48."""
    found = re.fullmatch(r".*\D(\d+)", variant)
    return found is not None and len(rows) == 1 and rows[0]["t"] == int(found[1])


def sweeps(rows):
    """{name: rows in the order of t} of the variants that are points of a sweep, by what stands before their number."""
    found = {}
    for variant, group in by_variant(rows).items():
        if is_sweep(variant, group):
            found.setdefault(variant.rstrip("0123456789").rstrip(" =_"), []).append(group[0])
    return {name: sorted(points, key=lambda row: row["t"]) for name, points in found.items() if len(points) > 2}


def stand_alone(rows):
    """by_variant without the points of sweeps, which share one state of the heap."""
    swept = {row["variant"] for points in sweeps(rows).values() for row in points}
    return {variant: group for variant, group in by_variant(rows).items() if variant not in swept}


def pick(rows, field, how):
    """One figure of the rows of one variant: the last, or the highest."""
    values = [row[field] for row in rows]
    return max(values) if how == "peak" else values[-1]


SUMMARY_HEAD = ["variant", "points", "live", "allocated", "in use", "usage", "resident", "fragm.", "peak in use",
                "peak fragm."]


def summarize(result):
    """Rows of text for one program's run, one per variant: the state at the end and two peaks, MiB."""
    table = []
    for variant, rows in stand_alone(result.rows).items():
        end = [mib(rows[-1][key]) for key in ("live_bytes", "heap_alloc", "heap_inuse", "heap_usage", "resident",
                                              "fragmentation")]
        peaks = [mib(pick(rows, key, "peak")) for key in ("heap_inuse", "fragmentation")]
        table.append([variant or "-", str(len(rows))] + end + peaks)
    return table


def grouped_digits(text):
    """Whole numbers of five digits and more with their thousands apart."""
    return f"{int(text):,}".replace(",", "\u202f") if text.isascii() and text.isdigit() and len(text) >= 5 else text


def further(result):
    """(head, rows) of what the extra column of each variant's last row has; at most MAX_EXTRAS keys."""
    ends = {variant: programs.extras(rows[-1]) for variant, rows in by_variant(result.rows).items()}
    keys = list(dict.fromkeys(key for extra in ends.values() for key in extra))[:MAX_EXTRAS]
    rows = [[variant or "-"] + [grouped_digits(extra.get(key, "-")) for key in keys]
            for variant, extra in ends.items() if extra]
    return ["variant"] + [key.replace("_", " ") for key in keys], rows


def compare(results, compared=None):
    """Allocators side by side. Returns (allocators, [(scenario, variant, label, {allocator: bytes or None})])."""
    allocators = sorted({r.allocator for r in results if r.data}, key=programs.allocator_order)
    lines = []
    for name in dict.fromkeys(r.name for r in results):
        groups = {r.allocator: stand_alone(r.rows) for r in results if r.name == name and r.data}
        variants = dict.fromkeys(variant for group in groups.values() for variant in group)
        for variant in variants:
            for label, field, how in compared or COMPARED:
                cells = {a: pick(g[variant], field, how) if variant in g else None for a, g in groups.items()}
                if not (field == "fragmentation" and how == "peak" and cells == lines[-1][3]):  # the end was the peak
                    lines.append((name, variant, label, cells))
    return allocators, lines


def lowest(cells):
    """The allocators with the lowest figure as printed; none when there is nothing to compare."""
    shown = {allocator: mib(value) for allocator, value in cells.items() if value is not None}
    if len(shown) < 2:
        return set()
    least = min(shown.values(), key=float)
    best = {allocator for allocator, text in shown.items() if text == least}
    return best if len(best) < len(shown) else set()


def format_table(head, rows):
    """Aligned text: the first column and whatever has no digits to the left, figures to the right."""
    widths = [max(len(line[i]) for line in [head] + rows) for i in range(len(head))]
    right = [all(is_figure(row[i]) for row in rows) for i in range(len(head))]

    def line(cells):
        padded = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(cells, widths, right)]
        return "  ".join(padded).rstrip()

    return "\n".join([line(head), "  ".join("-" * width for width in widths)] + [line(row) for row in rows])


def is_figure(text):
    try:
        float(text.rstrip("*"))
    except ValueError:
        return text == "-"
    return True


def comparison_text(results):
    """The comparison as aligned text; * marks the lowest of a line, live bytes excepted."""
    allocators, lines = compare(results)
    rows = []
    for name, variant, label, cells in lines:
        best = set() if label.startswith("live") else lowest(cells)
        rows.append([name, variant or "-", label] + [mib(cells.get(a)) + ("*" if a in best else "") for a in allocators])
    return format_table(["scenario", "variant", "MiB"] + allocators, rows)


def write_csv(file, results):
    """All rows of all results, in the columns that the programs themselves write."""
    writer = csv.DictWriter(file, programs.COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for result in results:
        for row in result.rows:
            whole = {key: f"{row[key]:.0f}" if row[key] == int(row[key]) else f"{row[key]:g}" for key in programs.NUMBERS}
            writer.writerow({**row, **whole})
