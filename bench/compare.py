#!/usr/bin/env python3
"""Compares two runs of bench_ops:  compare.py BEFORE.json AFTER.json

Both come from  bench_ops --benchmark_repetitions=5 --benchmark_out=FILE.json  on the same machine. For each row: the
medians, ratio = after / before (below 1: faster) and the ratio's range, from the shortest time of one run over the
longest of the other to the reverse. A change counts where that range leaves out 1; rows with one repetition have no
range. Shared machines change by the minute: look first whether the limits above the table agree.
"""
import argparse
import json
import statistics
import sys

MICROSECONDS = {"ns": 1e-3, "us": 1, "ms": 1e3, "s": 1e6}


def times(run):
    """Row -> microseconds of each repetition."""
    rows = {}
    for entry in run["benchmarks"]:
        if entry.get("run_type", "iteration") == "iteration" and not entry.get("error_occurred"):
            name = entry.get("run_name", entry["name"]).removesuffix("/manual_time")
            rows.setdefault(name, []).append(entry["real_time"] * MICROSECONDS[entry["time_unit"]])
    return rows


def describe(before, after):
    """Lines on what differs between the two runs beside the code."""
    for key in sorted(set(before["context"]) | set(after["context"])):
        if key in ("cpu", "threads") or key.startswith("limit: "):
            old, new = (run["context"].get(key, "none") for run in (before, after))
            yield f"{key}: {old}" + ("" if old == new else f" -> {new}")


def compare(before, after):
    """(row, median before, median after, ratio, least ratio, largest ratio, verdict); ranges None where unknown."""
    for name, old in before.items():
        if not (new := after.get(name)):
            continue
        ratio = statistics.median(new) / statistics.median(old)
        low = high = None
        verdict = ""
        if len(old) > 1 and len(new) > 1:
            low, high = min(new) / max(old), max(new) / min(old)
            verdict = "faster" if high < 1 else "slower" if low > 1 else ""
        yield name, statistics.median(old), statistics.median(new), ratio, low, high, verdict


def read(path):
    try:
        with open(path) as file:
            run = json.load(file)
        return run["context"], times(run), run
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"compare.py: {path}: not the JSON of a Google Benchmark run ({error})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    arguments = parser.parse_args()
    _, old, before = read(arguments.before)
    _, new, after = read(arguments.after)
    print(*describe(before, after), sep="\n")
    width = max((len(name) for name in old), default=3)
    print(f"\n{'row':<{width}} {'before us':>12} {'after us':>12} {'ratio':>7}  range")
    for name, a, b, ratio, low, high, verdict in compare(old, new):
        spread = "" if low is None else f"{low:.3f} to {high:.3f}"
        print(f"{name:<{width}} {a:>12.2f} {b:>12.2f} {ratio:>7.3f}  {spread:<15} {verdict}".rstrip())
    for title, names in (("only before", old.keys() - new.keys()), ("only after", new.keys() - old.keys())):
        for name in sorted(names):
            print(f"{title}: {name}")


if __name__ == "__main__":
    main()
