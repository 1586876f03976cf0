#!/usr/bin/env python3
"""Read an exposition from stdin with a parser that is not litekeeper's own.

usage: openmetrics.py openmetrics|text < exposition

`openmetrics` is OpenMetrics 1.0, `text` the Prometheus text format 0.0.4. Prints "families=N samples=M" and
exits 0, or prints every problem found, one a line, and exits 1. Exit 2 is wrong usage or no prometheus_client.
"""

import re
import sys
from collections import Counter

try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
    from prometheus_client.parser import text_string_to_metric_families as parse_text
except ImportError as error:
    print(f"prometheus_client is needed: {error}", file=sys.stderr)
    sys.exit(2)

# Prometheus sets these two on every series it scrapes and renames a target's own to exported_job and
# exported_instance, which breaks every query written against the exposition.
RESERVED_LABELS = {"job", "instance"}

METADATA = re.compile(r"^# (HELP|TYPE) (\S+) ?(.*)$")
# A series as it is written: a name, and labels whose quoted values may hold any character, braces too.
SERIES = re.compile(r'^[^\s{]+(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?')


def metadata_of(text):
    """The HELP and TYPE lines as written: the parsers fill in a default where one is missing."""
    seen, problems = {"HELP": {}, "TYPE": {}}, []
    # Not splitlines(): it would also cut at U+2028 and the like, which are legal inside a label value.
    for number, line in enumerate(text.split("\n"), 1):
        match = METADATA.match(line)
        if not match:
            continue
        keyword, name, rest = match.groups()
        if name in seen[keyword]:
            problems.append(f"line {number}: a second {keyword} for {name}")
        seen[keyword][name] = rest.strip()
    return seen, problems


def check(text, form):
    metadata, problems = metadata_of(text)
    families, samples, parsed = {}, {}, 0
    parse = parse_openmetrics if form == "openmetrics" else parse_text
    for family in parse(text):
        if family.name in families:
            problems.append(f"family {family.name} comes in two places")
        families[family.name] = family
        # The 0.0.4 form puts the metadata of a counter on the name with _total, OpenMetrics on the family's.
        names = {family.name}
        if form == "text" and family.type == "counter":
            names.add(family.name + "_total")
        for keyword in ("HELP", "TYPE"):
            if not any(metadata[keyword].get(name) for name in names):
                problems.append(f"family {family.name} has no {keyword}")
        for sample in family.samples:
            parsed += 1
            key = (sample.name, tuple(sorted(sample.labels.items())))
            shown = f"{sample.name}{dict(key[1])}"
            if key in samples:
                problems.append(f"sample {shown} comes twice: {samples[key]} and {sample.value}")
            samples[key] = sample.value
            for label in sorted(RESERVED_LABELS & sample.labels.keys()):
                problems.append(f"sample {shown} has the reserved label {label}")
    # The OpenMetrics parser drops a repeated series without a word, so its samples are counted against the lines.
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
    if len(lines) != parsed:
        seen = Counter(match.group() for line in lines if (match := SERIES.match(line)))
        twice = ", ".join(series for series, times in seen.items() if times > 1)
        problems.append(f"{len(lines)} sample lines, but {parsed} samples: written twice: {twice or 'unknown'}")
    if not samples:
        problems.append("no sample at all")
    return len(families), len(samples), problems


def main(arguments):
    if arguments not in (["openmetrics"], ["text"]):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        families, samples, problems = check(sys.stdin.buffer.read().decode("utf-8"), arguments[0])
    # The parsers promise ValueError, but on some malformed lines they leave an IndexError or KeyError through.
    except Exception as error:
        problems = [f"does not parse: {type(error).__name__}: {error}"]
    if problems:
        print("\n".join(problems))
        return 1
    print(f"families={families} samples={samples}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
