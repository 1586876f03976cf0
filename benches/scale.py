#!/usr/bin/env python3
"""Ten thousand databases under one agent: memory, descriptors, time to the first complete scrape, and
the latency of /metrics while nothing is locked and while every database is locked exclusively.

    cargo build --release && python3 benches/scale.py [--databases 10000] [--binary target/release/litekeeper]

Prints figures of one run and the ratio of the two p99; it asserts nothing. Loopback only, and only
processes that it started are ended.
"""
import argparse
import fcntl
import http.client
import multiprocessing
import os
import resource
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

SCRAPES = 60
PENDING_BYTE = 0x40000000  # https://www.sqlite.org/lockingv3.html; reserved and shared bytes follow it
LOCKED_BYTES = 512


def make(directory, count):
    template = os.path.join(directory, "template.sql")
    connection = sqlite3.connect(template)
    connection.executescript(
        """PRAGMA page_size = 4096;
        CREATE TABLE companies (id INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE vouchers (id INTEGER PRIMARY KEY, company_id INTEGER, amount INTEGER);
        CREATE INDEX by_company ON vouchers (company_id);
        CREATE TABLE logs (id INTEGER PRIMARY KEY, created_at TEXT, message TEXT);
        CREATE INDEX by_time ON logs (created_at);
        INSERT INTO companies VALUES (1, 'one');"""
    )
    connection.close()
    with open(template, "rb") as file:
        content = file.read()
    for index in range(count):
        with open(os.path.join(directory, f"tenant{index:05}.db"), "wb") as file:
            file.write(content)
    os.remove(template)


def lock_all(directory, locked, release):
    """Holds SQLite's EXCLUSIVE lock on every database until `release` is set."""
    files = []
    for name in sorted(os.listdir(directory)):
        file = open(os.path.join(directory, name), "r+b")
        fcntl.lockf(file, fcntl.LOCK_EX, LOCKED_BYTES, PENDING_BYTE)
        # Files that had not moved would not be opened, and the lock would not be met.
        os.utime(file.fileno())
        files.append(file)
    locked.set()
    release.wait(600)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path, gzip=True):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    started = time.perf_counter()
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"} if gzip else {})
    answer = connection.getresponse()
    body = answer.read()
    elapsed = time.perf_counter() - started
    connection.close()
    return answer.status, body, elapsed


def latencies(port):
    times = sorted(get(port, "/metrics")[2] * 1000 for _ in range(SCRAPES))
    return statistics.median(times), times[min(len(times) - 1, int(len(times) * 0.99))]


def status(pid, field):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field + ":"))


def samples(port, start):
    _, body, _ = get(port, "/metrics", gzip=False)
    return sum(float(line.rsplit(" ", 1)[1]) for line in body.decode().splitlines() if line.startswith(start))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", type=int, default=10_000)
    parser.add_argument("--binary", default="target/release/litekeeper")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = options.databases + 100
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, PermissionError):
        sys.exit(f"this needs {wanted} open files for the process that locks; `ulimit -Hn` allows {hard}")
    with tempfile.TemporaryDirectory(prefix="litekeeper-scale-") as directory:
        make(directory, options.databases)
        port = free_port()
        started = time.perf_counter()
        agent = subprocess.Popen(
            [options.binary, "serve", directory, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"],
            stderr=subprocess.DEVNULL,
        )
        try:
            run(options, directory, agent, port, started)
        finally:
            agent.terminate()
            agent.wait(10)


def run(options, directory, agent, port, started):
    while True:
        try:
            if get(port, "/-/ready")[0] == 200:
                break
        except OSError:
            pass
        if agent.poll() is not None or time.perf_counter() - started > 120:
            sys.exit("the agent did not get ready")
        time.sleep(0.005)
    _, body, _ = get(port, "/metrics", gzip=False)
    complete = time.perf_counter() - started
    up = sum(1 for line in body.splitlines() if line.startswith(b"sqlite_up{") and line.endswith(b" 1.0"))
    series = sum(1 for line in body.splitlines() if not line.startswith(b"#"))
    print(f"databases up               {up} of {options.databases}, {series} series, {len(body) / 1e6:.1f} MB of text")
    print(f"start to complete scrape   {complete:.2f} s")
    idle = latencies(port)
    print(f"scrape, nothing locked     median {idle[0]:.1f} ms, p99 {idle[1]:.1f} ms (gzip)")
    locked, release = multiprocessing.Event(), multiprocessing.Event()
    locker = multiprocessing.Process(target=lock_all, args=(directory, locked, release), daemon=True)
    locker.start()
    if not locked.wait(120):
        sys.exit("the databases could not be locked")
    before = samples(port, 'sqlite_errors_total{')
    deadline = time.perf_counter() + 60
    while samples(port, 'sqlite_errors_total{') < before + options.databases and time.perf_counter() < deadline:
        time.sleep(0.5)
    busy = latencies(port)
    still_up = samples(port, "sqlite_up{")
    print(f"scrape, all locked         median {busy[0]:.1f} ms, p99 {busy[1]:.1f} ms; still up: {still_up:.0f}")
    print(f"ratio of p99               {busy[1] / idle[1]:.2f} (aim: at most 1.5)")
    release.set()
    locker.join(30)
    print(f"resident memory            {status(agent.pid, 'VmRSS') / 1024:.0f} MiB, peak {status(agent.pid, 'VmHWM') / 1024:.0f} MiB")
    print(f"open descriptors           {len(os.listdir(f'/proc/{agent.pid}/fd'))}")


if __name__ == "__main__":
    main()
