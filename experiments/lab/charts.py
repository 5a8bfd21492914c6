"""charts.py - which plots a scenario gets, and their legends.

Owns:    the choice. Variants with a course over t get curves: one panel each, all panels of a group with the same
         scale, and one plot with all variants together. Variants of one point get bars. What a program predicted stands
         beside what it measured. plots.py draws.
Never:   knows a scenario by name, but for the words on its x axis."""

import dataclasses

import page
import plots
import programs
import tables

# Label, field, colour of the page, index into plots.DASHES, width. Curves that tend to coincide differ in width or dash too.
METRICS = [
    ("resident", "resident", 1, 3, 1.6),
    ("heap usage", "heap_usage", 0, 0, 4.2),
    ("in use", "heap_inuse", 3, 0, 1.5),
    ("allocated", "heap_alloc", 2, 0, 1.8),
    ("live in the program", "live_bytes", 5, 2, 1.8),
    ("fragmentation", "fragmentation", 4, 0, 1.8),
]
ALLOCATOR_STYLES = {"holdfast": (0, 0, 2.4), "go": (1, 1, 1.8), "jemalloc": (4, 0, 1.8), "glibc": (3, 3, 1.8),
                    "bdwgc": (2, 4, 1.8), "mimalloc": (6, 2, 1.8)}
COMPARED = [("fragmentation", "Fragmentation"), ("resident", "Resident memory")]
X_NAMES = {"steps": "step", "tsdb": "period", "service": "entries", "mitigations": "round", "compaction": "tick"}
LIMIT = plots.Curve("memory limit", 6, [], 4, 1.4)
COLOURS = 8        # of the page: so many curves in one plot can be told apart
OPEN_PANELS = 8    # more than these are folded away
SHARES = ["utilisation", "waste", "saved", "left_percent"]  # keys of the extra column, in percent
PREDICTED = "predicted_"
PREDICTED_TOGETHER = 4
PAIRS = "panels pairs"


class Drawing:
    """Draws while gnuplot is there; says once why not."""

    def __init__(self, note):
        self.note = note
        self.count = 0
        self.available = plots.gnuplot_path() is not None
        if not self.available:
            note("gnuplot is not installed: the report has tables only (Debian package gnuplot-nox)")

    def figure(self, name, plot, caption):
        """HTML of one plot, "" when it cannot be drawn."""
        if not self.available:
            return ""
        try:
            svg = plots.draw(plot, name)
        except plots.PlotError as error:
            self.note(f"{name}: {error}")
            return ""
        self.count += 1
        labels = ", ".join(curve.label for curve in plot.curves)
        what = f"{'Bars' if plot.names else 'Curves'}: {caption}; {labels}. The tables have the figures."
        return page.figure(name, svg, caption, what, wider=plot.wide)


# ---- data ----

def points(rows, field):
    return [(row["t"], row[field] / tables.MIB) for row in rows]


def has_course(rows):
    """Whether the rows of a variant are a course over t: more than a point before and one after."""
    return len({row["t"] for row in rows}) > 2


def common_top(panels):
    """The same highest y for panels that are looked at together."""
    highest = max((y for curves in panels for curve in curves for _, y in curve.points), default=0)
    return highest * 1.05 if highest > 0 else None


def split(items, size):
    items = list(items)
    return [items[start:start + size] for start in range(0, len(items), size)]


def families(variants):
    """[(family, variants)]: "list/doubled" and "list/never" are of the family "list"; at most COLOURS + 4 in one."""
    found = {}
    for variant in variants:
        family, slash, _ = variant.partition("/")
        found.setdefault(family if slash else "", []).append(variant)
    return [(family, part) for family, members in found.items() for part in split(members, COLOURS + 4)]


def x_name(name):
    return X_NAMES.get(name, "t")


# ---- groups of figures ----

def group(title, legend, panels, layout="panels"):
    """A heading, one legend, the panels; many panels are folded away."""
    panels = [panel for panel in panels if panel]
    if not panels:
        return ""
    inner = legend + page.tag("div", "".join(panels), class_=layout)
    if len(panels) > OPEN_PANELS:
        return page.text("h3", title) + page.details(f"{len(panels)} plots", inner)
    return page.text("h3", title) + inner


def curves_plot(name, curves, top=None, span=None):
    xs = [x for curve in curves for x, _ in curve.points]
    return plots.Plot(x_name(name), "MiB", curves, top, span=span, log_x=plots.is_geometric(xs))


def curve_panels(name, panels, kind, draw):
    """One plot per variant; panels: {variant: curves}."""
    top, xs = common_top(panels.values()), [x for curves in panels.values() for curve in curves for x, _ in curve.points]
    span = (min(xs), max(xs)) if xs else None
    return [draw.figure(f"plot-{name}-{kind}-{number}", curves_plot(name, curves, top, span), variant or name)
            for number, (variant, curves) in enumerate(panels.items(), 1)]


