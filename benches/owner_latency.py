#!/usr/bin/env python3
"""What maintenance costs the owner of a database.

An owner (a process of its own) commits a row every 5 ms and notes how long each commit took: while nothing else is
done, while litekeeper cleans a log and vacuums in slices, and while the naive way does the same with one DELETE and one
VACUUM. Printed for WAL and rollback mode:

- the owner's commit latency (median, 99 %, worst) in each case, and by how much the worst exceeds the idle one;
- the total time of the log cleaning against that of the single DELETE, both beside the owner at work.

    cargo build --release && benches/owner_latency.py [--rows 5000000] [--keep 500000] [--owners 2] [--dir DIRECTORY]

It needs sqlite3 (the shell) and about 6 times the size of the database as space (400 MB for 5 million rows).
"""

import argparse
import json
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

PERIOD = 0.005


def owner(path):
    """Commits a row every 5 ms until a signal comes, then prints the latencies."""
    going = True

    def stop(_signal, _frame):
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    latencies = []
    print("ready", flush=True)
    while going:
        begun = time.perf_counter()
        connection.execute("INSERT INTO orders (at, what) VALUES (unixepoch(), 'something sold')")
        took = time.perf_counter() - begun
        latencies.append(took)
        time.sleep(max(0.0, PERIOD - took))
    print(json.dumps(latencies), flush=True)


class Owner:
    def __init__(self, path):
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--owner", path], stdout=subprocess.PIPE, text=True
        )
        self.process.stdout.readline()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        latencies = json.loads(self.process.stdout.readline())
        self.process.wait()
        return latencies


def beside_owners(owners, path, work):
    """Runs `work` beside some owners; its time and the owners' latencies."""
    at_work = [Owner(path) for _ in range(owners)]
    begun = time.perf_counter()
    work()
    seconds = time.perf_counter() - begun
    return seconds, [latency for owner in at_work for latency in owner.stop()]


def make(path, mode, rows, keep):
    script = f"""
        PRAGMA auto_vacuum = INCREMENTAL;
        PRAGMA journal_mode = {mode};
        PRAGMA synchronous = OFF;
        CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER, what TEXT);
        CREATE TABLE logs (id INTEGER PRIMARY KEY, created_at INTEGER NOT NULL, message TEXT NOT NULL);
        BEGIN;
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows + keep})
        INSERT INTO logs SELECT i, CASE WHEN i <= {rows} THEN unixepoch() - 200 * 86400 + i * 10000000 / {rows}
                                   ELSE unixepoch() - {keep} + i - {rows} END, 'request ' || i || ' served in time'
        FROM n;
        CREATE INDEX logs_by_time ON logs (created_at);
        COMMIT;
    """
    subprocess.run(["sqlite3", path, script], check=True, stdout=subprocess.DEVNULL)


def litekeeper(binary, directory, task):
    command = [binary, "run", task, "--config", f"{directory}/litekeeper.yml", "--json", "--log.level", "error"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    run = json.loads(done.stdout)["runs"][0]
    assert run["outcome"] == "success", run
    return run


def shell(path, sql):
    subprocess.run(["sqlite3", "-cmd", ".timeout 60000", path, sql], check=True, stdout=subprocess.DEVNULL)


def line(name, latencies, idle, seconds=None):
    ordered = sorted(latencies)
    worst, p99 = ordered[-1], ordered[int(len(ordered) * 0.99)]
    more = worst - max(idle)
    total = "" if seconds is None else f"  {seconds:8.2f} s"
    print(
        f"  {name:<34} {statistics.median(ordered) * 1e3:8.2f} {p99 * 1e3:8.2f} {worst * 1e3:9.2f} {more * 1e3:+9.2f}{total}",
        flush=True,
    )


def measure(binary, directory, mode, rows, keep, owners):
    print(f"\n{mode}, {rows:,} rows to delete; {owners} owner(s), their commits in ms:")
    print(f"  {'':<34} {'median':>8} {'99 %':>8} {'worst':>9} {'to idle':>9}  total")
    template = f"{directory}/template.db"
    make(template, mode, rows, keep)
    path = f"{directory}/app.db"

    def fresh():
        for suffix in ["", "-wal", "-shm", "-journal"]:
            if os.path.exists(path + suffix):
                os.remove(path + suffix)
        shutil.copy(template, path)
        # Written back before the clock starts, so that the copy's own writes are not part of what is measured.
        os.sync()

    fresh()
    _, idle = beside_owners(owners, path, lambda: time.sleep(15))
    line("nothing else", idle, idle)
    runs = []
    cleaned, latencies = beside_owners(owners, path, lambda: runs.append(litekeeper(binary, directory, "log_cleaning")))
    assert runs[0]["details"]["log_cleaning"]["deleted_rows"] == rows, runs[0]
    line("litekeeper run log_cleaning", latencies, idle, cleaned)
    sliced, latencies = beside_owners(owners, path, lambda: runs.append(litekeeper(binary, directory, "vacuum")))
    line("litekeeper run vacuum (incremental)", latencies, idle, sliced)
    for run in runs:
        print(f"    longest hold, {run['task']}: {run['details']['max_write_hold_seconds'] * 1e3:.1f} ms")
    fresh()
    delete = "DELETE FROM logs WHERE created_at < unixepoch() - 80 * 86400"
    deleted, latencies = beside_owners(owners, path, lambda: shell(path, delete))
    line("one DELETE", latencies, idle, deleted)
    vacuumed, latencies = beside_owners(owners, path, lambda: shell(path, "VACUUM"))
    line("one VACUUM", latencies, idle, vacuumed)
    print(f"  log_cleaning / one DELETE: {cleaned / deleted:.2f} (aim: at most 1.25)")
    os.remove(template)


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--owner":
        owner(sys.argv[2])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--keep", type=int, default=500_000)
    parser.add_argument("--owners", type=int, default=1, help="processes that commit a row every 5 ms each")
    parser.add_argument("--dir", help="where the databases are made (default: the temporary directory)")
    parser.add_argument("--mode", choices=["WAL", "DELETE"], action="append")
    parser.add_argument("--litekeeper", default=os.path.join(os.path.dirname(__file__), "../target/release/litekeeper"))
    arguments = parser.parse_args()
    binary = os.path.abspath(arguments.litekeeper)
    with tempfile.TemporaryDirectory(dir=arguments.dir) as directory:
        with open(f"{directory}/litekeeper.yml", "w") as file:
            file.write(
                "state: state.sqlite\n"
                "databases:\n"
                "  - path: app.db\n"
                "    tasks:\n"
                "      vacuum: {min_reclaimable: {bytes: 1, ratio: 0}}\n"
                "      log_cleaning:\n"
                "        tables: [{table: logs, column: created_at, retention: 80d}]\n"
            )
        for mode in arguments.mode or ["WAL", "DELETE"]:
            measure(binary, directory, mode, arguments.rows, arguments.keep, arguments.owners)


if __name__ == "__main__":
    main()
