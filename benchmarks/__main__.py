"""Runs the measurements and prints what they found: `benchmarks/run [--quick] [NAME...]`."""

import argparse
import os
from itertools import islice
from statistics import median

from benchmarks import (
    client_start,
    dispatching,
    load,
    local_engine,
    logins,
    page_weight,
    postgres,
    request_rates,
    slurm_engine,
    streams,
    table_sizes,
)
from benchmarks.report import Finding, markdown_table
from benchmarks.rounds import FULL, QUICK, calibration
from benchmarks.service import allow_many_connections

MEASUREMENTS = {
    "requests": request_rates.measure,
    "tables": table_sizes.measure,
    "dispatching": dispatching.measure,
    "local": local_engine.measure,
    "slurm": slurm_engine.measure,
    "streams": streams.measure,
    "logins": logins.measure,
    "pages": page_weight.measure,
    "client": client_start.measure,
}


def main() -> None:
    options = argparse.ArgumentParser(prog="benchmarks/run", description="Measure what the README promises.")
    options.add_argument("--quick", action="store_true", help="short rounds and small tables, to try the benchmarks")
    options.add_argument("names", nargs="*", metavar="NAME", help=f"only these of {', '.join(MEASUREMENTS)}")
    chosen = options.parse_args()
    if unknown := set(chosen.names) - set(MEASUREMENTS):
        options.error(f"there is no {', '.join(sorted(unknown))}")
    effort = QUICK if chosen.quick else FULL
    allow_many_connections()
    loops = calibration()
    speeds = [next(loops)]
    findings: list[Finding] = []
    with postgres.server() as url:
        version = postgres.BenchDatabase(url).fetch("SHOW server_version")[0][0]
        for name, measure in MEASUREMENTS.items():
            if chosen.names and name not in chosen.names:
                continue
            for finding in measure(url, effort):
                print(f"{'met' if finding.is_met else 'NOT MET'}: {finding.what}: {finding.figure}", flush=True)
                findings.append(finding)
                speeds += islice(loops, 1)
    print(f"\n{markdown_table(findings)}\n")
    print(
        f"{os.cpu_count()} cores; PostgreSQL {version}; load from {load.NAME}; a plain loop made "
        f"{median(speeds):.0f} million steps per second meanwhile ({min(speeds):.0f} to {max(speeds):.0f})."
    )


if __name__ == "__main__":
    main()