def bar_panels(name, variants, curves_of, kind, draw, unit="MiB", what="at the end"):
    """One plot of bars per family of variants; curves_of(variants) makes the curves."""
    drawn = []
    for number, (family, part) in enumerate(families(variants), 1):
        names = [(v.partition("/")[2] if family else v) or "-" for v in part]
        plot = plots.Plot(unit, "", curves_of(part), names=names)
        drawn.append(draw.figure(f"plot-{name}-{kind}-{number}", plot, f"{family or 'Each variant'}, {what}"))
    return drawn


# ---- one allocator ----

def metric_legend(blocks=False, limit=False):
    entries = [(label, series, "block" if blocks else plots.DASHES[dash], width)
               for label, _, series, dash, width in METRICS]
    if limit:
        entries.append(("memory limit", LIMIT.series, plots.DASHES[LIMIT.dash], LIMIT.width))
    return page.legend(entries)


def find_limit(rows):
    """The memory limit that the program noted in the extra column of a variant, in MiB, or None."""
    limits = [number_or_none(programs.extras(row).get("limit")) for row in rows]
    return max((limit / tables.MIB for limit in limits if limit), default=None)


def metric_curves(rows, span):
    curves = [plots.Curve(label, series, points(rows, field), dash, width) for label, field, series, dash, width in METRICS]
    limit = find_limit(rows)
    if limit:
        curves.append(dataclasses.replace(LIMIT, points=[(x, limit) for x in span]))
    return curves


def one_allocator(name, result, draw):
    """What the scenario did on one allocator: predictions, all variants together, each over time, the rest as bars."""
    groups = tables.stand_alone(result.rows)
    courses = {variant: rows for variant, rows in groups.items() if has_course(rows)}
    html = predictions(name, groups, draw) + together(name, courses, draw)
    times = [row["t"] for rows in courses.values() for row in rows] or [0]
    span = min(times), max(times)
    limited = any(map(find_limit, courses.values()))
    html += group(f"By {x_name(name)} on {result.allocator}", metric_legend(limit=limited), curve_panels(
        name, {variant: metric_curves(rows, span) for variant, rows in courses.items()}, "time", draw))
    rest = [family for family, part in families(groups) if any(v not in courses for v in part)]
    ends = [v for family, part in families(groups) if family in rest for v in part]

    def end_curves(variants):
        return [plots.Curve(label, series, [(i, groups[v][-1][field] / tables.MIB) for i, v in enumerate(variants)])
                for label, field, series, _, _ in METRICS]

    return html + group(f"At the end on {result.allocator}", metric_legend(blocks=True), bar_panels(
        name, ends, end_curves, "end", draw), PAIRS) + shares(name, result, draw)


def share_points(rows, key):
    """[(t, percent)] of the rows whose extra column has the key."""
    pairs = ((row["t"], number_or_none(programs.extras(row).get(key))) for row in rows)
    return [(t, value) for t, value in pairs if value is not None]


def shares(name, result, draw):
    """Shares that the program itself worked out: along a sweep as a curve, else one bar for each variant."""
    curves, ends = [], {variant: rows[-1:] for variant, rows in tables.stand_alone(result.rows).items()}
    for key in SHARES:
        for sweep, rows in tables.sweeps(result.rows).items():
            there = share_points(rows, key)
            if len(there) > 2:
                plot = plots.Plot(sweep, "%", [plots.Curve(key, 0, there)], log_x=plots.is_geometric([x for x, _ in there]))
                curves.append(draw.figure(f"plot-{name}-{key}-{sweep}".replace(" ", "-"), plot, f"{key} by {sweep}"))
        named = [variant for variant, rows in ends.items() if share_points(rows, key)]
        if len(named) > 1:
            curves += share_bars(name, key, named, ends, draw)
    return group(f"Shares on {result.allocator}, %", "", curves, PAIRS)


def share_bars(name, key, variants, ends, draw):
    def bars(part):
        return [plots.Curve(key, 0, [(i, share_points(ends[v], key)[0][1]) for i, v in enumerate(part)])]

    return bar_panels(name, variants, bars, key, draw, "%", key)


