"""report.py - runs everything and writes the report: one HTML page, and beside it the rows as CSV.

Owns:    the order of the page and what stands in it; page.py has the elements, plots.py the plots, heapview.py the maps.
Promise: what cannot be had (gnuplot, an allocator, a program that fails) is named in one line and left out; the rest
         is written. Nothing in the page names the machine or a path.
Exit:    0 all findings are reproduced, 1 some are not or something did not run."""

import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import article
import charts
import heapview
import page
import programs
import tables

DEMO = os.path.join("lab", "mapdemo")
TITLE = "Holdfast: the fragmentation laboratory"


def note(line):
    print(f"holdfast-lab: {line}", file=sys.stderr)


# ---- gathering ----

def open_page(out):
    """The page's file, opened before anything takes time; under another name, so that an old page stays until then."""
    for name in ("index.html", os.path.join("data", "scenarios.csv")):
        if os.path.isdir(os.path.join(out, name)):
            raise programs.LabError(f"{os.path.join(out, name)}: cannot be written: it is a directory")
    try:
        os.makedirs(os.path.join(out, "data"), exist_ok=True)
        return open(os.path.join(out, "index.html.part"), "w", encoding="utf-8")
    except OSError as error:
        raise programs.LabError(f"{error.filename or out}: cannot be written: {error.strerror}") from error


def plan(names, options):
    """([(scenario, allocator, path)], [Result] of the scenarios that have no programs)."""
    runs, missing = [], []
    for name in names:
        try:
            built = programs.programs_of(name, options.objdir)
            chosen = programs.choose_allocators(built, [a for a in options.allocator or [] if a in built])
            runs += [(name, allocator, path) for allocator, path in chosen.items()]
        except programs.LabError as error:
            note(error)
            missing.append(programs.Result(name, programs.OURS, status=1, problem=str(error)))
    return runs, missing


def run_all(names, options):
    """[Result] of every program of the named scenarios, one line on stderr each as it ends."""
    runs, results = plan(names, options)

    def run(job):
        result = programs.run_program(*job, options.arguments, options.timeout, quiet=True)
        note(f"{result.name} {result.allocator}: {state_words(result)}, {result.seconds:.1f} s")
        return result

    with ThreadPoolExecutor(options.jobs) as pool:
        return results + list(pool.map(run, runs))


def state_of(result):
    """A key of page.badge. A finding that is only told, not asserted, for an allocator ends with status 0."""
    if result.data is None:
        return "failed"
    if result.holds:
        return "holds"
    return "told" if result.status == 0 else "differs"


def state_words(result):
    words = {"holds": "reproduced", "told": "differs, not asserted here", "differs": "NOT reproduced",
             "failed": "did not run"}
    return words[state_of(result)] + (f" ({result.problem})" if result.problem else "")


def write_data(out, results):
    with open(os.path.join(out, "data", "scenarios.csv"), "w", encoding="utf-8", newline="") as file:
        tables.write_csv(file, results)


@dataclass
class Shot:
    """One state of mapdemo's heap."""
    name: str
    found: heapview.heapmap.HeapMap
    advice: str


def run_demo(options):
    """The heap before and after compaction, with the call sites that the library noted."""
    path = os.path.join(programs.ROOT, options.objdir, DEMO)
    with tempfile.TemporaryDirectory(prefix="holdfast-lab-") as scratch:
        small = ["--small"] if options.small else []
        status, words = programs.run_plain([path, *small, scratch], options.timeout)
        if status != 0:
            raise programs.LabError(f"mapdemo: {words}", status=1)
        shots = []
        for name in ("before", "after"):
            start = os.path.join(scratch, name)
            with open(f"{start}.advice", encoding="utf-8", errors="replace") as file:
                advice = file.read().strip()
            shots.append(Shot(name, heapview.load(f"{start}.map"), advice))
        return shots


# ---- sections ----

