"""clients.py - owns the table of clients: programs that Debian builds for the other collector's libgc.so.1, and what they are given to do.

A work is a list of commands, run one after the other in an empty folder with some files in it. Its output is all that the
commands print, and digests of the files it makes. It must be the same with either library, byte for byte, after the filters
that the table names and explains. Sizes: full, bounded (for CI; None: not part of it) and stress (a cycle at every n-th
allocation). The packages are installed by tests/tools/install-deps.sh bdw. Used by run.py and bench.py.
"""
import dataclasses
import glob
import gzip
import os

HERE = os.path.dirname(os.path.abspath(__file__))
STALIN_BENCHMARKS = "/usr/share/doc/stalin/benchmarks"


@dataclasses.dataclass
class Work:
    name: str  # client/work
    does: str  # one line for docs/clients.md
    steps: object  # size -> list of commands
    sizes: dict  # full, bounded, stress
    files: object = lambda size: {}  # size -> {name: bytes}
    made: tuple = ()  # files whose bytes belong to the output
    filters: tuple = ()  # (pattern, replacement, why)
    environment: dict = dataclasses.field(default_factory=dict)  # {} stands for the size
    every: int = 1000  # allocations from one cycle to the next in the stress run
    least: int = 1  # collections that each library must have made
    measured: int = -1  # the step that bench.py measures
    limit: int = 120  # seconds for one run


def shipped(*names):
    """Files beside this one, by their last name."""
    def files(_size):
        found = {}
        for name in names:
            with open(os.path.join(HERE, name), "rb") as file:
                found[os.path.basename(name)] = file.read()
        return found
    return files


def guile_compile(source, output):
    return ["guile", "--no-auto-compile", "-c", f'(use-modules (system base compile)) (compile-file "{source}" #:output-file "{output}")']


def guile(program):
    """Compiles a program and runs what was compiled; the compiler is itself a client."""
    return lambda size: [guile_compile(program + ".scm", program + ".go"),
                         ["guile", "--no-auto-compile", "-c", f'(load-compiled "./{program}.go")', str(size)]]


def guile_modules(size):
    """Modules that Guile ships, largest last; compiling them gives the same bytes wherever the objects lie."""
    modules = ["srfi/srfi-1", "ice-9/format", "ice-9/match", "ice-9/peg", "language/cps/compile-bytecode", "web/http"]
    return [guile_compile(f"/usr/share/guile/3.0/{m}.scm", os.path.basename(m) + ".go") for m in modules[:size]]


def web_page(size):
    """Tables in tables, lists, long paragraphs and entities: w3m lays it all out before it prints the first line."""
    rows = "".join(f"<tr><td>{i}</td><td>cell {i * i % 1009} &lt;b&gt; <b>bold {i}</b></td><td><table border><tr><td>"
                   f"inner {i}</td><td><a href='page{i}.html'>link {i}</a></td></tr></table></td></tr>\n" for i in range(size * 10))
    items = "".join(f"<li>item {i}<ul><li>below {i}<ol><li>third {i % 7}</ol></ul>\n" for i in range(size * 10))
    words = "".join(f"<p>{' '.join(f'word{(i * j) % 997}' for j in range(300))}</p>\n" for i in range(size))
    form = "".join(f"<input name=i{i} value='{i}'><select name=s{i}><option>a{i}<option>b</select>\n" for i in range(size))
    page = f"<html><head><title>page</title></head><body><h1>{size}</h1><table border=1>{rows}</table><ul>{items}</ul>{words}<form>{form}</form></body></html>"
    return {"page.html": page.encode()}


def link_names(size):
    """For chase: a chain of links in the folder (made by the first step), and many names that lead through it."""
    script = "i=0; : > end; ln -s end l0; while [ $i -lt 30 ]; do ln -s ./l$i l$((i+1)); i=$((i+1)); done\n"
    names = "".join(f"./{'./' * (i % 50)}l{i % 30}\n" for i in range(size * 100))
    return {"links.sh": script.encode(), "names": names.encode()}


def stalin_program(name):
    """A benchmark that the package ships, with the size of its last loop, if that is a loop, replaced."""
    def files(size):
        found = glob.glob(f"{STALIN_BENCHMARKS}/{name}.sc*")[0]
        with (gzip.open if found.endswith(".gz") else open)(found, "rb") as file:
            source = file.read().replace(b"(= i 1000)", b"(= i %d)" % size).replace(b"(nboyer-benchmark 5)", b"(nboyer-benchmark %d)" % size)
        with open(f"{STALIN_BENCHMARKS}/stalin.sed", "rb") as file:
            return {name + ".sc": source, "stalin.sed": file.read()}
    return files


def stalin(name):
    """The options, and the stack without a limit, are those of the package's own scripts for its benchmarks. The compiler is the client:
    the programs that it makes have memory of their own."""
    options = "-d0 -d1 -d5 -d6 -Ob -Om -On -Or -Ot -copt -O2 -copt -w"
    return lambda size: [["sh", "-c", f"sed -f stalin.sed {name}.sc > program.sc"],
                         ["sh", "-c", f"ulimit -s unlimited && exec stalin {options} program"],
                         ["sh", "-c", "ulimit -s unlimited && exec ./program"]]


def neko(program, boot=False):
    commands = [["nekoc", program + ".neko"]]
    if boot:
        commands.append(["nekotools", "boot", program + ".n"])
    return lambda size: commands + [[f"./{program}" if boot else "neko", *([] if boot else [program + ".n"]), str(size)]]


def nix(size):
    return [["nix-instantiate", "--eval", "--strict", "--json", "--expr", f"import ./work.nix {{ n = {size}; }}"]]


