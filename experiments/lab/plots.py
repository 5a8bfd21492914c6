"""plots.py - curves and bars through gnuplot's SVG terminal, made fit to stand inside an HTML page.

Owns:    the gnuplot scripts, and the rewriting of gnuplot's SVG: its colours become the page's (so that they follow
         light and dark), its ids become unique, its empty groups go.
Never:   draws by itself. Without gnuplot there are no plots, and the report says so.
Safety:  data and labels reach gnuplot as numbers and as single-quoted text, in which it expands nothing."""

import math
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

WIDTH, HEIGHT, FONT = 400, 235, 13
WIDE_WIDTH, WIDE_HEIGHT = 700, 300
BARS_WIDTH, BAR_HEIGHT = 520, 8
MAX_POINTS = 400  # per curve: more cannot be told apart at this size
INK, GRID = "#010101", "#020202"  # stand for the page's colours, see recolour
DASHES = ["solid", "8,4", "2,3", "9,3,2,3", "5,2", "1,2"]


class PlotError(Exception):
    """gnuplot is missing or refused a script."""


@dataclass
class Curve:
    """series: which colour of the page, 0-7. dash: index into DASHES. points: [(x, y)]."""
    label: str
    series: int
    points: list
    dash: int = 0
    width: float = 1.8
    marks: bool = False  # circles instead of a line


@dataclass
class Plot:
    xlabel: str
    ylabel: str
    curves: list
    top: float = None  # highest y, for plots that are to be compared
    names: list = field(default_factory=list)  # of the x positions, for bars
    log_x: bool = False
    log_y: bool = False
    bare: bool = False  # no marks on lines
    wide: bool = False
    span: tuple = None  # lowest and highest x, for plots that are to be compared


def gnuplot_path():
    return shutil.which("gnuplot")


# ---- scripts ----

def quote(text):
    """Single-quoted for gnuplot."""
    return "'" + re.sub(r"[\x00-\x1f]", " ", str(text)).replace("'", "''") + "'"