def facts(data):
    pairs = [("Question", data["question"]), ("Workload", data["workload"]), ("Metric", data["metric"]),
             ("Finding", data["finding"]["text"])]
    return page.tag("dl", "".join(page.text("dt", k) + page.text("dd", v) for k, v in pairs if v), class_="facts")


def verdicts(results):
    """A table with one line per allocator: what became of the finding there."""
    rows = []
    for result in results:
        finding = result.data["finding"] if result.data else {}
        why = result.problem or str(finding.get("differs") or "")
        rows.append((result.allocator, page.badge(state_of(result)), why, f"{result.seconds:.1f}"))
    body = "".join(page.tag("tr", page.text("th", a, scope="row") + page.tag("td", b, class_="word") +
                            page.text("td", why, class_="word") + page.text("td", s)) for a, b, why, s in rows)
    head = "".join(page.text("th", h, scope="col", class_="word") for h in ("allocator", "finding", "what differs"))
    inner = page.text("caption", "The finding on each allocator") + page.tag("thead", page.tag(
        "tr", head + page.text("th", "seconds", scope="col"))) + page.tag("tbody", body)
    return page.tag("div", page.tag("table", inner), class_="wide", tabindex="0", role="region",
                    aria_label="The finding on each allocator")


def comparison(results, caption, compared=None):
    allocators, lines = tables.compare(results, compared)
    several = len({name for name, *_ in lines}) > 1
    rows, marked = [], set()
    for name, variant, label, cells in lines:
        words = ([name] if several else []) + [variant or "-", label]
        best = set() if label.startswith("live") else tables.lowest(cells)
        marked |= {(len(rows), len(words) + i) for i, a in enumerate(allocators) if a in best}
        rows.append(words + [tables.mib(cells.get(a)) for a in allocators])
    head = (["scenario"] if several else []) + ["variant", "MiB"] + allocators
    return page.table(caption, head, rows, marked, texts=len(head) - len(allocators))


def scenario_section(name, results, draw):
    ours = next((r for r in results if r.allocator == programs.OURS), results[0])
    body = page.tag("h2", page.esc(name) + " " + page.badge(state_of(ours)))
    told = next((r for r in [ours] + results if r.data), None)
    if told is None:
        return page.tag("section", body + page.text("p", f"It did not run: {ours.problem}"), id=f"scenario-{name}")
    body += facts(told.data)
    body += charts.one_allocator(name, told, draw) + charts.against(name, results, draw)
    rows = tables.summarize(told)
    body += page.table(f"What each variant came to on {told.allocator}, MiB", tables.SUMMARY_HEAD, rows)
    head, rows = tables.further(told)
    if rows:
        body += page.details(f"Further figures on {told.allocator}", page.table(
            "What the program itself counted, at the end of each variant", head, rows))
    body += page.details("Allocators side by side", comparison(results, "MiB; the lowest of a line is bold"))
    return page.tag("section", body + verdicts(results), id=f"scenario-{name}")


def article_section(results):
    body = page.text("h2", "The article beside ours")
    body += page.text("p", "“Memory Fragmentation in Go” (2023) prints these figures for Go 1.21.3. Usage is heap_sys − "
                           "heap_released, fragmentation is heap_inuse − heap_alloc. Off: how far our difference to "
                           "phase 1 is from the article’s.")
    rows = []
    for name in article.EXAMPLES:
        for row in results[name][0]:
            rows.append([f"Example {row['example']}", row["phase"], row["article_heap_usage_mib"], row["heap_usage_mib"],
                         row["heap_usage_off_mib"], row["article_max_fragmentation_mib"], row["max_fragmentation_mib"],
                         row["max_fragmentation_off_mib"], row["rss_mib"]])
    pair = ["usage, article", "ours", "off", "fragm., article", "ours", "off", "resident, ours"]
    body += page.table("Examples 1 to 4, MiB", ["example", "phase"] + pair, rows)
    rows = [[row["step"], row["article_heap_usage_mib"], row["draft_heap_usage_mib"], row["heap_usage_mib"],
             row["article_max_fragmentation_mib"], row["draft_max_fragmentation_mib"], row["max_fragmentation_mib"],
             row["rss_mib"]] for row in results[article.TABLE][0]]
    body += page.table("The step table: Example 3 at phase 3 minus the baseline, MiB", [
        "step", "usage, article", "its draft", "ours", "fragm., article", "its draft", "ours", "resident, ours"], rows)
    for name, (_, wrong) in results.items():
        if wrong:
            body += page.tag("p", page.badge("differs") + " " + page.esc(f"{name}: {wrong}"))
    return page.tag("section", body, id="article")