NIX_FOLDERS = {"NIX_STORE_DIR": "{work}/store", "NIX_STATE_DIR": "{work}/state", "NIX_LOG_DIR": "{work}/log", "NIX_CONF_DIR": "{work}/conf",
               "NIX_DATA_DIR": "{work}/data", "NIX_REMOTE": "", "NIX_LOCALSTATE_DIR": "{work}/local",
               "GC_INITIAL_HEAP_SIZE": "1000000"}  # else it asks for 384 MiB, and hardly collects
SIZE = {"WORK_SIZE": "{size}"}
STALIN_TIMES = ((r"(?m)^ *\d+ - +\d+% - ", "", "the seconds and the share of the memory that the compiler prints with each phase"),)

WORKS = [
    Work("guile/trees", "pairs and vectors of all ages, old ones made to point to young ones", guile("trees"),
         {"full": 160, "bounded": 3, "stress": 1}, shipped("guile/trees.scm"), every=40000),
    Work("guile/strings", "strings, symbols, string ports, bytevectors, bignums, fractions", guile("strings"),
         {"full": 4000, "bounded": 100, "stress": 5}, shipped("guile/strings.scm"), every=4000),
    Work("guile/weak", "guardians, weak tables and vectors, object properties, (gc) in loops", guile("weak"),
         {"full": 20000, "bounded": 2000, "stress": 300}, shipped("guile/weak.scm"), every=4000),
    Work("guile/threads", "threads, par-map, futures, a queue between threads, continuations, prompts", guile("threads"),
         {"full": 100, "bounded": 15, "stress": 1}, shipped("guile/threads.scm"), every=8000),
    Work("guile/compile", "the compiler on modules that Guile ships; the object files must be the same, byte for byte", guile_modules,
         {"full": 3, "bounded": 1, "stress": 1}, made=("*.go",), every=60000),
    Work("ecl/work", "structures, CLOS objects, tables, bignums, finalizers, weak tables, threads", lambda size: [["ecl", "--norc", "--load", "work.lisp"]],
         {"full": 100, "bounded": 10, "stress": 1}, shipped("ecl/work.lisp"), environment=SIZE, every=4000),
    Work("ecl/compiled", "binary trees, compiled by ECL's compiler and gcc",
         lambda size: [["ecl", "--norc", "--eval", '(progn (compile-file "trees.lisp") (ext:quit 0))'], ["ecl", "--norc", "--load", "trees.fas"]],
         {"full": 200, "bounded": None, "stress": 2}, shipped("ecl/trees.lisp"), environment=SIZE, every=4000),
    Work("neko/work", "nekoc; arrays, objects, strings, hash tables, buffers, exceptions, closures", neko("work"),
         {"full": 1500, "bounded": 150, "stress": 5}, shipped("neko/work.neko"), made=("*.n",), every=1000),
    Work("neko/boot", "nekoc, nekotools boot, and the executable that makes; binary trees", neko("trees", boot=True),
         {"full": 4000, "bounded": 50, "stress": 1}, shipped("neko/trees.neko"), every=1000),
    Work("w3m/page", "w3m -dump of a page of nested tables, lists, forms and long paragraphs",
         lambda size: [["w3m", "-dump", "-cols", "100", "-T", "text/html", "page.html"]],
         {"full": 200, "bounded": 30, "stress": 1}, web_page, every=1000),
    Work("stalin/tak", "compiles and runs the benchmark tak that it ships", stalin("tak"),
         {"full": 1000, "bounded": 1000, "stress": 1000}, stalin_program("tak"), made=("program.db",), filters=STALIN_TIMES, measured=1, every=20000, limit=300),
    Work("stalin/browse", "compiles and runs the benchmark browse", stalin("browse"),
         {"full": 1000, "bounded": None, "stress": None}, stalin_program("browse"), made=("program.db",), filters=STALIN_TIMES, measured=1),
    Work("stalin/boyer", "compiles, for half a minute, and runs the benchmark boyer", stalin("boyer"),
         {"full": 1000, "bounded": None, "stress": None}, stalin_program("boyer"), made=("program.db",), filters=STALIN_TIMES, limit=300, measured=1),
    Work("poke/work", "structures constructed and mapped, arrays, strings, closures", lambda size: [["poke", "-L", "work.pk", str(size)]],
         {"full": 5000, "bounded": 500, "stress": 20}, shipped("poke/work.pk"), every=1000),
    Work("parser3/work", "hashes, tables, strings, patterns; collects where the program asks", lambda size: [["parser3", "./work.html"]],
         {"full": 20000, "bounded": 2000, "stress": 50}, shipped("parser3/work.html"), environment=SIZE, every=500),
    Work("chase/links", "many names through a chain of links", lambda size: [["sh", "links.sh"], ["sh", "-c", "chase --from-file names | sort | uniq -c"]],
         {"full": 200, "bounded": 50, "stress": 2}, link_names, filters=((r"/\S*/w/", "", "the scratch folder's name"),), every=200),
    Work("objc/work", "the runtime libobjc_gc of gcc's Objective-C",
         lambda size: [["gcc", "-O1", "-w", "-o", "work", "work.m", "-l:libobjc_gc.so.4"], ["./work", str(size)]],
         {"full": 10000, "bounded": 2000, "stress": 2}, shipped("objc/work.m"), every=1000),
    Work("nix/work", "the Nix language: lists, attribute sets, strings, JSON", nix,
         {"full": 60, "bounded": 10, "stress": 1}, shipped("nix/work.nix"), environment=NIX_FOLDERS, every=10000),
    Work("crystal/work", "the Crystal compiler, and the program it makes: fibers, finalizers",
         lambda size: [["crystal", "build", "--no-debug", "-o", "work", "work.cr"], ["./work", str(size)]],
         {"full": 1000, "bounded": None, "stress": None}, shipped("crystal/work.cr")),
]
