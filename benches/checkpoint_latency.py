#!/usr/bin/env python3
"""What a checkpoint costs the owner of a database while a reader is open.

A writer (a process of its own) commits a row every 2 ms and notes how long each commit took, while a second process
keeps a read transaction open and begins another every two seconds. In turns, three rounds of each:

- nothing else;
- `litekeeper run checkpoint`, one after the other without a pause, with a WAL that is always large enough to be emptied;
- the naive way: `PRAGMA wal_checkpoint(TRUNCATE)` in the sqlite3 shell with a busy timeout of 5 s, likewise.

Printed: the writer's commit latency (median, 99 %, worst, commits over 20 ms) in each round, and how much the median of the
rounds' worst exceeds that with nothing else. On a disk the worst is mostly the disk's own; on a tmpfs (`--dir /dev/shm`) only
locks and the processor are left. The writer's own automatic checkpoints are off, so that what is seen is
the others'.

    cargo build --release && benches/checkpoint_latency.py [--seconds 12] [--dir DIRECTORY]
"""

import argparse
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

PERIOD = 0.002
BOUND = 0.020


def until_signal():
    going = [True]
    signal.signal(signal.SIGTERM, lambda _signal, _frame: going.__setitem__(0, False))
    return going


def writer(path):
    """Commits a row every 2 ms until a signal comes, then prints the latencies."""
    going = until_signal()
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    latencies = []
    print("ready", flush=True)
    while going[0]:
        begun = time.perf_counter()
        connection.execute("INSERT INTO orders (at, what) VALUES (unixepoch(), hex(randomblob(500)))")
        took = time.perf_counter() - begun
        latencies.append(took)
        time.sleep(max(0.0, PERIOD - took))
    print(json.dumps(latencies), flush=True)


def reader(path):
    """Holds a read transaction for two seconds, then takes another."""
    going = until_signal()
    connection = sqlite3.connect(path, isolation_level=None)
    print("ready", flush=True)
    while going[0]:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM (SELECT 1 FROM orders LIMIT 10)").fetchone()
        until = time.monotonic() + 2
        while going[0] and time.monotonic() < until:
            time.sleep(0.01)
        connection.execute("COMMIT")


def start(role, path):
    process = subprocess.Popen([sys.executable, __file__, role, path], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    return process


def beside_both(path, seconds, work):
    """The writer's latencies while `work` is done again and again, and how often it was."""
    reading, writing = start("--reader", path), start("--writer", path)
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        work()
        count += 1
    writing.send_signal(signal.SIGTERM)
    latencies = json.loads(writing.stdout.readline())
    reading.send_signal(signal.SIGTERM)
    writing.wait()
    reading.wait()
    return latencies, count


def line(name, latencies, count, outcomes=""):
    ordered = sorted(latencies)
    over = sum(took > BOUND for took in ordered)
    p99 = ordered[int(len(ordered) * 0.99)]
    print(
        f"  {name:<28} {statistics.median(ordered) * 1e3:8.2f} {p99 * 1e3:8.2f} {ordered[-1] * 1e3:9.2f} "
        f"{over:7d} of {len(ordered)}  {count:5d} runs{outcomes}",
        flush=True,
    )
    return ordered[-1]


def main():
    if len(sys.argv) == 3 and sys.argv[1] in ["--writer", "--reader"]:
        {"--writer": writer, "--reader": reader}[sys.argv[1]](sys.argv[2])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", help="where the database is made (default: the temporary directory)")
    parser.add_argument("--litekeeper", default=os.path.join(os.path.dirname(__file__), "../target/release/litekeeper"))
    arguments = parser.parse_args()
    binary = os.path.abspath(arguments.litekeeper)
    with tempfile.TemporaryDirectory(dir=arguments.dir) as directory:
        path = f"{directory}/app.db"
        with open(f"{directory}/litekeeper.yml", "w") as file:
            file.write(
                "state: state.sqlite\ndatabases: [{path: app.db, tasks: {checkpoint: {truncate_above: 1KiB}}}]\n"
            )
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER, what TEXT)")
        connection.commit()
        connection.close()
        holds, emptied, hindered = [], 0, 0

        def litekeeper():
            nonlocal emptied, hindered
            command = [binary, "run", "checkpoint", "--config", f"{directory}/litekeeper.yml", "--json", "--log.level", "error"]
            run = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["runs"][0]
            if run["outcome"] == "success":
                holds.append(run["details"]["max_write_hold_seconds"])
                emptied += bool(run["details"]["checkpoint"]["truncated"])
                hindered += run["details"]["checkpoint"]["reader_in_the_way"]

        def naive():
            command = ["sqlite3", "-cmd", ".timeout 5000", path, "PRAGMA wal_checkpoint(TRUNCATE)"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

        cases = {"nothing else": lambda: time.sleep(0.05), "litekeeper run checkpoint": litekeeper, "naive TRUNCATE": naive}
        worst = {name: [] for name in cases}
        print(f"  {'commits of the writer in ms':<28} {'median':>8} {'99 %':>8} {'worst':>9} {'>20 ms':>7}")
        for _ in range(arguments.rounds):
            for name, work in cases.items():
                latencies, count = beside_both(path, arguments.seconds, work)
                worst[name].append(line(name, latencies, count))
        idle = statistics.median(worst["nothing else"])
        for name in list(cases)[1:]:
            more = statistics.median(worst[name]) - idle
            print(f"  median of the worst, {name}: {more * 1e3:+.1f} ms against nothing else (aim for litekeeper: at most +20)")
        print(
            f"  litekeeper: {len(holds)} checkpoints, {hindered} with a reader in the way, {emptied} emptied the file, "
            f"longest hold of the write lock {max(holds, default=0) * 1e3:.1f} ms"
        )


if __name__ == "__main__":
    main()
