"""cli.py - the commands of holdfast-lab.

Owns:    arguments, and what is printed for them.
Exit:    0 done, and the findings are reproduced; 1 a finding is not, or a program failed; 2 bad input: one clear line."""

import argparse
import os
import shutil
import sys

import heapview
import programs
import ranges
import report
import tables

PROGRAM = "holdfast-lab"


def positive(text):
    """Seconds, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds from above 0 to 86400")
    return value


def job_count(text):
    """Programs at a time, for argparse."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 64):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of programs from 1 to 64")
    return int(text)


def whole(text):
    """A whole number from 0 to 2^64 - 1, for argparse; kept as text for the programs."""
    if not (text.isascii() and text.isdigit() and int(text) < 2**64):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number")
    return text


class Parser(argparse.ArgumentParser):
    """Errors in one line."""

    def error(self, message):
        raise programs.LabError(f"{message}; '{self.prog} --help' tells more")


def add_run_options(command):
    command.add_argument("--allocator", action="append", metavar="A", help="only this allocator; may be repeated")
    command.add_argument("--small", action="store_true", help="the size that the checks run: seconds instead of minutes")
    command.add_argument("--seed", type=whole, metavar="N", help="another sequence of random numbers")
    command.add_argument("--timeout", type=positive, default=600.0, metavar="S", help="seconds for each program (600)")


