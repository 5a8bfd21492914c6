"""ranges.py - over which parameters a finding holds: one of the numbers that a scenario chose is changed at a time.

Owns:    which values are tried. The programs know their parameters (--model, --help) and judge themselves.
Output:  one line per parameter: where the finding holds, and where not, with what differs."""

from concurrent.futures import ThreadPoolExecutor

import programs

# {scenario: [(parameter, usual, values)]}; "seed" and "GC_PERCENT" are not --model's, but are set in the same way.
TRIED = {
    "tsdb": [
        ("seed", 1, [1, 2, 3, 4, 5]),
        ("series", 2000, [250, 500, 1000, 2000, 4000, 8000]),
        ("scale", 100, [25, 50, 75, 100, 150, 200, 400]),
        ("dearest", 20, [10, 12, 15, 20, 30, 50]),
        ("spread", 10, [0, 2, 5, 10, 20, 40, 80]),
        ("capacity", 128, [32, 64, 128, 256, 512]),
        ("piece", 32, [1, 8, 32, 64, 128, 512]),
        ("header", 16, [0, 8, 16, 32, 64, 128, 256]),
        ("GC_PERCENT", 100, [25, 50, 75, 100, 150, 200]),
    ],
    "service": [
        ("seed", 1, [1, 2, 3, 4, 5]),
        ("limit", 100, [60, 70, 80, 90, 95, 100, 105, 110, 120, 150]),
        ("favourites", 3, [0, 1, 2, 3, 4, 6, 12, 24]),
        ("keep", 6, [1, 2, 4, 5, 6, 7, 8, 12, 24]),
        ("keep_size", 256, [64, 128, 192, 256, 512, 1023]),
        ("run", 1024, [64, 256, 512, 1024, 2048, 8192]),
        ("requests", 4, [1, 2, 3, 4, 5, 6, 8]),
        ("entry", 100, [25, 50, 75, 100, 150, 200, 400]),
        ("GC_PERCENT", 100, [25, 50, 75, 100, 150, 200]),
    ],
}
HEAD = ["parameter", "usual", "holds at", "does not hold at"]


def arguments_of(parameter, value, options):
    """(arguments, environment) that set one parameter."""
    size = [] if options.full else ["--small"]
    if parameter == "seed":
        return size + ["--seed", str(value)], {}
    if parameter == "GC_PERCENT":
        return size, {parameter: str(value)}
    return size + ["--model", f"{parameter}={value}"], {}


def row_of(parameter, usual, outcomes):
    """Text of one line, from [(value, "" or what differs)]."""
    holds = [str(value) for value, wrong in outcomes if not wrong]
    fails = [f"{value} ({wrong})" for value, wrong in outcomes if wrong]
    return [parameter, str(usual), " ".join(holds) or "-", "; ".join(fails) or "-"]


def try_all(name, options, note):
    """Rows under HEAD, on Holdfast; each attempt is noted when it ends."""
    path = programs.programs_of(name, options.objdir)[programs.OURS]

    def attempt(job):
        arguments, environment = arguments_of(*job, options)
        result = programs.run_program(name, programs.OURS, path, arguments, options.timeout, True, environment)
        wrong = "" if result.holds else result.data["finding"]["differs"] if result.data else result.problem
        note(f"{name}, {job[0]}={job[1]}: {wrong or 'holds'}")
        return wrong

    with ThreadPoolExecutor(options.jobs) as pool:
        tried = [(p, usual, values, list(pool.map(attempt, [(p, v) for v in values]))) for p, usual, values in TRIED[name]]
    return [row_of(p, usual, list(zip(values, outcomes))) for p, usual, values, outcomes in tried]