def thin_out(points):
    """At most MAX_POINTS points: of each stretch its lowest and its highest, so that no peak is lost."""
    if len(points) <= MAX_POINTS:
        return points
    kept, stretch = [], -(-len(points) // (MAX_POINTS // 2 - 1))
    for start in range(0, len(points), stretch):
        part = points[start:start + stretch]
        kept += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return kept if kept[-1] == points[-1] else kept + [points[-1]]


def is_geometric(values):
    """Whether x values had better be shown on a logarithmic axis: positive, wide apart, growing by factors."""
    xs = sorted(set(values))
    if len(xs) < 5 or xs[0] <= 0 or xs[-1] / xs[0] < 64:
        return False
    return xs[len(xs) // 2] < xs[-1] / 8


def frame_script(plot, width, height):
    return f"""set terminal svg size {width},{height} dynamic font 'sans-serif,{FONT}' noenhanced
set encoding utf8
set border 3 lc rgb '{INK}' lw 0.7
set tics nomirror textcolor rgb '{INK}'
set xlabel {quote(plot.xlabel)} offset 0,0.5 textcolor rgb '{INK}'
set ylabel {quote(plot.ylabel)} offset 0.8,0 textcolor rgb '{INK}'
set tmargin 0.7
set bmargin 2.9
set rmargin 2.2
set key off
"""


def data_blocks(plot):
    text = ""
    for number, curve in enumerate(plot.curves):
        rows = "\n".join(f"{x:.10g} {y:.10g}" for x, y in thin_out(curve.points))
        text += f"$curve{number} << EOD\n{rows}\nEOD\n"
    return text


def curve_style(curve, few):
    colour = f"lc rgb '#0a00{curve.series:02x}'"
    if curve.marks:
        return f"points pt 6 ps 0.5 lw 1.4 {colour}"
    dash = "dt solid" if DASHES[curve.dash] == "solid" else f"dt ({DASHES[curve.dash]})"
    return f"{'linespoints pt 7 ps 0.28' if few else 'lines'} {colour} {dash} lw {curve.width}"


def curve_script(plot):
    xs = [x for curve in plot.curves for x, _ in curve.points]
    few = not plot.bare and max(len(curve.points) for curve in plot.curves) <= 40
    parts = [f"$curve{number} using 1:2 with {curve_style(curve, few)} title {quote(curve.label)}"
             for number, curve in enumerate(plot.curves)]
    size = (WIDE_WIDTH, WIDE_HEIGHT) if plot.wide else (WIDTH, HEIGHT)
    text = frame_script(plot, *size) + data_blocks(plot) + f"set grid ytics lt 1 lw 0.6 lc rgb '{GRID}'\n"
    text += "set logscale x 2\nset format x '%.0f'\n" if plot.log_x else "set format x '%g'\n"
    if plot.log_y:
        text += "set logscale y\nset format y '%g'\n"
    else:
        text += f"set yrange [0:{plot.top if plot.top else '*'}]\nset format y '%g'\n"
    if plot.log_x:
        text += f"set xtics {max(4, 4 ** round((math.log2(max(xs) / min(xs))) / 10))}\n"
    low, high = plot.span or (min(xs), max(xs))
    if high > low:
        text += f"set xrange [{low:.10g}:{high:.10g}]\n"
    return text + "plot " + ", ".join(parts) + "\n"


def bar_script(plot):
    """Groups of horizontal bars, one group per name; the i-th point of a curve belongs to the i-th name."""
    count, parts = len(plot.curves), []
    wide = 0.8 / count
    for number, curve in enumerate(plot.curves):
        low = -0.4 + number * wide
        parts.append(f"$curve{number} using (0):1:(0):2:($1+{low:.4f}):($1+{low + wide * 0.85:.4f}) with boxxyerror "
                     f"fs solid 1 noborder lc rgb '#0a00{curve.series:02x}' title {quote(curve.label)}")
    tics = ", ".join(f"{quote(name)} {i}" for i, name in enumerate(plot.names))
    height = 56 + len(plot.names) * max(26, count * BAR_HEIGHT + 14)
    return (frame_script(plot, BARS_WIDTH, height) + data_blocks(plot) + f"set ytics scale 0 ({tics})\n"
            f"set grid xtics lt 1 lw 0.6 lc rgb '{GRID}'\nset xrange [0:*]\nset format x '%g'\n"
            f"set yrange [{len(plot.names) - 0.45}:-0.55]\n" + "plot " + ", ".join(parts) + "\n")


def draw(plot, name):
    """The plot as text of an <svg> element for a page; its ids begin with name."""
    program = gnuplot_path()
    if program is None:
        raise PlotError("gnuplot is not installed")
    script = bar_script(plot) if plot.names else curve_script(plot)
    try:
        done = subprocess.run([program, "-d"], input=script, capture_output=True, text=True, timeout=60, check=False,
                              env={**os.environ, "LC_ALL": "C.UTF-8"})
    except (OSError, subprocess.SubprocessError) as error:
        raise PlotError(f"gnuplot cannot be run: {error}") from error
    if done.returncode != 0 or "</svg>" not in done.stdout:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no output"]
        raise PlotError(f"gnuplot refused a plot: {lines[-1]}")
    return rewrite(done.stdout, name)


# ---- gnuplot's SVG made fit for a page ----

COLOUR = re.compile(r"rgb\(\s*(\d+),\s*(\d+),\s*(\d+)\s*\)")


def recolour(value):
    """The page's variable for a colour of the scripts above, or None."""
    found = COLOUR.fullmatch(value.strip())
    if not found:
        return None
    red, green, blue = map(int, found.groups())
    if (red, green, blue) == (1, 1, 1):
        return "var(--ink)"
    if (red, green, blue) == (2, 2, 2):
        return "var(--grid)"
    return f"var(--s{blue})" if (red, green) == (10, 0) else None


def rewrite_element(element, name):
    """One element: no namespaces, the page's colours, unique ids."""
    element.tag = element.tag.rpartition("}")[2]
    styles = []
    for key in list(element.attrib):
        value = element.attrib.pop(key)
        plain = key.rpartition("}")[2]
        if plain in ("stroke", "fill", "color") and recolour(value):
            styles.append(f"{plain}:{recolour(value)}")
        elif plain == "id":
            element.attrib["id"] = f"{name}-{value}"
        elif plain == "href":
            element.attrib["href"] = f"#{name}-{value.lstrip('#')}"
        elif plain != "font-family":
            element.attrib[plain] = value.strip()
    if styles:
        element.attrib["style"] = ";".join(styles)


def prune(element, used):
    """Drops what shows nothing: empty groups, definitions nobody uses, gnuplot's own title."""
    for child in list(element):
        prune(child, used)
        unused = child.attrib.get("id") is not None and child.attrib["id"] not in used and child.tag in (
            "circle", "path", "rect", "use", "filter")
        if unused or (child.tag == "g" and len(child) == 0) or child.tag == "desc":
            element.remove(child)


def rewrite(text, name):
    try:
        svg = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise PlotError(f"gnuplot wrote SVG that cannot be read: {error}") from error
    for element in svg.iter():
        rewrite_element(element, name)
        element.tail = None
        if element.tag not in ("text", "tspan", "title"):
            element.text = None
    for child in list(svg):
        if child.tag == "title":
            svg.remove(child)
    used = {element.attrib["href"][1:] for element in svg.iter() if "href" in element.attrib}
    prune(svg, used)
    svg.attrib["aria-hidden"] = "true"  # the figure around it has the words, the table below it the numbers
    svg.attrib["focusable"] = "false"
    return ElementTree.tostring(svg, encoding="unicode", short_empty_elements=False)