def read_arguments(argv):
    parser = Parser(prog=PROGRAM, description="The fragmentation laboratory: workloads whose heap grows while their live "
                                              "data does not, on several allocators.")
    parser.add_argument("--objdir", default=os.path.join("build", "release"), metavar="DIR", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    commands.add_parser("list", help="the scenarios and their questions")
    run = commands.add_parser("run", help="run a scenario on all its allocators, or on some")
    run.add_argument("name", metavar="NAME")
    add_run_options(run)
    run.add_argument("--csv", metavar="FILE", help="all rows as CSV; - for standard output instead of the table")
    compare = commands.add_parser("compare", help="one table over all allocators")
    compare.add_argument("name", metavar="NAME", help="a scenario, or all")
    add_run_options(compare)
    compare.add_argument("--csv", metavar="FILE", help="all rows as CSV; - for standard output instead of the table")
    show = commands.add_parser("map", help="show a heap map, a file that gc_dump_heap wrote")
    show.add_argument("file", metavar="FILE", help="the map; - for standard input")
    show.add_argument("--width", type=int, metavar="N", help="columns (those of the terminal, or 80)")
    show.add_argument("--rows", type=int, default=32, metavar="N", help="rows of the map at most (32)")
    spread = commands.add_parser("range", help="over which parameters a finding holds, on Holdfast")
    spread.add_argument("name", metavar="NAME", help=" or ".join(ranges.TRIED))
    spread.add_argument("--full", action="store_true", help="at full size: hours instead of minutes")
    spread.add_argument("--jobs", type=job_count, default=1, metavar="N", help="programs at a time (1)")
    spread.add_argument("--timeout", type=positive, default=600.0, metavar="S", help="seconds for each program (600)")
    page = commands.add_parser("report", help="run everything and write one HTML page")
    page.add_argument("--out", default=os.path.join("build", "report"), metavar="DIR", help="where to (build/report)")
    page.add_argument("--only", action="append", metavar="NAME", help="only this scenario; may be repeated")
    add_run_options(page)
    page.add_argument("--jobs", type=job_count, default=1, metavar="N",
                      help="programs at a time (1); with more the times in the tables are not to be trusted")
    options = parser.parse_args(argv)
    if options.command in ("run", "compare", "report"):
        options.arguments = (["--small"] if options.small else []) + (["--seed", options.seed] if options.seed else [])
    return options


# ---- list ----

def list_scenarios(options):
    names = programs.known_names(options.objdir)
    if not names:
        raise programs.LabError("there are no scenarios in experiments/scenarios", status=1)
    built, questions = programs.find_built(options.objdir), programs.read_questions()
    for name in names:
        allocators = ", ".join(built.get(name, [])) or "not built yet"
        question = questions.get(name) or programs.ask_question(built.get(name)) or "(its question is told once it is built)"
        print(f"{name:12} {question}\n{'':12} [{allocators}]")
    return 0


# ---- run, compare ----

def open_csv(path):
    """The file for --csv, opened before anything runs; None without one."""
    if path is None:
        return None
    if path == "-":
        return sys.stdout
    try:
        return open(path, "w", encoding="utf-8", newline="")
    except OSError as error:
        raise programs.LabError(f"{path}: cannot be written: {error.strerror}") from error


def run_named(names, options, quiet):
    results = []
    for name in names:
        chosen = programs.choose_allocators(programs.programs_of(name, options.objdir), options.allocator)
        for allocator, path in chosen.items():
            result = programs.run_program(name, allocator, path, options.arguments, options.timeout, quiet)
            if quiet:
                report.note(f"{name} {allocator}: {report.state_words(result)}, {result.seconds:.1f} s")
            results.append(result)
    return results


def finish(results, csv_file, options):
    """Writes the CSV; the worst exit status of the programs, as the laboratory has them."""
    if csv_file is not None:
        try:
            tables.write_csv(csv_file, results)
            csv_file.flush()
        except OSError as error:
            raise programs.LabError(f"{options.csv}: cannot be written: {error.strerror}") from error
    return max((2 if r.status == 2 else 1 if r.status != 0 else 0 for r in results), default=1)


def print_run(result):
    print(f"\n{result.name} on {result.allocator}: {report.state_words(result)}")
    if result.data is None:
        return
    finding = result.data["finding"]
    print(tables.format_table(tables.SUMMARY_HEAD, tables.summarize(result)))
    if finding.get("differs"):
        print(f"Differs: {finding['differs']}")


def run(options):
    """The question, a table per allocator, the verdict."""
    programs.check_name(options.name, options.objdir)
    csv_file = open_csv(options.csv)
    results = run_named([options.name], options, quiet=not sys.stderr.isatty())
    if options.csv != "-":
        told = next((r.data for r in results if r.data), None)
        if told:
            for key in ("question", "workload", "metric"):
                print(f"{key.capitalize() + ':':10} {told[key]}")
            print(f"{'Finding:':10} {told['finding']['text']}")
            print("Figures in MiB at the end of each variant, and the highest on the way.")
        for result in results:
            print_run(result)
    return finish(results, csv_file, options)


def compare(options):
    names = programs.known_names(options.objdir) if options.name == "all" else [options.name]
    if not names:
        raise programs.LabError("there are no scenarios in experiments/scenarios", status=1)
    for name in names:
        programs.check_name(name, options.objdir)
    csv_file = open_csv(options.csv)
    results = run_named(names, options, quiet=True)
    if options.csv != "-" and any(r.data for r in results):
        print(tables.comparison_text(results))
        print("* the lowest of the line")
    return finish(results, csv_file, options)


# ---- range ----

def show_range(options):
    programs.check_name(options.name, options.objdir)
    if options.name not in ranges.TRIED:
        raise programs.LabError(f"no parameters of '{options.name}' were chosen so that its finding shows; of these some were: "
                                f"{', '.join(ranges.TRIED)}")
    print(tables.format_table(ranges.HEAD, ranges.try_all(options.name, options, report.note)))
    return 0


# ---- map ----

def show_map(options):
    width = options.width
    if width is None:
        width = min(max(shutil.get_terminal_size((80, 24)).columns, 24), heapview.MAX_WIDTH)
    heapview.print_map(options.file, width, options.rows)
    return 0


COMMANDS = {"list": list_scenarios, "run": run, "compare": compare, "range": show_range, "map": show_map, "report": report.write}


def main(argv=None):
    try:
        options = read_arguments(argv)
        status = COMMANDS[options.command](options)
        sys.stdout.flush()
        return status
    except programs.LabError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return error.status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"{PROGRAM}: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{PROGRAM}: interrupted", file=sys.stderr)
        return 130