def variant_legend(variants):
    return [(variant, i % COLOURS, plots.DASHES[i // 2 % 3], 1.8) for i, variant in enumerate(variants)]


def together(name, courses, draw):
    """Fragmentation of all variants in one plot."""
    if len(courses) < 2:
        return ""
    html, title = "", "Fragmentation, all variants together"
    for number, part in enumerate(split(courses, COLOURS), 1):
        curves = [plots.Curve(v, i, points(courses[v], "fragmentation"), i // 2 % 3) for i, v in enumerate(part)]
        top = common_top([[plots.Curve(v, 0, points(rows, "fragmentation"))] for v, rows in courses.items()])
        plot = curves_plot(name, curves, top)
        plot.bare = plot.wide = True
        caption = title if len(courses) <= COLOURS else f"{title}, part {number}"
        html += group(caption, page.legend(variant_legend(part)), [draw.figure(
            f"plot-{name}-together-{number}", plot, "heap_inuse - heap_alloc")])
    return html


def number_or_none(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def predicted_points(rows, key):
    """([(t, measured)], [(t, predicted)]) of the rows whose extra column has both."""
    measured, predicted = [], []
    for row in rows:
        extra = programs.extras(row)
        pair = number_or_none(extra.get(key)), number_or_none(extra.get(PREDICTED + key))
        if None not in pair and min(pair) >= 0:
            measured.append((row["t"], pair[0]))
            predicted.append((row["t"], pair[1]))
    return measured, predicted


def predictions(name, groups, draw):
    """For each figure that has a prediction in the extra column: the prediction as a line, what was measured as circles."""
    keys = dict.fromkeys(key[len(PREDICTED):] for rows in groups.values() for row in rows[:1]
                         for key in programs.extras(row) if key.startswith(PREDICTED))
    html, number = "", 0
    for part in split((v for v, rows in groups.items() if has_course(rows)), PREDICTED_TOGETHER):
        panels = []
        for key in keys:
            number += 1
            panels.append(prediction_panel(f"plot-{name}-predicted-{number}", key, {v: groups[v] for v in part}, draw))
        legend = page.legend([(variant, i, "solid", 1.8) for i, variant in enumerate(part)])
        html += group("Predicted (lines) and measured (circles)", legend, panels)
    return html


def prediction_panel(figure, key, groups, draw):
    curves = []
    for i, (variant, rows) in enumerate(groups.items()):
        measured, predicted = predicted_points(rows, key)
        if measured:
            curves.append(plots.Curve(f"{variant}, predicted", i, predicted))
            curves.append(plots.Curve(f"{variant}, measured", i, measured, marks=True))
    if not curves:
        return ""
    plot = curves_plot(groups[next(iter(groups))][0]["scenario"], curves)
    plot.bare, plot.ylabel = True, "MiB" if key.endswith("_mib") else "share"
    plot.log_y = not key.endswith("_mib") and all(y > 0 for curve in curves for _, y in curve.points)
    return draw.figure(figure, plot, key.removesuffix("_mib").replace("_", " "))


# ---- allocators side by side ----

def allocator_style(allocator):
    return ALLOCATOR_STYLES.get(allocator, (7, 5, 1.8))


def allocator_legend(grouped, blocks):
    styles = [(allocator, *allocator_style(allocator)) for allocator in grouped]
    return page.legend([(allocator, series, "block" if blocks else plots.DASHES[dash], width)
                        for allocator, series, dash, width in styles])


def against(name, results, draw):
    """The same workload on all allocators: fragmentation and resident memory."""
    results = [result for result in results if result.data]
    if len(results) < 2:
        return ""
    grouped = {result.allocator: tables.stand_alone(result.rows) for result in results}
    variants = list(dict.fromkeys(variant for groups in grouped.values() for variant in groups))
    courses = [v for v in variants if any(has_course(groups.get(v, [])) for groups in grouped.values())]
    ends = [v for v in variants if v not in courses]
    html = ""
    for field, title in COMPARED:
        panels = curve_panels(name, {v: allocator_curves(grouped, v, field) for v in courses}, field, draw)
        html += group(f"{title} on each allocator, by {x_name(name)}", allocator_legend(grouped, False), panels)
        panels = bar_panels(name, ends, lambda part, field=field: allocator_bars(grouped, part, field), f"{field}-end", draw)
        html += group(f"{title} on each allocator, at the end", allocator_legend(grouped, True), panels, PAIRS)
    return html


def allocator_curves(grouped, variant, field):
    curves = []
    for allocator, groups in grouped.items():
        series, dash, width = allocator_style(allocator)
        if variant in groups:
            curves.append(plots.Curve(allocator, series, points(groups[variant], field), dash, width))
    return curves


def allocator_bars(grouped, variants, field):
    curves = []
    for allocator, groups in grouped.items():
        there = [(i, groups[v][-1][field] / tables.MIB) for i, v in enumerate(variants) if v in groups]
        if there:
            curves.append(plots.Curve(allocator, allocator_style(allocator)[0], there))
    return curves
