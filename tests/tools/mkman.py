#!/usr/bin/env python3
"""mkman.py - makes the manual pages and docs/api.md from what is written once: the public headers (section 3), docs/man/holdfast.7.md
and docs/tuning.md (section 7).

Usage:    mkman.py FOLDER     writes FOLDER/man3/*.3, FOLDER/man7/*.7 and FOLDER/api.md
Promises: the same bytes from the same sources; every public function is on exactly one page, and has a page or a link of
          its name. Reads of a header: banners /* ---- name ---- */, and comments followed by the declarations they are about.
Never:    invents text. docs/man/pages.txt only says which functions share a page.
"""
import glob
import os
import re
import sys

FUNCTION = re.compile(r"\b(gc_\w+)\s*\(")


class Item:
    """A comment and the declarations below it. A section banner has a title instead of declarations."""

    def __init__(self, title, text, declarations):
        self.title, self.text, self.declarations = title, text, declarations

    def functions(self):
        names = []
        for d in self.declarations:
            if d.startswith("#define"):
                found = re.match(r"#define (gc_\w+)\(", d)
            else:
                found = None if d.startswith(("struct", "typedef")) else FUNCTION.search(d)
            if found and not found.group(1).endswith("_"):
                names.append(found.group(1))
        return names


class Header:
    def __init__(self, path):
        self.name = os.path.basename(path)
        with open(path) as file:
            text = file.read()
        head = re.match(r"/\*(.*?)\*/", text, re.S).group(0)
        lines = comment_lines(head)
        self.head = lines[1:]
        summary = re.sub(r"^gc_\w+\.h - ", "", lines[0])
        first = " ".join(until_blank([summary] + self.head))
        self.summary = re.split(r"[:.](?: |$)", first)[0]
        # A head that begins with a paragraph of its own that only names the header says it in NAME already.
        if first.rstrip(".") == self.summary:
            self.head = self.head[len(until_blank([summary] + self.head)) - 1:]
        else:
            self.head = [summary[:1].upper() + summary[1:]] + self.head
        self.items = items(body_lines(text))

    def functions(self):
        return [f for i in self.items for f in i.functions()]


def until_blank(lines):
    taken = []
    for line in lines:
        if not line.strip():
            break
        taken.append(line.strip())
    return taken


def comment_lines(comment):
    """The text of a comment, without its frame; what is indented stays so."""
    text = re.sub(r"^/\*+ ?|\s*\*/$", "", comment)
    return [re.sub(r"^ \* ?", "", line) for line in text.split("\n")]


def body_lines(text):
    """What lies between the inclusion guard's frame and its end, without the compiler's attributes' definitions."""
    start = text.index('extern "C" {\n#endif') + len('extern "C" {\n#endif')
    body = text[start:text.rindex("#ifdef __cplusplus")]
    body = re.sub(r"#if defined\(__GNUC__\)\n.*?\n#endif\n", "", body, flags=re.S)
    return re.sub(r"\b(GC_API|GC_UNUSED_RESULT|GC_ALLOC_FN\([^)]*\)) ", "", body).split("\n")


def take(lines, done):
    """Lines up to the first after which done says so; they are removed."""
    taken = []
    while lines:
        taken.append(lines.pop(0))
        if done("\n".join(taken)):
            break
    return "\n".join(taken)


def items(lines):
    found, lines = [], list(lines)
    comment = None
    while lines:
        line = lines[0]
        if not line.strip():
            lines.pop(0)
            comment = None
        elif line.startswith("/*"):
            comment = take(lines, lambda t: t.rstrip().endswith("*/"))
            text = comment_lines(comment)
            banner = re.match(r"-{2,} (.*?) -{2,}$", text[0])
            # A banner may say more on its own line, or below it.
            banner = banner or re.match(r"-{2,} (.*)", text[0])
            if banner:
                found.append(Item(banner.group(1).rstrip("- "), text[1:], []))
                comment = None
            else:
                found.append(Item(None, text, []))
        else:
            if line.startswith("#"):
                declaration = take(lines, lambda t: not t.endswith("\\"))
            else:
                declaration = take(lines, lambda t: t.count("{") == t.count("}") and re.search(r";(\s*/\*.*\*/)?\s*$", t))
            note = None if "{" in declaration else re.search(r";\s*/\*(.*?)\*/$", declaration.strip(), re.S)
            if comment is None or note:
                found.append(Item(None, [note.group(1).strip()] if note else [], []))
                comment = ""
            found[-1].declarations.append(re.sub(r"\s*/\*.*", "", declaration) if note else declaration.strip())
    return found


# ---- text: a list of lines into blocks ----


