#!/usr/bin/env python3
"""What a user writes today: one afternoon's script of sqlite3, prometheus_client and schedule.

usage: baseline.py DIRECTORY PORT [INTERVAL_SECONDS] [TABLE]

A peer to measure against, not a part of litekeeper, and written the way such scripts are found in the wild: every
*.db of a directory is looked at in turn in one thread, with sqlite3.connect()'s defaults (read-write, and five
seconds of waiting for a lock), and an error is counted and printed. It is deliberately neither better nor worse.
"""

import os
import sqlite3
import sys
import time
from glob import glob

import schedule
from prometheus_client import Counter, Gauge, start_http_server

PAGES = Gauge("sqlite_page_count", "pages in the database", ["db"])
FREE = Gauge("sqlite_freelist_count", "unused pages", ["db"])
SIZE = Gauge("sqlite_file_bytes", "size of the file", ["db"])
ROWS = Gauge("sqlite_rows", "rows in the table", ["db", "table"])
ERRORS = Counter("sqlite_errors", "errors met", ["db"])


def look(path, table):
    name = os.path.basename(path)
    try:
        connection = sqlite3.connect(path)
        try:
            PAGES.labels(name).set(connection.execute("PRAGMA page_count").fetchone()[0])
            FREE.labels(name).set(connection.execute("PRAGMA freelist_count").fetchone()[0])
            SIZE.labels(name).set(os.path.getsize(path))
            rows = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
            ROWS.labels(name, table).set(rows)
        finally:
            connection.close()
    except sqlite3.Error as error:
        ERRORS.labels(name).inc()
        print(f"{path}: {error}", flush=True)


def sweep(directory, table):
    for path in sorted(glob(f"{directory}/*.db")):
        look(path, table)


def main():
    directory, port = sys.argv[1], int(sys.argv[2])
    interval = int(sys.argv[3]) if len(sys.argv) > 3 else 15
    table = sys.argv[4] if len(sys.argv) > 4 else "logs"
    start_http_server(port, addr="127.0.0.1")
    sweep(directory, table)
    schedule.every(interval).seconds.do(sweep, directory, table)
    while True:
        schedule.run_pending()
        time.sleep(0.2)


if __name__ == "__main__":
    main()
