"""heapview.py - heap maps made visible: text for a terminal, pictures and data for the report.

Owns:    how pages are laid out in rows and how full a span looks. heapmap.py reads the files.
Layout:  pages in the order of their addresses; rows without a span, more than a few of them, become one line."""

import json
import os
import sys

import heapmap
import programs
import tables

LEVELS = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]  # level i: occupancy at most LEVELS[i]; level 0 is without objects
LEVEL_NAMES = ["no object", "up to 5 %", "to 25 %", "to 50 %", "to 75 %", "to 95 %", "full"]
MARKS = {"utf": "_▁▂▄▅▆█", "ascii": "_.:-=+#"}
FREE_MARK = {"utf": "·", "ascii": " "}
COLOURS = [245, 196, 208, 214, 117, 39, 27]  # of 256, as on the page: warm is sparse, blue is full
ROW_PAGES = 64
MAX_WIDTH, MAX_ROWS = 1000, 10000


def load(path):
    """The map in a file, as heapmap has it; a LabError of one line when it is none."""
    try:
        return heapmap.read(path)
    except heapmap.HeapMapError as error:
        raise programs.LabError(f"{'' if str(error).startswith(str(path)) else f'{path}: '}{error}") from error


def level(span):
    share = span.occupancy
    return next(i for i, top in enumerate(LEVELS) if share <= top)


# ---- rows ----