def map_figure(shot, rows, caption):
    view, shapes = heapview.picture(shot.found, rows)
    svg = (f'<svg class="cells" {view} tabindex="0" role="img" aria-label="{page.esc(caption)} Arrow keys choose a page.">'
           f"{shapes}</svg>")
    words = page.tag("figcaption", page.text("strong", caption) + " " + page.esc(heapview.totals_line(shot.found)))
    readout = page.tag("div", page.text("p", "Point at a page, or choose one with the arrow keys."), class_="readout",
                       aria_live="polite")
    data = heapview.to_script(heapview.picture_data(shot.found, rows))
    return page.tag("figure", svg + words + readout + f'<script type="application/json">{data}</script>',
                    id=f"map-{shot.name}", class_="map")


def map_section(shots):
    body = page.text("h2", "The heap before and after compaction")
    body += page.text("p", "Example 4, drawn from two heap maps of gc_dump_heap. Each cell is a page of 8 KiB, a row is "
                           f"{heapview.ROW_PAGES} pages, addresses grow downwards; rows that are empty in both pictures are "
                           "left out. One 16-byte object is enough to keep a page. Point at a page, or "
                           "choose one with the arrow keys: its span is told, and the call stacks that own the objects in it, "
                           "which the library noted while it allocated them and wrote into the maps.")
    names = "".join(page.tag("li", f'<i class="o{i}"></i>' + page.esc(name)) for i, name in enumerate(heapview.LEVEL_NAMES))
    body += page.tag("ul", names + page.tag("li", '<i class="free"></i>free'), class_="legend")
    used = sorted(set().union(*(heapview.used_rows(shot.found.spans, heapview.ROW_PAGES) for shot in shots)))
    rows = heapview.with_gaps(used)
    captions = {"before": "Before: every 512th object is kept.", "after": "After: the kept objects were copied."}
    body += page.tag("div", "".join(map_figure(shot, rows, captions[shot.name]) for shot in shots), class_="maps")
    for shot in shots:
        body += page.table(f"Spans by class, {shot.name}", heapview.CLASS_HEAD, heapview.class_rows(shot.found), texts=2)
        pins = [row[::-1] for row in heapview.pin_rows(shot.found)]
        if pins:
            body += page.table(f"Call stacks that keep spans less than half full, {shot.name}, from the map's samples",
                               heapview.PIN_HEAD[::-1], pins)
    body += page.text("h3", "What gc_advice says before") + page.text("pre", shots[0].advice)
    return page.tag("section", body, id="heap-map")


