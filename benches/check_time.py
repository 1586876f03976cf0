#!/usr/bin/env python3
"""What `litekeeper check` takes beside SQLite's own check of the same file.

    cargo build --release && python3 benches/check_time.py [--megabytes 200] [--binary target/release/litekeeper]

Each database has a view that leads the list of SQLite's check, so that SQLite leaves out the freelist and the pages that nothing
uses, and litekeeper accounts for them. Three checks alternate: the system's SQLite on this file, litekeeper on the same database
without the view, where SQLite does the accounting, and litekeeper on this file. The ratios are those of the third to the first
and to the second, of medians of CPU time (user and system), which other work on the machine disturbs least; the cache is warm,
so that there is little else. What each program takes for an empty database, its start above all, is subtracted. The first ratio
compares two versions of SQLite as well; the second does not. It asserts nothing.
"""
import argparse
import os
import shutil
import sqlite3
import statistics
import tempfile

NUMBERS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"


def table_alone(database, megabytes):
    database.execute("CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER, level TEXT, message TEXT)")
    rows = megabytes * 1024 * 1024 // 130
    database.execute(
        NUMBERS.format(rows=rows) + "INSERT INTO logs SELECT i, 1700000000 + i, 'info', hex(randomblob(50)) FROM n"
    )


def two_indexes(database, megabytes):
    database.execute("CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER, key TEXT, message TEXT)")
    rows = megabytes * 1024 * 1024 // 180
    database.execute(
        NUMBERS.format(rows=rows)
        + "INSERT INTO logs SELECT i, 1700000000 + i, hex(randomblob(8)), hex(randomblob(45)) FROM n"
    )
    database.execute("CREATE INDEX by_at ON logs (at)")
    database.execute("CREATE INDEX by_key ON logs (key)")


def overflow(database, megabytes):
    database.execute("CREATE TABLE files (id INTEGER PRIMARY KEY, content BLOB)")
    database.execute(
        NUMBERS.format(rows=megabytes * 16) + "INSERT INTO files SELECT i, randomblob(65536) FROM n"
    )


def free_pages(database, megabytes):
    table_alone(database, megabytes)
    database.execute("CREATE TABLE gone (content BLOB)")
    database.execute(NUMBERS.format(rows=megabytes * 4) + "INSERT INTO gone SELECT randomblob(65536) FROM n")
    database.execute("DELETE FROM gone")


KINDS = {
    "a table alone": table_alone,
    "a table with two indexes": two_indexes,
    "large values": overflow,
    "a fifth of free pages": free_pages,
}


def first_root(path):
    database = sqlite3.connect(path)
    roots = [row[5] for row in database.execute("EXPLAIN PRAGMA quick_check") if row[1] == "IntegrityCk"]
    # A descriptor of a file that is removed later would be reported as that of an owner without its file.
    database.close()
    return roots[0]


def lead_with_a_view(path):
    for number in range(2000):
        database = sqlite3.connect(path, isolation_level=None)
        database.execute(f"CREATE VIEW seen_{number} AS SELECT 1")
        database.close()
        if first_root(path).startswith("[0,"):
            return
    raise SystemExit("no view leads the list")


def cpu_seconds(work):
    """CPU time of a process of its own."""
    process = os.fork()
    if process == 0:
        work()
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"a check ended with the wait status {status}")
    return usage.ru_utime + usage.ru_stime


def by_litekeeper(binary, path, check):
    def work():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.execv(binary, [binary, "check", *(["--quick"] if check == "quick_check" else []), path])

    return cpu_seconds(work)


def by_sqlite(path, check):
    def work():
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        os._exit(int(database.execute(f"PRAGMA {check}").fetchall() != [("ok",)]))

    return cpu_seconds(work)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--binary", default="target/release/litekeeper")
    parser.add_argument("--kind", help="one of them, by a part of its name", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="litekeeper-check-") as place:
        empty = f"{place}/empty.db"
        sqlite3.connect(empty).execute("CREATE TABLE t (a)").connection.close()
        begin = [
            statistics.median(by_sqlite(empty, "integrity_check") for _ in range(15)),
            statistics.median(by_litekeeper(options.binary, empty, "integrity_check") for _ in range(15)),
        ]
        for kind, fill in ((kind, fill) for kind, fill in KINDS.items() if options.kind in kind):
            plain, hidden = f"{place}/plain.db", f"{place}/hidden.db"
            database = sqlite3.connect(plain, isolation_level=None)
            database.execute("PRAGMA journal_mode = OFF")
            fill(database, options.megabytes)
            database.close()
            shutil.copy(plain, hidden)
            lead_with_a_view(hidden)
            for check in ("integrity_check", "quick_check"):
                turns = [
                    (by_sqlite(hidden, check), by_litekeeper(options.binary, plain, check),
                     by_litekeeper(options.binary, hidden, check))
                    for _ in range(options.turns + 1)
                ]
                # The first turn warms the cache.
                system, plainly, ours = (
                    statistics.median(times) - start
                    for times, start in zip(zip(*turns[1:]), (begin[0], begin[1], begin[1]))
                )
                print(
                    f"{kind:26} {check:15}  system's SQLite {system:6.3f} s, without the view {plainly:6.3f} s,"
                    f" with it {ours:6.3f} s: {ours / system:.3f}, {ours / plainly:.3f}",
                    flush=True,
                )
            os.remove(plain)
            os.remove(hidden)


if __name__ == "__main__":
    main()
