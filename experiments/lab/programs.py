"""programs.py - finds, builds and runs the scenario programs, and reads what they report.

Owns:    where programs are, how they are called, what their JSON must look like.
Promise: whatever a program prints, the rest of the laboratory sees complete rows with finite numbers, or
         a LabError of one line.
Never:   judges a finding: each program asserts its own (exit status 0, 1) and says so in its JSON."""

import json
import math
import os
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SOURCES = os.path.join("experiments", "scenarios")
OURS = "holdfast"
ALLOCATORS = [OURS, "go", "jemalloc", "glibc", "bdwgc"]  # the order of all tables; others follow
NUMBERS = ["t", "live_bytes", "heap_alloc", "heap_inuse", "heap_usage", "resident", "fragmentation"]
COLUMNS = ["scenario", "allocator", "variant"] + NUMBERS + ["extra"]
TEXTS = ["scenario", "question", "workload", "metric"]


class LabError(Exception):
    """One line for the user. status: 2 for what the user can put right, 1 for what failed."""

    def __init__(self, message, status=2):
        super().__init__(" ".join(str(message).split()))
        self.status = status


@dataclass
class Result:
    """One run of one program. data is its JSON (checked), or None when it came to none; then problem says why."""
    name: str
    allocator: str
    data: dict = None
    status: int = 0
    seconds: float = 0.0
    problem: str = ""

    @property
    def holds(self):
        return self.data is not None and self.status == 0 and self.data["finding"]["holds"] is True

    @property
    def rows(self):
        return self.data["rows"] if self.data else []


def allocator_order(name):
    return (ALLOCATORS.index(name) if name in ALLOCATORS else len(ALLOCATORS), name)


# ---- finding and building ----

def find_built(objdir):
    """{scenario: {allocator: path}} of the programs in objdir/scenarios."""
    found = {}
    folder = os.path.join(ROOT, objdir, "scenarios")
    for entry in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        path = os.path.join(folder, entry)
        name, dash, allocator = entry.rpartition("-")
        if dash and "." not in entry and os.path.isfile(path) and os.access(path, os.X_OK):
            found.setdefault(name, {})[allocator] = path
    return {name: dict(sorted(found[name].items(), key=lambda item: allocator_order(item[0]))) for name in found}


def find_sources():
    """Names of the scenarios in the tree, built or not: the C files there that have a main."""
    folder = os.path.join(ROOT, SOURCES)
    names = []
    for entry in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if entry.endswith(".c"):
            with open(os.path.join(folder, entry), encoding="utf-8") as file:
                if re.search(r"^int main\(", file.read(), re.MULTILINE):
                    names.append(entry[:-2])
    return names


def known_names(objdir):
    return sorted(set(find_sources()) | set(find_built(objdir)))


def check_name(name, objdir):
    names = known_names(objdir)
    if name not in names:
        raise LabError(f"unknown scenario '{name}'; there are: {', '.join(names) or 'none'}")


def make(*targets):
    """Runs make quietly; what can be built is built. Raises with the first line about an error when not all can; else returns
    the lines that say what was left out because something is not installed."""
    try:
        done = subprocess.run(["make", "-s", "-k", "-j2", *targets], cwd=ROOT, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    except OSError as error:
        raise LabError(f"cannot run make: {error.strerror}") from error
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip()] or ["no output"]
        wrong = [line for line in lines if "error" in line.lower() or "No rule" in line] or lines
        raise LabError(f"make {' '.join(targets)} failed: {wrong[0]}", status=1)
    return [line.strip() for line in done.stdout.splitlines() if "left out because" in line]


def programs_of(name, objdir):
    """{allocator: path} of one scenario; built first when there are none."""
    check_name(name, objdir)
    fault = None
    if name not in find_built(objdir):
        try:
            make("scenarios")
        except LabError as error:
            fault = error
    built = find_built(objdir).get(name)
    if not built:
        raise fault or LabError(f"make scenarios built no program of '{name}'", status=1)
    return built


def choose_allocators(built, wanted):
    """The programs of the wanted allocators; of all when none is named."""
    for allocator in wanted or []:
        if allocator not in built:
            raise LabError(f"no program for allocator '{allocator}'; there are: {', '.join(built)}")
    return {allocator: path for allocator, path in built.items() if not wanted or allocator in wanted}


# ---- running ----

