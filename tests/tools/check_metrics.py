"""check_metrics.py - fails, with a word why, unless standard input is OpenMetrics text as a strict reader wants it.
Written from the specification (OpenMetrics 1.0). Where the distribution's python3-prometheus-client is installed, its parser reads
the text as well; HOLDFAST_NEED_CLIENT=1 makes its absence an error."""
import math, os, re, sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf'^({NAME})(?:\{{({NAME})="([^"\\\n]*)"\}})? (\S+)$')
META = re.compile(rf"^# (HELP|TYPE|UNIT) ({NAME}) (\S.*)$")
SUFFIX = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}


def require(ok, line, why):
    if not ok:
        sys.exit(f"line {line}: {why}")


def check_histogram(at, samples):
    buckets = [(float(label), value) for suffix, label, value in samples if suffix == "_bucket"]
    rest = {suffix: value for suffix, _, value in samples if suffix != "_bucket"}
    require(buckets and buckets[-1][0] == math.inf, at, "the last bucket is not +Inf")
    for (le0, n0), (le1, n1) in zip(buckets, buckets[1:]):
        require(le0 < le1 and n0 <= n1, at, "buckets do not rise")
    require(("_sum" in rest) == ("_count" in rest), at, "a sum without a count, or the other way round")
    require(rest.get("_count", buckets[-1][1]) == buckets[-1][1], at, "the count is not that of the last bucket")


def check(text):
    require(text.endswith("# EOF\n"), 0, "does not end with # EOF")
    families, name, kind, samples = set(), None, None, []
    lines = text.split("\n")[:-2]
    for at, line in enumerate(lines, 1):
        meta = META.match(line)
        if meta:
            word, of, what = meta.groups()
            if of != name:
                require(name is None or samples, at, f"family {name} has no samples")
                if kind == "histogram":
                    check_histogram(at, samples)
                require(of not in families, at, f"family {of} twice")
                families.add(of)
                name, kind, samples, seen, words = of, None, [], set(), set()
            require(not samples, at, "metadata after samples")
            require(word not in words, at, f"{word} twice")
            words.add(word)
            if word == "TYPE":
                require(what in SUFFIX, at, f"unknown type {what}")
                kind = what
            if word == "UNIT":
                require(name.endswith("_" + what), at, f"the unit {what} is not in the name")
            continue
        sample = SAMPLE.match(line)
        require(sample, at, f"neither metadata nor a sample: {line}")
        full, label, label_value, text_value = sample.groups()
        require(name is not None and kind is not None, at, "a sample without TYPE")
        require("HELP" in words, at, f"{name} has no HELP")
        require(full.startswith(name) and full[len(name):] in SUFFIX[kind], at, f"{full} is no sample of the {kind} {name}")
        require((full, label_value) not in seen, at, "the same sample twice")
        seen.add((full, label_value))
        suffix, value = full[len(name):], float(text_value)
        require(not math.isnan(value) and (kind == "gauge" or 0 <= value < math.inf), at, "the value is no count")
        require((label == "le") == (suffix == "_bucket"), at, "le where it does not belong, or not where it does")
        samples.append((suffix, label_value, value))
    require(samples, len(lines), "no samples")
    if kind == "histogram":
        check_histogram(len(lines), samples)
    return len(families)


def check_with_client(text):
    for place in ("", "/usr/lib/python3/dist-packages"):
        sys.path += [place] if place else []
        try:
            from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
            from prometheus_client.parser import text_string_to_metric_families as prometheus
        except ImportError:
            continue
        return f"prometheus_client read {len(list(openmetrics(text)))} families, as plain text {len(list(prometheus(text)))}"
    if os.environ.get("HOLDFAST_NEED_CLIENT"):
        sys.exit("python3-prometheus-client is not installed")
    return "prometheus_client is not here"


text = sys.stdin.read()
print(f"{check(text)} families; {check_with_client(text)}")