def overview(names, results, options, gnuplot, absent):
    rows = ""
    for name in names:
        ours = next(r for r in results if r.name == name)
        question = ours.data["question"] if ours.data else ours.problem
        link = page.text("a", name, href=f"#scenario-{name}")
        rows += page.tag("tr", page.tag("th", link, scope="row") + page.text("td", question, class_="word") +
                         page.tag("td", page.badge(state_of(ours)), class_="word"))
    head = "".join(page.text("th", h, scope="col", class_="word") for h in ("scenario", "question", "finding"))
    inner = page.tag("thead", page.tag("tr", head)) + page.tag("tbody", rows)
    table = page.tag("div", page.tag("table", inner), class_="wide", tabindex="0", role="region", aria_label="Scenarios")
    size = "Small sizes (--small): the figures are not those of the full run. " if options.small else ""
    missing = "" if gnuplot else "gnuplot was not installed: tables only. "
    more = "".join(page.tag("li", page.text("a", words, href=f"#{where}")) for where, words in (
        ("article", "The article beside ours"), ("heap-map", "The heap before and after compaction"),
        ("all", "All allocators, one table")))
    times = f"{options.jobs} programs ran at a time: take times as rough. " if options.jobs > 1 else ""
    words = size + times + missing + " ".join(f"{line[0].upper()}{line[1:]}." for line in absent)
    return (table + (page.text("p", words, class_="note") if words else "") +
            page.tag("nav", page.tag("ul", more), aria_label="Further sections"))


def compose(names, results, others, draw, options, absent):
    lead = ("A heap that grows while its live data does not: which workloads do that, why, and what cures it. Every "
            "figure here was measured by the programs in experiments/ when this page was made.")
    body = page.tag("header", page.text("a", "Skip to the scenarios", href="#main", class_="skip") +
                    page.text("h1", TITLE) + page.text("p", lead, class_="lead"))
    body += '<main id="main">' + overview(names, results, options, draw.available, absent)
    body += "".join(others)
    for name in names:
        body += scenario_section(name, [r for r in results if r.name == name], draw)
    everything = tables.COMPARED[2:]
    if any(r.data for r in results):
        body += page.tag("section", page.text("h2", "All allocators, one table") + page.text(
            "p", "The same definitions for each, as experiments/README.md has them; with a malloc, explicit free stands in "
                 "for collection.") + comparison(results, "MiB; the lowest of a line is bold", everything), id="all")
    words = f"Made by make report on {time.strftime('%Y-%m-%d')}; the rows are in data/scenarios.csv beside this page."
    return page.whole(TITLE, body + "</main>" + page.text("footer", words))


def optional_section(make, what):
    """A section, or one line in its place when what it shows cannot be had. Returns (html, whether it is there)."""
    try:
        return make(), True
    except programs.LabError as error:
        note(f"{what}: left out: {error}")
        return page.tag("section", page.text("h2", what) + page.text("p", f"Left out: {error}")), False


def build(options):
    """Everything that the page shows is built first; a part that cannot be is missing later, and named there. Returns the
    lines that say what is not installed."""
    absent = []
    for target in ("scenarios", "example-programs", os.path.join(options.objdir, DEMO)):
        try:
            absent += programs.make(target)
        except programs.LabError as error:
            note(error)
    for line in absent:
        note(line)
    return absent


def write(options):
    """`holdfast-lab report`. Returns the exit status."""
    for name in options.only or []:
        programs.check_name(name, options.objdir)
    for allocator in options.allocator or []:
        if allocator not in programs.ALLOCATORS:
            raise programs.LabError(f"no program for allocator '{allocator}'; there are: {', '.join(programs.ALLOCATORS)}")
    file = open_page(options.out)
    draw = charts.Drawing(note)
    absent = build(options)
    names = options.only or programs.known_names(options.objdir)
    with file:
        results = run_all(names, options)
        examples, examples_there = optional_section(
            lambda: article_section(article.run(options.objdir, options.timeout)), "The article beside ours")
        maps, maps_there = optional_section(lambda: map_section(run_demo(options)), "The heap before and after compaction")
        file.write(compose(names, results, [examples, maps], draw, options, absent))
    os.replace(file.name, os.path.join(options.out, "index.html"))
    write_data(options.out, results)
    bad = [r for r in results if r.status != 0]
    print(f"{os.path.join(options.out, 'index.html')}: {len(names)} scenarios, {len(results)} runs, {draw.count} plots, "
          f"{len(bad)} not as expected")
    return 0 if not bad and examples_there and maps_there else 1
