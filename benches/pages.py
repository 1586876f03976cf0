#!/usr/bin/env python3
"""The pages over ten thousand databases, each with every task and a history: bytes, and time to serve.

    cargo build --release && python3 benches/pages.py [--databases 10000] [--binary target/release/litekeeper]

The state file is filled as a day of work would have left it. Prints figures of one run; it asserts nothing. Loopback only,
and only the process that it started is ended.
"""
import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

from scale import free_port, get, make

TURNS = 40
TASKS = ("backup", "log_cleaning", "vacuum", "optimize", "checkpoint", "health_check")
PATHS = (
    ("/-/healthy", "nothing but an answer"),
    ("/", "the worst first"),
    ("/?sort=size&order=desc&page={pages}", "sorted, in the middle"),
    ("/?q=tenant07&state=up&label=app%3Dshop", "searched"),
    ("/db/{middle}", "one database"),
    ("/db/{middle}?range=year", "one database, a year"),
    ("/tasks", "schedule and history"),
    ("/tasks?page=500", "the middle of it"),
    ("/api/v1/databases", "a hundred as JSON"),
    ("/api/v1/databases?limit=1000&offset=5000", "a thousand as JSON"),
    ("/api/v1/schedule", "the schedule as JSON"),
)

CONFIGURATION = """\
listen: 127.0.0.1:{port}
state: {place}/state.db
databases:
- glob: {place}/tenants/*.db
  labels: {{app: shop, team: accounting}}
  row_counts: [companies, vouchers, logs]
  collectors: {{table_sizes: on}}
  timestamps: [{{table: logs, column: created_at}}]
  tasks:
    health_check: {{quick: {{}}}}
    vacuum: {{}}
    log_cleaning: {{tables: [{{table: logs, column: created_at, retention: 90d}}]}}
    backup: {{to: {place}/backups}}
    checkpoint: {{}}
    optimize: {{}}
"""


def fill(place, names):
    """What a day of hourly sizes and one run of every task leave in the state file."""
    now = int(time.time())
    state = sqlite3.connect(f"{place}/state.db")
    for index, name in enumerate(names):
        path = f"{place}/tenants/{name}.db"
        state.execute("INSERT OR IGNORE INTO trend_paths (id, path) VALUES (?, ?)", (index + 1, path))
        number = state.execute("SELECT id FROM trend_paths WHERE path = ?", (path,)).fetchone()[0]
        hours = ((number, 1, now // 3600 * 3600 - 3600 * hour, 30_000 + 977 * hour % 7919, 4096, 0, 1) for hour in range(25))
        state.executemany("INSERT OR REPLACE INTO trends VALUES (?, ?, ?, ?, ?, ?, ?)", hours)
        for turn, task in enumerate(TASKS):
            state.execute(
                "INSERT INTO runs (process, database, path, task, trigger, due_at, started_at, elapsed, outcome, details)"
                " VALUES ('bench', ?, ?, ?, 'schedule', ?, ?, 0.5, 'success', '{}')",
                (name, path, task, now - 3600 * turn, now - 3600 * turn),
            )
        for check in ("quick", "full", "foreign_key"):
            state.execute("INSERT OR REPLACE INTO verdicts VALUES (?, ?, 1, 0, NULL, ?, ?)", (path, check, now - 9000, now - 9000))
    state.commit()
    state.close()


def start(options, place, port):
    agent = subprocess.Popen([options.binary, "serve", "--config", f"{place}/lk.yml", "--log.level=error"])
    deadline = time.perf_counter() + 120
    while time.perf_counter() < deadline and agent.poll() is None:
        try:
            if get(port, "/-/ready")[0] == 200:
                return agent
        except OSError:
            pass
        time.sleep(0.02)
    sys.exit("the agent did not get ready")


def stop(agent):
    agent.terminate()
    agent.wait(30)


def planned(port):
    """Waits until the planner knows what runs when."""
    deadline = time.perf_counter() + 60
    while time.perf_counter() < deadline:
        total = json.loads(get(port, "/api/v1/schedule", gzip=False)[1])["total"]
        if total:
            return total
        time.sleep(0.1)
    sys.exit("nothing is planned")


def measure(port, names):
    print(f"{'bytes':>9} {'gzipped':>9} {'median':>9} {'p99':>9}")
    for pattern, words in PATHS:
        path = pattern.format(middle=names[len(names) // 2], pages=len(names) // 100)
        status, body, _ = get(port, path, gzip=False)
        if status != 200:
            sys.exit(f"{path} answers {status}")
        packed = len(get(port, path)[1])
        times = sorted(get(port, path)[2] * 1000 for _ in range(TURNS))
        last = times[min(TURNS - 1, int(TURNS * 0.99))]
        print(f"{len(body):9} {packed:9} {statistics.median(times):6.1f} ms {last:6.1f} ms  {path} ({words})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", type=int, default=10_000)
    parser.add_argument("--binary", default="target/release/litekeeper")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="litekeeper-pages-") as place:
        os.mkdir(f"{place}/tenants")
        os.mkdir(f"{place}/backups")
        make(f"{place}/tenants", options.databases)
        port = free_port()
        with open(f"{place}/lk.yml", "w") as file:
            file.write(CONFIGURATION.format(place=place, port=port))
        # The agent makes its state file itself; then it is filled while nobody has it.
        stop(start(options, place, port))
        names = sorted(name[:-3] for name in os.listdir(f"{place}/tenants") if name.endswith(".db"))
        fill(place, names)
        agent = start(options, place, port)
        try:
            print(f"{len(names)} databases, {planned(port)} entries of the schedule")
            measure(port, names)
        finally:
            stop(agent)


if __name__ == "__main__":
    main()