def used_rows(spans, width):
    """Numbers of the rows of so many pages that hold part of a span, rising."""
    rows = set()
    for span in spans:
        rows.update(range(span.page // width, (span.page + span.pages - 1) // width + 1))
    return sorted(rows)


def with_gaps(rows):
    """Rows to draw: (row, None), or (None, number of rows left out)."""
    drawn, last = [], None
    for row in rows:
        if last is not None and row > last + 1:
            skipped = range(last + 1, row)
            drawn += [(r, None) for r in skipped] if len(skipped) <= 2 else [(None, len(skipped))]
        drawn.append((row, None))
        last = row
    return drawn


# ---- in a terminal ----

def wants_colour(stream):
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def charset(stream):
    try:
        (MARKS["utf"] + FREE_MARK["utf"]).encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "ascii"
    return "utf"


def cells(found, scale):
    """{cell: (bytes of objects, bytes of spans)} for cells of scale pages."""
    grid = {}
    for span in found.spans:
        live = span.live_bytes / span.pages
        for page in range(span.page, span.page + span.pages):
            had = grid.get(page // scale, (0, 0))
            grid[page // scale] = (had[0] + live, had[1] + found.page_size)
    return grid


def draw_cell(cell, marks, free, colour):
    if cell is None:
        return free
    share = cell[0] / cell[1]
    at = next((i for i, top in enumerate(LEVELS) if share <= top), len(LEVELS) - 1)
    return f"\033[38;5;{COLOURS[at]}m{marks[at]}\033[0m" if colour else marks[at]


def choose_scale(found, width, rows):
    """Pages per character so that the map has at most so many rows."""
    scale = 1
    while len(used_rows(found.spans, width * scale)) > rows:
        scale *= 2
    return scale


def terminal_map(found, width, max_rows, colour, chars):
    """Lines of the map: an address, then one character per page or per few pages."""
    columns = max(8, width - 16)
    scale = choose_scale(found, columns, max_rows)
    grid, marks, free = cells(found, scale), MARKS[chars], FREE_MARK[chars]
    lines = []
    for row, skipped in with_gaps(used_rows(found.spans, columns * scale)):
        if row is None:
            size = skipped * columns * scale * found.page_size
            lines.append(f"{'':14}  ... {tables.mib(size)} MiB without spans")
            continue
        address = found.base + row * columns * scale * found.page_size
        drawn = (draw_cell(grid.get(row * columns + i), marks, free, colour) for i in range(columns))
        lines.append(f"{address:14x}  {''.join(drawn)}".rstrip())
    return lines, scale


def legend(colour, chars):
    shown = []
    for i, name in enumerate(LEVEL_NAMES):
        mark = MARKS[chars][i]
        shown.append((f"\033[38;5;{COLOURS[i]}m{mark}\033[0m" if colour else mark) + f" {name}")
    return "  ".join(shown) + f"  '{FREE_MARK[chars]}' free"


def class_rows(found):
    """One row of text per span class, those with most free bytes first."""
    groups = {}
    for span in found.spans:
        groups.setdefault((span.size_class, span.noscan), []).append(span)
    rows = []
    for (size_class, noscan), spans in groups.items():
        taken = sum(found.span_bytes(span) for span in spans)
        live = sum(span.live_bytes for span in spans)
        sparse = sum(level(span) <= 2 for span in spans)
        rows.append((live - taken, [str(spans[0].slot_bytes) if size_class else "large",
                                    "noscan" if noscan else "scanned", str(len(spans)), str(sparse),
                                    str(sum(span.objects for span in spans)), tables.mib(taken),
                                    tables.mib(taken - live), f"{100 * live / taken:.1f}",
                                    str(max(span.age for span in spans))]))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def first_calls(site, most=4):
    """The innermost calls of a site, up to main, without offsets in files: "f+0x4 < main+0x20"."""
    shown = []
    for name in site.names:
        if len(shown) == most:
            return " < ".join(shown + ["..."])
        shown.append(name if name.startswith("?") else name.partition(" (")[0])
        if name.startswith("main+"):
            break
    return " < ".join(shown) or str(site)


PIN_HEAD = ["pinned MiB", "sampled objects", "spans", "by"]


def pin_rows(found, most=10):
    """One row of text per call stack that keeps spans less than half full; none without sampling."""
    return [[tables.mib(kept), str(samples), str(spans), first_calls(site)]
            for site, kept, samples, spans in heapmap.pins(found)[:most]]


CLASS_HEAD = ["slot", "kind", "spans", "under 25 %", "objects", "MiB", "free MiB", "full %", "oldest"]


def totals_line(found):
    spans, span_bytes, objects, live = found.totals()
    share = 100 * live / span_bytes if span_bytes else 0
    return (f"after cycle {found.cycle}: {spans} spans, {tables.mib(span_bytes)} MiB; {objects} objects, "
            f"{tables.mib(live)} MiB ({share:.1f} % of it)")


def print_map(path, width, max_rows, stream=None):
    """`holdfast-lab map FILE`."""
    stream = stream or sys.stdout
    if not 24 <= width <= MAX_WIDTH:
        raise programs.LabError(f"--width {width}: from 24 to {MAX_WIDTH}")
    if not 1 <= max_rows <= MAX_ROWS:
        raise programs.LabError(f"--rows {max_rows}: from 1 to {MAX_ROWS}")
    found = load(path)
    print(totals_line(found), file=stream)
    if not found.spans:
        return
    colour, chars = wants_colour(stream), charset(stream)
    lines, scale = terminal_map(found, width, max_rows, colour, chars)
    pages = "one page" if scale == 1 else f"{scale} pages"
    print(f"each character: {pages} of {found.page_size // 1024} KiB\n", file=stream)
    print("\n".join(lines), file=stream)
    print(f"\n{legend(colour, chars)}\n", file=stream)
    print(tables.format_table(CLASS_HEAD, class_rows(found)), file=stream)
    pins = pin_rows(found)
    if pins:
        print(f"\nCall stacks that keep spans less than half full, from samples:\n\n{tables.format_table(PIN_HEAD, pins)}",
              file=stream)


# ---- for the report ----

def picture(found, rows):
    """SVG of the map over the given rows of with_gaps(used_rows(...)): one path per level, a cell of 1 x 1 per page."""
    at = {row: y for y, (row, _) in enumerate(rows) if row is not None}
    paths = {}
    for span in found.spans:
        shown = level(span)
        for page in range(span.page, span.page + span.pages):
            y = at.get(page // ROW_PAGES)
            if y is not None:
                paths.setdefault(shown, []).append(f"M{page % ROW_PAGES} {y}h.88v.88h-.88z")
    body = "".join(f'<path class="o{shown}" d="{"".join(parts)}"></path>' for shown, parts in sorted(paths.items()))
    free = "".join(f'<path class="free" d="M0 {y}h{ROW_PAGES - .12:g}v.88H0z"></path>' for y in at.values())
    gaps = "".join(f'<path class="gap" d="M0 {y + .44}h{ROW_PAGES}"></path>'
                   for y, (row, _) in enumerate(rows) if row is None)
    return f'viewBox="0 0 {ROW_PAGES} {len(rows)}"', free + gaps + body


def owner_words(found, span):
    """Who owns a span by its samples, in one line; "" when none of its objects was sampled."""
    parts = []
    for owner in span.owners:
        share = f" ({owner.samples} of {span.objects})" if len(span.owners) > 1 or owner.samples != span.objects else ""
        parts.append(first_calls(found.sites[owner.site]) + share)
    if span.others:
        parts.append(f"further sites ({span.others} of {span.objects})")
    return "; ".join(parts)


def picture_data(found, rows):
    """What hovering shows, as a JSON-ready object: spans as short rows, texts and bitmaps by number."""
    names, maps, spans = {}, {}, []

    def number(store, text):
        return store.setdefault(text, len(store))

    for span in sorted(found.spans, key=lambda span: span.page):
        owner = owner_words(found, span)
        bits = f"{span.bitmap:x}" if span.slots <= 1024 and not span.large else ""
        spans.append([span.page, span.pages, 0 if span.large else span.slot_bytes, span.slots, span.objects, span.age,
                      span.flags, number(names, owner) if owner else -1, number(maps, bits), span.size_class])
    return {"base": f"{found.base:x}", "page": found.page_size, "columns": ROW_PAGES,
            "rows": [row for row, _ in rows], "spans": spans, "sites": list(names), "maps": list(maps)}


def to_script(data):
    """JSON that may stand inside a <script> element."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
