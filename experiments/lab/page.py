"""page.py - pieces of HTML, each of which escapes the text it is given.

Owns:    the elements that the report is made of, and the page around them, with page.css and page.js inside.
Promise: the page needs nothing but itself: no request leaves it."""

import html
import os

HERE = os.path.dirname(os.path.abspath(__file__))


def esc(text):
    return html.escape(str(text), quote=True)


def read_asset(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        return file.read()


def tag(name, content, **attributes):
    """<name attributes>content</name>; content is HTML already, attributes are text. class_ stands for class."""
    attrs = "".join(f' {key.rstrip("_").replace("_", "-")}="{esc(value)}"' for key, value in attributes.items()
                    if value is not None)
    return f"<{name}{attrs}>{content}</{name}>"


def text(name, content, **attributes):
    return tag(name, esc(content), **attributes)


def badge(state):
    """The verdict, in words and colour. state: a key of the table below."""
    words = {"holds": "reproduced", "differs": "not reproduced", "told": "differs here, not asserted",
             "failed": "did not run"}
    return text("span", words[state], class_=f"badge {state}")


def table(caption, head, rows, marked=None, texts=1):
    """A table that scrolls sideways by itself. head, rows: text; marked: {(row, column)} of the best cells;
    texts: how many columns, from the left, are words."""
    marked = marked or set()
    cells = []
    for r, row in enumerate(rows):
        line = text("th", row[0], scope="row")
        for c, cell in enumerate(row[1:], 1):
            style = "word" if c < texts else "best" if (r, c) in marked else None
            line += text("td", cell, class_=style)
        cells.append(tag("tr", line))
    top = "".join(text("th", name, scope="col", class_="word" if c < texts else None) for c, name in enumerate(head))
    inner = text("caption", caption) + tag("thead", tag("tr", top)) + tag("tbody", "".join(cells))
    return tag("div", tag("table", inner), class_="wide", tabindex="0", role="region", aria_label=caption)


def legend(entries):
    """entries: [(label, series, dash pattern or "solid" or "block", width)]; the lines as they are in the plots."""
    parts = []
    for label, series, dash, width in entries:
        if dash == "block":
            parts.append(tag("li", f'<i style="background:var(--s{int(series)})"></i>' + esc(label)))
            continue
        pattern = "" if dash == "solid" else f' stroke-dasharray="{esc(dash)}"'
        line = (f'<svg viewBox="0 0 30 10" aria-hidden="true"><path d="M0 5h30" style="stroke:var(--s{int(series)});'
                f'stroke-width:{width + .7}"{pattern}></path></svg>')
        parts.append(tag("li", line + esc(label)))
    return tag("ul", "".join(parts), class_="legend")


def figure(name, svg, caption, what, wider=False):
    """A plot under its caption. what: the words for those who cannot see it; the numbers are in the tables."""
    return tag("figure", text("figcaption", caption) + tag("div", svg, role="img", aria_label=what), id=name,
               class_="plot wider" if wider else "plot")


def details(summary, content):
    return tag("details", text("summary", summary) + content)


def whole(title, body):
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{esc(title)}</title>
<link rel="icon" href="data:,">
<style>
{read_asset("page.css")}</style>
</head>
<body>
{body}
<script>
{read_asset("page.js")}</script>
</body>
</html>
"""