def run_program(name, allocator, path, arguments, timeout, quiet, environment=None):
    """Runs one program for its JSON. quiet: its stderr is kept for Result.problem instead of passed on."""
    with tempfile.TemporaryDirectory(prefix="holdfast-lab-") as scratch:
        out = os.path.join(scratch, "result.json")
        start = time.monotonic()
        try:
            done = subprocess.run([path, "--json", out, *arguments], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE if quiet else None, text=True,
                                  errors="replace", timeout=timeout, check=False,
                                  env={**os.environ, **(environment or {})})
        except subprocess.TimeoutExpired:
            return Result(name, allocator, status=1, seconds=timeout, problem=f"stopped after {timeout:g} s")
        except OSError as error:
            return Result(name, allocator, status=1, problem=f"cannot be run: {error.strerror}")
        result = Result(name, allocator, status=done.returncode, seconds=time.monotonic() - start)
        lines = (done.stderr or "").strip().splitlines()
        result.problem = lines[-1] if lines and done.returncode != 0 else ""
        if done.returncode < 0:
            result.problem = f"died of signal {-done.returncode}"
        elif done.returncode in (0, 1):
            result.data, fault = read_result(out)
            result.problem = result.problem or fault
        if result.data is None:
            result.problem = result.problem or f"ended with status {done.returncode} and no result"
            result.status = result.status or 1
        return result


def run_plain(command, timeout, environment=None):
    """(exit status, last line of stderr) of a program that writes files and needs no input."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True, errors="replace", timeout=timeout, check=False,
                              env={**os.environ, **(environment or {})})
    except subprocess.TimeoutExpired:
        return 1, f"stopped after {timeout:g} s"
    except OSError as error:
        return 1, f"cannot be run: {error.strerror}"
    lines = done.stderr.strip().splitlines()
    return done.returncode, lines[-1] if lines else f"ended with status {done.returncode}"


def read_result(path):
    """(data, "") or (None, what is wrong) of a program's JSON file."""
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except OSError:
        return None, "wrote no JSON"
    except ValueError:
        return None, "wrote JSON that cannot be read"
    fault = find_fault(data)
    return (None, fault) if fault else (data, "")


def find_fault(data):
    """What keeps data from being a result as experiments/README.md describes it; "" when nothing does."""
    if not isinstance(data, dict):
        return "its JSON is not an object"
    for key in TEXTS:
        if not isinstance(data.get(key), str):
            return f"its JSON lacks the text '{key}'"
    finding = data.get("finding")
    if not isinstance(finding, dict) or not isinstance(finding.get("text"), str) or "holds" not in finding:
        return "its JSON lacks the finding"
    if not isinstance(data.get("rows"), list) or not data["rows"]:
        return "its JSON has no rows"
    for number, row in enumerate(data["rows"], 1):
        fault = tidy_row(row)
        if fault:
            return f"row {number} of its JSON: {fault}"
    return ""


def tidy_row(row):
    """Makes numbers of the numbers of a row, in place. Returns what is wrong."""
    if not isinstance(row, dict):
        return "not an object"
    for key in ("scenario", "allocator", "variant", "extra"):
        row[key] = str(row.get(key) or "")
    for key in NUMBERS:
        try:
            row[key] = float(row[key])
        except (KeyError, TypeError, ValueError):
            return f"no number for '{key}'"
        if not math.isfinite(row[key]):
            return f"'{key}' is not finite"
    return ""


def extras(row):
    """{key: value} of a row's free column."""
    pairs = (part.partition("=") for part in row["extra"].split(";") if part)
    return {key.strip(): value.strip() for key, _, value in pairs}


# ---- what the README says ----

def read_questions():
    """{scenario: question} from experiments/README.md: the headings that name a scenario, and their Question lines."""
    path = os.path.join(ROOT, "experiments", "README.md")
    if not os.path.isfile(path):
        return {}
    with open(path, encoding="utf-8") as file:
        text = file.read()
    questions = {}
    for section in re.split(r"^#{2,4} +", text, flags=re.MULTILINE)[1:]:
        name = re.match(r"`?([a-z0-9_]+)`?", section)
        found = re.search(r"\bquestion\b[:.*_ ]*(.+?)(?:\n\s*\n|\n[-*|]|\Z)", section, re.IGNORECASE | re.DOTALL)
        if name and found:
            questions[name[1]] = " ".join(found[1].replace("*", "").split())
    return questions


def ask_question(built):
    """The question that a built program tells: the first line of its --help, after its name. "" when it does not."""
    for path in (built or {}).values():
        try:
            done = subprocess.run([path, "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10,
                                  errors="replace", check=False)
        except (OSError, subprocess.SubprocessError):
            continue
        return (done.stdout.splitlines() or [""])[0].partition(": ")[2]
    return ""