def blocks(lines):
    """("text", words), ("item", words) for "- ..." and "N. ...", ("code", lines) for what is indented by 2 and more."""
    out = []
    for line in lines + [""]:
        stripped = line.strip()
        last = out[-1] if out else None
        bullet = re.match(r"\s*(- |\d+\. )(.*)", line)
        if not stripped:
            out.append(("gap", ""))
        elif bullet:
            out.append(("item", bullet.group(2)))
        elif line.startswith("  ") and last and last[0] == "item":
            out[-1] = ("item", last[1] + " " + stripped)
        elif line.startswith("  "):
            if last and last[0] == "code":
                out[-1] = ("code", last[1] + [line])
            else:
                out.append(("code", [line]))
        elif last and last[0] == "text":
            out[-1] = ("text", last[1] + " " + stripped)
        else:
            out.append(("text", stripped))
    return [b for b in out if b[0] != "gap"]


def dedent(lines):
    edge = min(len(l) - len(l.lstrip()) for l in lines if l.strip())
    return [l[edge:] for l in lines]


# ---- roff (man(7)) ----


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return "\\&" + text if text.startswith((".", "'")) else text


NAMES = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\b((?:gc|GC)_\w+(?:\(\d\))?)")


def roff_words(text, bold=True):
    """Escaped text with names in bold, and words in backticks or two stars too."""
    out, at = "", 0
    for found in NAMES.finditer(text):
        out += roff(text[at:found.start()]).removeprefix("\\&" if at else "")
        out += "\\fB" + roff(next(g for g in found.groups() if g)) + "\\fP"
        at = found.end()
    out += roff(text[at:])
    return "\\&" + out if out.startswith(".") else out


def roff_lines(text):
    """One sentence a line: what formatters want to see the ends of."""
    return re.sub(r"([.:;!?]\)?) +(?=[A-Z\\])", r"\1\n", roff_words(text)).split("\n")


def roff_blocks(lines, first=False):
    """Paragraphs; first: directly below a heading, where no paragraph macro may stand."""
    out = []
    for kind, value in blocks(lines):
        if kind == "code":
            out += [".PP", ".RS 4", ".nf"] + [roff(l) for l in dedent(value)] + [".fi", ".RE"]
        elif kind == "item":
            out += [".IP \\(bu 2"] + roff_lines(value)
        else:
            out += ([] if first and not out else [".PP"]) + roff_lines(value)
    return [l for l in out if l != ""]


def roff_code(text):
    return [".nf"] + [roff(l) if l else ".sp" for l in text.split("\n")] + [".fi"]


def finished(lines):
    """No paragraph macro directly below a heading or another one."""
    out = []
    for line in lines:
        if not (line == ".PP" and out and out[-1].startswith((".S", ".PP"))):
            out.append(line)
    return "\n".join(out) + "\n"


def see_also(pages, this, more):
    names = [f"\\fB{p}\\fP(3)" for p in pages if p != this] + [f"\\fB{m}\\fP(7)" for m in more]
    return [".SH SEE ALSO"] + [n + ("," if n != names[-1] else "") for n in names]


def page_head(name, section, settings):
    return ['.\\" Made by tests/tools/mkman.py from the public headers and docs/man; do not edit.',
            f'.TH {name.upper()} {section} {settings["date"]} "Holdfast {settings["version"]}" "Holdfast"']


def declared(item):
    """An item's declarations for a synopsis: structs only by name."""
    return [d for d in item.declarations if not d.startswith(("struct", "#define GC_"))]


def make_page(page, settings):
    header, own = page["header"], page["items"]
    out = page_head(page["name"], 3, settings)
    out += [".SH NAME", roff(", ".join(page["functions"])) + " \\- " + roff(page["summary"])]
    out += [".SH SYNOPSIS", ".nf", f"\\fB#include <{header.name}>\\fP"]
    for item in own:
        for d in declared(item):
            out += [".sp"] + ["\\fB" + roff(l) + "\\fP" for l in d.split("\n")]
    out += [".fi", ".PP", "cc ... $(pkg\\-config \\-\\-cflags \\-\\-libs holdfast)", ".SH DESCRIPTION"]
    for item in own:
        out += item_roff(item, fresh=out[-1] == ".SH DESCRIPTION")
    out += [".SH NOTES"] + roff_blocks(header.head, first=True)
    return finished(out + see_also(settings["pages"], page["name"], ["holdfast"]))


def item_roff(item, fresh):
    if item.title is not None:
        return [".SS " + roff(item.title[:1].upper() + item.title[1:])] + roff_blocks(item.text, first=True)
    out, names = [], item.functions()
    if names:
        out += [".PP"] if not fresh else []
        out += [".B " + ", ".join(f"{n}()" for n in names)]
    for d in item.declarations:
        if d.startswith(("struct", "#define GC_", "typedef struct {")):
            out += ([".PP"] if not fresh or out else []) + roff_code(d)
    body = roff_blocks(item.text, first=bool(names))
    return out + ([".RS 4"] + body + [".RE"] if names and body else body)


# ---- which functions are on which page ----


