#!/usr/bin/env python3
"""How many writes of an application that waits for no lock (busy_timeout 0) are refused while litekeeper maintains its database, as a
share of all of its tries, and how long the maintenance takes against the same beside an application that is known to wait.

    python3 benches/refused_writes.py [--rows 500000] [--period 5 20 200] [--poisson] [--litekeeper PATH]
"""
import argparse, json, os, random, sqlite3, subprocess, sys, tempfile, time

CHILD = "--owner"


def owner(path, stop, period_ms, kind, timeout):
    connection = sqlite3.connect(path, timeout=timeout, isolation_level=None)
    done = refused = 0
    random.seed(1)
    print("ready", flush=True)
    while not os.path.exists(stop):
        try:
            connection.execute("INSERT INTO beat DEFAULT VALUES")
            done += 1
        except sqlite3.OperationalError:
            refused += 1
        period = period_ms / 1e3
        time.sleep(random.expovariate(1 / period) if kind == "poisson" else period)
    print(done, refused, flush=True)


def make(path, mode, rows, task):
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA auto_vacuum = {'INCREMENTAL' if task == 'vacuum' else 'NONE'}")
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.executescript(
        "CREATE TABLE logs (id INTEGER PRIMARY KEY, created_at INTEGER, msg TEXT); CREATE INDEX i ON logs (created_at);"
        "CREATE TABLE beat (id INTEGER PRIMARY KEY);"
        f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
        f" INSERT INTO logs (created_at, msg) SELECT unixepoch() - 180 * 86400 + i * (180 * 86400 / {rows}), hex(zeroblob(100)) FROM n;"
    )
    connection.commit()
    if task == "vacuum":
        connection.execute(f"DELETE FROM logs WHERE id < {rows // 2}")
        connection.commit()
    connection.close()


def measure(binary, mode, task, rows, period, kind, timeout, configured):
    with tempfile.TemporaryDirectory() as directory:
        path, stop = f"{directory}/app.db", f"{directory}/stop"
        make(path, mode, rows, task)
        key = f"    owner_busy_timeout: {timeout}s\n" if configured else ""
        with open(f"{directory}/lk.yml", "w") as file:
            file.write(
                f"state: {directory}/state.db\ndatabases:\n  - path: {path}\n{key}    tasks:\n"
                "      vacuum: {min_reclaimable: {bytes: 1, ratio: 0}}\n"
                "      log_cleaning: {tables: [{table: logs, column: created_at, retention: 90d}]}\n"
            )
        child = subprocess.Popen(
            [sys.executable, __file__, CHILD, path, stop, str(period), kind, str(timeout)], stdout=subprocess.PIPE, text=True
        )
        child.stdout.readline()
        time.sleep(0.3)
        begun = time.monotonic()
        answer = subprocess.run([binary, "run", task, "--config", f"{directory}/lk.yml", "--json", *os.environ.get("MORE", "").split()], capture_output=True, text=True)
        elapsed = time.monotonic() - begun
        open(stop, "w").close()
        done, refused = map(int, child.communicate()[0].split())
        open(os.environ.get('ERR', '/dev/null'), 'w').write(answer.stderr)
        run = json.loads(answer.stdout)["runs"][0]
        details = run.get("details") or {}
        hold = details.get("max_write_hold_seconds", 0)
        complete = (details.get("vacuum") or {}).get("complete")
        if complete is None:
            complete = all(table["complete"] for table in (details.get("log_cleaning") or {"tables": []})["tables"])
        share = 100 * refused / max(1, done + refused)
        print(
            f"{mode:7} {task:12} {kind:8} {period:6g} ms  timeout {timeout}: {refused:5} of {done + refused:6} refused ({share:5.2f} %), "
            f"{refused * 60 / elapsed:6.0f} a minute, {elapsed:6.2f} s, longest hold {hold * 1e3:5.1f} ms, {run['outcome']}, complete {complete}",
            flush=True,
        )


def main():
    if len(sys.argv) > 1 and sys.argv[1] == CHILD:
        owner(sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[5], float(sys.argv[6]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--period", type=float, nargs="+", default=[5, 20, 200])
    parser.add_argument("--kind", choices=["regular", "poisson"], nargs="+", default=["regular", "poisson"])
    parser.add_argument("--mode", choices=["WAL", "DELETE"], nargs="+", default=["WAL", "DELETE"])
    parser.add_argument("--task", choices=["log_cleaning", "vacuum"], nargs="+", default=["log_cleaning", "vacuum"])
    parser.add_argument("--waits", action="store_true", help="beside an application that waits 5 s, and is known to, as well")
    parser.add_argument("--litekeeper", default=os.path.join(os.path.dirname(__file__), "../target/release/litekeeper"))
    arguments = parser.parse_args()
    binary = os.path.abspath(arguments.litekeeper)
    for mode in arguments.mode:
        for task in arguments.task:
            for kind in arguments.kind:
                for period in arguments.period:
                    measure(binary, mode, task, arguments.rows, period, kind, 0, False)
                    if arguments.waits:
                        measure(binary, mode, task, arguments.rows, period, kind, 5, True)


if __name__ == "__main__":
    main()
