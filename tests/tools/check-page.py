#!/usr/bin/env python3
"""check-page.py - checks the laboratory's report: every figure is there and shows something, and it needs no network.

Usage: check-page.py FILE [--plots] [--ran] SCENARIO...
  --plots  gnuplot was there: each scenario has plots          --ran  FILE is the page as a browser left it: its script ran
Exit: 0 fine, 1 with one line per fault."""

import html.parser
import re
import sys

VOID = {"meta", "link", "br", "img", "input", "hr", "wbr"}


class Page(html.parser.HTMLParser):
    """Elements as (tag, attributes, names of the sections and figures around it)."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.faults, self.text = [], [], [], {}
        self.feed(text)
        if self.open:
            self.faults.append(f"not closed: {self.open[-1][0]}")

    def handle_starttag(self, tag, attrs):
        around = tuple(name for _, name in self.open if name)
        self.elements.append((tag, dict(attrs), around))
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("id") if tag in ("section", "figure") else None))

    def handle_endtag(self, tag):
        if not self.open or self.open[-1][0] != tag:
            self.faults.append(f"</{tag}> closes {self.open[-1][0] if self.open else 'nothing'}")
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        for _, name in self.open:
            if name:
                self.text[name] = self.text.get(name, "") + data

    def count(self, tag, where, test=lambda attrs: True):
        return sum(1 for t, attrs, around in self.elements if t == tag and where in around and test(attrs))


def check_figures(page, names, plots, ran):
    figures = [attrs.get("id") for tag, attrs, _ in page.elements if tag == "figure"]
    for figure in figures:
        if page.count("path", figure, lambda a: len(a.get("d", "")) > 8) == 0:
            yield f"the figure {figure} shows nothing"
    for name in names:
        section = f"scenario-{name}"
        if page.count("table", section) < 3:
            yield f"{section}: its tables are missing"
        if plots and not any(f"plot-{name}-" in figure for figure in figures):
            yield f"{section}: no plot"
    if not plots and any(figure.startswith("plot-") for figure in figures):
        yield "plots without gnuplot"
    for figure in ("map-before", "map-after"):
        if figure not in figures:
            yield f"no figure {figure}"
        elif ran and not any(a.get("data-ready") == "true" for t, a, _ in page.elements if a.get("id") == figure):
            yield f"{figure}: the script did not attach to it"
    if page.count("tr", "article") < 1 + 14 + 1 + 5:
        yield "the article's tables are not whole"
    if "pinned by fragment+0x" not in page.text.get("map-before", "") if ran else "fragment+0x" not in page.text.get("map-before", ""):
        yield "the map does not know who pins its spans"


def check_whole(page, text):
    ids = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
    for twice in sorted({name for name in ids if ids.count(name) > 1}):
        yield f"the id {twice} is there twice"
    for tag, attrs, _ in page.elements:
        for key in ("src", "href", "action", "data"):
            target = attrs.get(key) or "#"
            if not target.startswith(("#", "data:")):
                yield f"<{tag} {key}={target}> leaves the page"
            if target.startswith("#") and len(target) > 1 and target[1:] not in ids:
                yield f"<{tag} {key}={target}> points nowhere"
    if re.search(r"@import|url\(\s*['\"]?(?!#|data:)", text):
        yield "a style leaves the page"


def main(arguments):
    plots, ran = "--plots" in arguments, "--ran" in arguments
    path, *names = [a for a in arguments if not a.startswith("--")]
    with open(path, encoding="utf-8") as file:
        text = file.read()
    page = Page(text)
    faults = ([] if ran else page.faults) + list(check_figures(page, names, plots, ran)) + list(check_whole(page, text))
    for fault in faults[:20]:
        print(f"check-page: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