def read_pages(path):
    rows, settings = [], {}
    with open(path) as file:
        for line in file:
            parts = [p.strip() for p in line.split("|")]
            if line.startswith("#") or not line.strip():
                continue
            if len(parts) == 2:
                settings[parts[0]] = parts[1]
            else:
                rows.append({"name": parts[0], "summary": parts[1], "functions": parts[2].split(), "items": []})
    return rows, settings


def distribute(headers, rows):
    """Fills the rows' items and adds pages for what they do not name. Returns the pages that have something."""
    home = {f: r for r in rows for f in r["functions"]}
    pages = []
    for header in headers:
        now, pending = None, []
        for item in header.items:
            names = item.functions()
            listed = next((home[n] for n in names if n in home), None)
            if names and now is None and listed is None:
                listed = {"name": header.name[:-2], "summary": header.summary, "functions": [], "items": []}
            now = listed or now
            if not names:
                pending.append(item)  # a banner or a struct: goes with what follows it
                continue
            if now not in pages:
                pages.append(now)
                now["header"] = header
            now["items"] += pending + [item]
            now["functions"] += [n for n in names if n not in now["functions"]]
            pending = []
        if now:
            now["items"] += pending
    missing = [f for r in rows for f in r["functions"] if f not in {n for h in headers for n in h.functions()}]
    if missing:
        sys.exit(f"docs/man/pages.txt names what no header declares: {' '.join(missing)}")
    return pages


# ---- section 7, from Markdown ----


def options_roff(path):
    out = []
    with open(path) as file:
        for line in file:
            row = re.match(r"\| `(GC_\w+)` \| (.*?) \| (.*?) \| (.*) \|$", line)
            if row:
                out += [".TP", f"\\fB{roff(row.group(1))}\\fP ({roff_words(row.group(2))}; {roff_words(row.group(3))})"]
                out += roff_lines(row.group(4) + ".")
    return out


def make_overview(path, settings):
    """Headings, paragraphs, lists, fenced code; <!-- options --> is the table of docs/tuning.md."""
    name = os.path.basename(path).split(".")[0]
    out, text, code = page_head(name, 7, settings), [], None

    def flush():
        out.extend(roff_blocks(text, first=out[-1].startswith(".S")))
        text.clear()

    with open(path) as file:
        for line in file.read().split("\n"):
            if line.startswith("```"):
                flush()
                if code is not None:
                    out.extend([".PP", ".RS 4"] + roff_code("\n".join(code)) + [".RE"])
                code = [] if code is None else None
            elif code is not None:
                code.append(line)
            elif line == "<!-- options -->":
                flush()
                out.extend(options_roff(os.path.join(settings["root"], "docs/tuning.md")))
            elif line.startswith("## "):
                flush()
                out.append(".SH " + roff(line[3:].upper()))
            elif not line.startswith(("# ", "<!--")):
                text.append(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line))
    flush()
    return finished(out + see_also(settings["pages"], None, []))


# ---- docs/api.md ----


def markdown_text(lines):
    out = []
    for kind, value in blocks(lines):
        if kind == "code":
            out += ["", "```text"] + dedent(value) + ["```", ""]
        elif kind == "item":
            out += ["- " + markdown_words(value)]
        else:
            out += ["", markdown_words(value), ""]
    return out


def markdown_words(text):
    text = re.sub(r"(?<![`\w])((?:gc|GC)_\w+(?:\.h)?)", r"`\1`", text)
    return re.sub(r"(?<=\s)([<*|])", r"\\\1", text)


def make_api(headers):
    out = ["# API", "", "Made from the public headers by `tests/tools/mkman.py`; do not edit. The same text is in the manual pages, `man gc_alloc`.", ""]
    for header in headers:
        out += [f"## {header.name}", ""] + markdown_text(header.head)
        for item in header.items:
            if item.title is not None:
                out += ["", f"### {item.title[:1].upper() + item.title[1:]}", ""]
            if item.declarations:
                out += ["", "```c declarations"] + "\n".join(item.declarations).split("\n") + ["```", ""]
            out += markdown_text(item.text)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).rstrip() + "\n"


def write(folder, name, text):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: mkman.py FOLDER")
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
    headers = [Header(p) for p in sorted(glob.glob(os.path.join(root, "api/gc_*.h")))]
    rows, settings = read_pages(os.path.join(root, "docs/man/pages.txt"))
    with open(os.path.join(root, "Makefile")) as file:
        settings["version"] = re.search(r"^VERSION := (.*)$", file.read(), re.M).group(1)
    pages = distribute(headers, rows)
    settings["pages"], settings["root"] = sorted(p["name"] for p in pages), root
    for page in pages:
        write(sys.argv[1], f"man3/{page['name']}.3", make_page(page, settings))
        for function in page["functions"]:
            if function != page["name"]:
                write(sys.argv[1], f"man3/{function}.3", f".so man3/{page['name']}.3\n")
    write(sys.argv[1], "man7/holdfast.7", make_overview(os.path.join(root, "docs/man/holdfast.7.md"), settings))
    write(sys.argv[1], "api.md", make_api(headers))


if __name__ == "__main__":
    main()
