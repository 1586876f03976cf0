#!/usr/bin/env python3
"""litekeeper beside what else a user could run, in one run on one machine.

usage: python3 benches/compare_peers.py [--databases 100,1000] [--sweeps N] [--interval S] [--binary FILE]
                                        [--markdown] [--peers a,b] [--no-faults]

The peers are PyPI's query-exporter (pinned below) and benches/peers/baseline.py, the script that a user writes
today. All of them run at the same time, each over its own equal copy of the databases (one peer's locks, or a file
that it creates, must not be another's result), and report the same facts at the same interval: pages, free pages,
file size and the row count of one table. See benches/README.md for how to read the answer.

Needs Python 3.11 on Linux, and PyPI for the first run. Exit codes: 0 measured, 1 a peer failed, 2 usage,
3 no litekeeper binary, 4 the peers could not be installed.
"""

import argparse
import ctypes
import gzip
import http.client
import json
import math
import os
import platform
import re
import resource
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / "target" / "peer-tools" / "venv"
PINNED = {"query-exporter": "5.0.2", "prometheus_client": "0.26.0", "schedule": "1.2.2"}
TABLE = "logs"
FACTS = ("pages", "free", "bytes", "rows")

# As Prometheus asks: litekeeper and prometheus_client answer differently to different headers, and gzip is part
# of what a scrape costs.
SCRAPE_HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
    "User-Agent": "Prometheus/compare_peers",
}


def say(text):
    print(f"compare_peers: {text}", file=sys.stderr, flush=True)


# --- the databases -----------------------------------------------------------------------------------------------


def make_template(path, journal):
    with closing(sqlite3.connect(path)) as con:
        con.execute("PRAGMA page_size = 4096")
        con.execute(f"PRAGMA journal_mode = {journal}")
        con.execute(f"CREATE TABLE {TABLE} (id INTEGER PRIMARY KEY, ts INTEGER, level TEXT, message TEXT)")
        con.execute(f"CREATE INDEX {TABLE}_ts ON {TABLE} (ts)")
        con.execute("CREATE TABLE companies (id INTEGER PRIMARY KEY, name TEXT)")
        con.executemany(
            f"INSERT INTO {TABLE} (ts, level, message) VALUES (?, 'info', ?)",
            ((1_700_000_000 + i, f"message {i} " + "x" * 120) for i in range(400)),
        )
        con.commit()
        # So that the freelist is not empty, and a peer that reads nothing is not right by chance.
        con.execute(f"DELETE FROM {TABLE} WHERE id <= 200")
        con.commit()


def make_databases(template, directory, names):
    directory.mkdir(parents=True)
    for name in names:
        shutil.copyfile(template, directory / f"{name}.db")


def add_row(path, rows=1):
    with closing(sqlite3.connect(path, timeout=2)) as con:
        # The peers cannot see the difference, and a disk's fsync is not what is measured.
        con.execute("PRAGMA synchronous = OFF")
        con.executemany(
            f"INSERT INTO {TABLE} (ts, level, message) VALUES (?, 'info', 'written while watched')",
            ((int(time.time()),) for _ in range(rows)),
        )
        con.commit()


def true_facts(path):
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as con:
        one = lambda sql: con.execute(sql).fetchone()[0]
        return {
            "pages": one("PRAGMA page_count"),
            "free": one("PRAGMA freelist_count"),
            "bytes": os.path.getsize(path),
            "rows": one(f"SELECT count(*) FROM {TABLE}"),
        }


# --- roles that run in a process of their own ----------------------------------------------------------------------


def role_writer(period, directories):
    """Changes every database once in a period, evenly over it; a process of its own, so as to share no lock and no
    interpreter with the one that measures."""
    os.nice(5)
    names = sorted(entry.name for entry in os.scandir(directories[0]) if entry.name.endswith(".db"))
    jobs = [os.path.join(directory, name) for name in names for directory in directories]
    while True:
        start = time.monotonic()
        for number, path in enumerate(jobs):
            try:
                add_row(path)
            except sqlite3.Error as error:
                print(f"writer: {path}: {error}", file=sys.stderr, flush=True)
            ahead = start + period * (number + 1) / len(jobs) - time.monotonic()
            # In small steps only: a sleep per database would be thousands of wake-ups a second beside the peers.
            if ahead > 0.05:
                time.sleep(ahead)


def role_locker(paths):
    """Commits five rows and keeps the EXCLUSIVE lock until stdin ends: the truth has moved, and nobody may look."""
    held = []
    for path in paths:
        con = sqlite3.connect(path, timeout=5, isolation_level=None)
        con.execute("PRAGMA locking_mode = EXCLUSIVE")
        con.execute("BEGIN EXCLUSIVE")
        con.executemany(
            f"INSERT INTO {TABLE} (ts, level, message) VALUES (?, 'info', 'behind the lock')", ((0,) for _ in range(5))
        )
        con.execute("COMMIT")
        held.append(con)
    print("locked", flush=True)
    sys.stdin.read()


# --- processes -----------------------------------------------------------------------------------------------------

STARTED = []


def die_with_parent():
    # Even a SIGKILL of this script leaves no peer behind. 1 is PR_SET_PDEATHSIG.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def start(command, log, **options):
    # Not stdin=DEVNULL by default only for the locker, which waits on it.
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", log)
    process = subprocess.Popen(
        [str(part) for part in command],
        stderr=log,
        start_new_session=True,
        preexec_fn=die_with_parent,
        **options,
    )
    STARTED.append(process)
    return process


def stop(process):
    if process.poll() is None:
        for number, timeout in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            try:
                # Its own group (start_new_session), so nothing that this script did not start.
                os.killpg(process.pid, number)
                process.wait(timeout)
                break
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
    if process in STARTED:
        STARTED.remove(process)


def tree(pid):
    """The process and all its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                # The name in parentheses may hold anything; what follows the last one is in columns.
                parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        queue.extend(children.get(one, []))
    return found


def status_kib(pid, field):
    try:
        match = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    except OSError:
        return 0
    return int(match.group(1)) if match else 0


def memory_mib(pid):
    pids = tree(pid)
    return tuple(sum(status_kib(one, field) for one in pids) / 1024 for field in ("VmRSS", "VmHWM"))


def cpu_seconds(pids):
    total = 0.0
    for one in pids:
        try:
            # The process' CPU clock has nanoseconds where /proc/PID/stat has ticks of 10 ms, coarser than what an
            # idle interval costs. The formula is clock_getcpuclockid's.
            total += time.clock_gettime((~one << 3) | 2)
        except OSError:
            continue
    return total


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


# --- scraping ------------------------------------------------------------------------------------------------------

SAMPLE = re.compile(r'^([A-Za-z_:][\w:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? (\S+)')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def scrape(port, timeout=10.0):
    """Seconds until the last byte, and the exposition. Raises OSError or HTTPException."""
    begin = time.perf_counter()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        connection.request("GET", "/metrics", headers=SCRAPE_HEADERS)
        response = connection.getresponse()
        body = response.read()
        seconds = time.perf_counter() - begin
        if response.status != 200:
            raise OSError(f"status {response.status}")
        if response.getheader("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
    return seconds, body.decode()


def samples(text):
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            match = SAMPLE.match(line)
            if match:
                name, labels, value = match.groups()
                yield name, dict(LABEL.findall(labels or "")), float(value)


# --- the peers -----------------------------------------------------------------------------------------------------


class Peer:
    name = ""
    metrics = {}  # fact -> (metric name, labels that it must have)

    def __init__(self, workdir):
        self.workdir = workdir
        self.directory = workdir / "db"
        self.missing = workdir / "elsewhere" / "missing.db"
        self.log_path = workdir / "log"
        self.port = free_port()
        self.process = None
        self.failed = None

    def launch(self, interval, with_missing):
        if with_missing:
            self.missing.parent.mkdir()
        with open(self.log_path, "ab") as log:
            self.process = start(self.command(interval, with_missing), log)

    def command(self, interval, with_missing):
        raise NotImplementedError

    def check(self):
        """Notes the first failure; a peer that has ended is not asked again."""
        if not self.failed and self.process.poll() is not None:
            lines = self.log_path.read_text(errors="replace").splitlines()[-3:]
            self.failed = f"ended with {self.process.returncode}: {' | '.join(lines)[-300:]}"
        return not self.failed

    def database_of(self, labels):
        for key in ("db", "database"):
            if key in labels:
                return labels[key].removesuffix(".db")
        return None

    def facts(self, text):
        """database -> fact -> value"""
        wanted = {name: (fact, required) for fact, (name, required) in self.metrics.items()}
        found = {}
        for name, labels, value in samples(text):
            if name in wanted:
                fact, required = wanted[name]
                database = self.database_of(labels)
                if database is not None and required.items() <= labels.items():
                    found.setdefault(database, {})[fact] = value
        return found

    def series(self, text):
        """database -> (name, other labels) -> value; what has no database label, but counts databases, under None."""
        found = {}
        for name, labels, value in samples(text):
            database = self.database_of(labels)
            if database is None and "databases" not in name:
                continue
            rest = tuple(sorted((key, text) for key, text in labels.items() if key not in ("db", "database")))
            found.setdefault(database, {})[(name, rest)] = value
        return found


class Litekeeper(Peer):
    name = "litekeeper"
    binary = None
    metrics = {
        "pages": ("sqlite_pages", {}),
        "free": ("sqlite_freelist_pages", {}),
        "bytes": ("sqlite_file_size_bytes", {"file": "main"}),
        "rows": ("sqlite_table_rows", {"table": TABLE}),
    }

    def command(self, interval, with_missing):
        # Row counts have a longer interval by default; here everybody counts at every sweep.
        settings = {"row_counts": [TABLE], "table_interval": f"{interval}s"}
        databases = [{"directory": str(self.directory), **settings}]
        if with_missing:
            databases.append({"path": str(self.missing), **settings})
        config = {
            "listen": f"127.0.0.1:{self.port}",
            "sample_interval": f"{interval}s",
            "discovery_interval": f"{interval}s",
            "databases": databases,
        }
        path = self.workdir / "litekeeper.yaml"
        path.write_text(json.dumps(config, indent=1))  # JSON is YAML
        return [self.binary, "serve", "--config", path, "--log.level=warn"]

    @classmethod
    def version(cls):
        answer = subprocess.run([cls.binary, "--version"], capture_output=True, text=True, timeout=10)
        return answer.stdout.strip() or "litekeeper"


class QueryExporter(Peer):
    name = "query-exporter"
    metrics = {
        "pages": ("sqlite_page_count", {}),
        "free": ("sqlite_freelist_count", {}),
        "bytes": ("sqlite_file_bytes", {}),
        "rows": ("sqlite_rows", {}),
    }

    def command(self, interval, with_missing):
        paths = sorted(self.directory.glob("*.db")) + ([self.missing] if with_missing else [])
        gauge = lambda text: {"type": "gauge", "description": text}
        # One query for all facts, the cheapest that it can do. SQL cannot stat, so the size is what it should be.
        config = {
            "databases": {path.stem: {"dsn": f"sqlite:///{path}"} for path in paths},
            "metrics": {
                "sqlite_page_count": gauge("pages in the database"),
                "sqlite_freelist_count": gauge("unused pages"),
                "sqlite_file_bytes": gauge("pages times their size"),
                "sqlite_rows": gauge("rows in the table"),
            },
            "queries": {
                "facts": {
                    "interval": interval,
                    "databases": [path.stem for path in paths],
                    "metrics": ["sqlite_page_count", "sqlite_freelist_count", "sqlite_file_bytes", "sqlite_rows"],
                    "sql": "SELECT page_count AS sqlite_page_count, freelist_count AS sqlite_freelist_count,"
                    " page_count * page_size AS sqlite_file_bytes,"
                    f" (SELECT count(*) FROM {TABLE}) AS sqlite_rows"
                    " FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
                }
            },
        }
        path = self.workdir / "query-exporter.yaml"
        path.write_text(json.dumps(config, indent=1))
        binary = VENV / "bin" / "query-exporter"
        return [binary, "--host", "127.0.0.1", "--port", self.port, "--log-level", "error", "--config", path]

    @classmethod
    def version(cls):
        return f"query-exporter {PINNED['query-exporter']}"


class Baseline(Peer):
    name = "baseline script"
    metrics = {
        "pages": ("sqlite_page_count", {}),
        "free": ("sqlite_freelist_count", {}),
        "bytes": ("sqlite_file_bytes", {}),
        "rows": ("sqlite_rows", {"table": TABLE}),
    }

    def command(self, interval, with_missing):
        script = ROOT / "benches" / "peers" / "baseline.py"
        return [VENV / "bin" / "python", script, self.directory, self.port, interval, TABLE]

    @classmethod
    def version(cls):
        return f"benches/peers/baseline.py (prometheus_client {PINNED['prometheus_client']})"


PEERS = {"litekeeper": Litekeeper, "query-exporter": QueryExporter, "baseline": Baseline}


def install_peers():
    python = VENV / "bin" / "python"
    probe = "import importlib.metadata as m, json; print(json.dumps({n: m.version(n) for n in %r}))" % list(PINNED)
    if python.exists():
        answer = subprocess.run([python, "-c", probe], capture_output=True, text=True, timeout=60)
        if answer.returncode == 0 and json.loads(answer.stdout) == PINNED:
            return True
    say(f"installing the peers into {VENV.relative_to(ROOT)}")
    shutil.rmtree(VENV, ignore_errors=True)
    wanted = [f"{name}=={version}" for name, version in PINNED.items()]
    options = "--quiet --no-input --disable-pip-version-check --retries 3 --timeout 20".split()
    try:
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True, timeout=120)
        subprocess.run([python, "-m", "pip", "install", *options, *wanted], check=True, timeout=400)
    except (subprocess.SubprocessError, OSError) as error:
        shutil.rmtree(VENV, ignore_errors=True)
        say(f"could not install the peers: {error}")
        return False
    return True


# --- measuring -----------------------------------------------------------------------------------------------------


def launch_all(classes, workdir, template, names, interval, with_missing=False):
    peers = []
    for cls in classes:
        peer = cls(workdir / cls.__name__.lower())
        make_databases(template, peer.directory, names)
        peers.append(peer)
    for peer in peers:
        peer.launch(interval, with_missing)
    return peers


def wait_ready(peers, names, seconds):
    """Until each peer shows every fact of every database; says how long that took."""
    begin, ready = time.monotonic(), {}
    while len(ready) < len(peers) and time.monotonic() - begin < seconds:
        for peer in peers:
            if peer.name in ready:
                continue
            if not peer.check():
                ready[peer.name] = None
                say(f"{peer.name} {peer.failed}")
                continue
            try:
                facts = peer.facts(scrape(peer.port)[1])
            except (OSError, http.client.HTTPException):
                continue
            if all(len(facts.get(name, {})) == len(FACTS) for name in names):
                ready[peer.name] = time.monotonic() - begin
        time.sleep(0.2)
    for peer in peers:
        if peer.name not in ready:
            try:
                facts = peer.facts(scrape(peer.port)[1])
                have = {fact: sum(fact in facts.get(name, {}) for name in names) for fact in FACTS}
                peer.failed = f"after {seconds} s facts of {have} of {len(names)} databases"
            except (OSError, http.client.HTTPException) as error:
                peer.failed = f"after {seconds} s no answer: {error}"
            say(f"{peer.name} {peer.failed}")
    return ready


def between_sweeps(peers, interval):
    """For each peer the next moment half-way between two of its sweeps. Their timers drift by a little at each sweep,
    and a window that begins beside one may hold a sweep less than it has intervals: a quarter of four."""
    pids = {peer.name: tree(peer.process.pid) for peer in peers}
    last = {name: cpu_seconds(some) for name, some in pids.items()}
    angle = {name: [0.0, 0.0] for name in pids}
    begin = time.monotonic()
    while (now := time.monotonic() - begin) < interval:
        time.sleep(0.1)
        for name, some in pids.items():
            used = cpu_seconds(some)
            # The mean time of the CPU used, on a circle of one interval.
            angle[name][0] += (used - last[name]) * math.cos(2 * math.pi * now / interval)
            angle[name][1] += (used - last[name]) * math.sin(2 * math.pi * now / interval)
            last[name] = used
    moments = {}
    for name, (x, y) in angle.items():
        sweep = math.atan2(y, x) / (2 * math.pi) * interval
        moments[name] = begin + interval + (sweep + interval / 2) % interval
    return moments


def cpu_window(peers, interval, sweeps):
    """CPU seconds an interval, with one scrape an interval from each, as Prometheus would."""
    events = []
    for peer_number, begin in enumerate(between_sweeps(peers, interval).values()):
        events.append((begin, peer_number, "begin"))
        events.append((begin + sweeps * interval, peer_number, "end"))
        for sweep in range(sweeps):
            events.append((begin + (sweep + 0.1 + 0.1 * peer_number) * interval, peer_number, "scrape"))
    marks = {}
    for when, peer_number, kind in sorted(events):
        time.sleep(max(0.0, when - time.monotonic()))
        peer = peers[peer_number]
        if kind == "scrape":
            try:
                scrape(peer.port)
            except (OSError, http.client.HTTPException) as error:
                say(f"{peer.name}: scrape failed: {error}")
        else:
            marks[peer.name, kind] = (cpu_seconds(tree(peer.process.pid)), time.monotonic())
    used = {}
    for peer in peers:
        (cpu, begin), (cpu_end, end) = marks[peer.name, "begin"], marks[peer.name, "end"]
        used[peer.name] = (cpu_end - cpu) / ((end - begin) / interval)
    return used


def latencies(peers, count, interval):
    """At least `count` scrapes from each, in turn and in changing order, over at least one whole interval, so that
    they meet the sweep as often as a Prometheus would by chance."""
    taken = {peer.name: [] for peer in peers}
    order = deque(peers)
    pace, begin = interval / count, time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, begin + number * pace - time.monotonic()))
        order.rotate(1)
        for peer in order:
            try:
                taken[peer.name].append(scrape(peer.port)[0])
            except (OSError, http.client.HTTPException) as error:
                say(f"{peer.name}: scrape failed: {error}")
                taken[peer.name].append(10.0)  # what a Prometheus would have waited
    return taken


def percentile(values, share):
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


def correct(peer, text, names):
    """Databases of which every fact shown is the true one."""
    shown = peer.facts(text)
    return sum(shown.get(name) == true_facts(peer.directory / f"{name}.db") for name in names)


def measure_size(classes, options, workdir, count):
    interval, sweeps = options.interval, options.sweeps
    names = [f"tenant{number:05}" for number in range(count)]
    template = workdir / "template.db"
    make_template(template, options.journal)
    say(f"{count} databases: starting")
    peers = launch_all(classes, workdir, template, names, interval)
    writer = None
    try:
        ready = wait_ready(peers, names, 60 + 2 * interval + count * 0.05)
        running = [peer for peer in peers if not peer.failed]
        if not running:
            return peers, [["failed", *(peer.failed for peer in peers)]]
        with open(workdir / "writer.log", "wb") as log:
            # Twice an interval: whatever the phase, each sweep finds each database changed.
            writer = start(
                [sys.executable, __file__, "writer", interval / 2, *(peer.directory for peer in running)], log
            )
        time.sleep(interval)
        say(f"{count} databases: CPU over {sweeps} sweeps while all change")
        changing = cpu_window(running, interval, sweeps)
        say(f"{count} databases: {options.scrapes} scrapes of each")
        taken = latencies(running, options.scrapes, interval)
        memory = {peer.name: memory_mib(peer.process.pid) for peer in running}
        stop(writer)
        if complaints := (workdir / "writer.log").read_text().splitlines():
            say(f"the writer met {len(complaints)} errors, the first: {complaints[0]}")
        # The last change has to be seen before the idle intervals count.
        time.sleep(1.5 * interval)
        say(f"{count} databases: CPU over {sweeps} sweeps while idle")
        idle = cpu_window(running, interval, sweeps)
        right, shown = {}, {}
        for peer in running:
            if not peer.check():
                say(f"{peer.name} {peer.failed}")
                continue
            text = scrape(peer.port)[1]
            right[peer.name] = correct(peer, text, names)
            shown[peer.name] = sum(1 for _ in samples(text))
    finally:
        if writer:
            stop(writer)
        for peer in peers:
            stop(peer.process)

    def row(label, cell):
        return [label] + [cell(peer.name) if not peer.failed else "failed" for peer in peers]

    ms = lambda seconds: f"{seconds * 1000:.1f} ms"
    rows = [
        row("resident memory (peak)", lambda n: "{:.1f} MiB ({:.1f})".format(*memory[n])),
        row(f"CPU per {interval} s, all changing", lambda n: f"{changing[n]:.3f} s"),
        row(f"CPU per {interval} s, idle", lambda n: f"{idle[n]:.3f} s"),
        row("scrape, median", lambda n: ms(statistics.median(taken[n]))),
        row("scrape, p99", lambda n: ms(percentile(taken[n], 0.99))),
        row("start to all facts shown", lambda n: f"{ready[n]:.1f} s"),
        row("samples a scrape", lambda n: str(shown[n])),
        row("databases with all facts right", lambda n: f"{right.get(n, 0)} of {count}"),
    ]
    return peers, rows


# --- faults --------------------------------------------------------------------------------------------------------

# Not what says "something is wrong with this one": how long queries took, and when the owner last wrote.
NO_SIGNAL = re.compile(r"_(bucket|sum|count|created)$|last_write|_latency")


class Watch:
    """Scrapes every peer four times a second while it writes to a canary beside the faulty database, and keeps how
    promptly they answer and how old what they say of the canary is."""

    def __init__(self, peers):
        self.peers = peers
        self.written = {peer.name: deque() for peer in peers}  # (rows, since when), oldest first
        self.rows = {}
        self.texts = {}

    def write(self, names):
        for peer in self.peers:
            for name in names:
                path = peer.directory / f"{name}.db"
                try:
                    add_row(path)
                except sqlite3.Error as error:
                    say(f"{path.name} of {peer.name}: {error}")
                    continue
                if name == "canary":
                    rows = self.rows.get(peer.name, 200) + 1
                    self.rows[peer.name] = rows
                    self.written[peer.name].append((rows, time.monotonic()))

    def age(self, peer, shown):
        """Seconds since what is shown ceased to be true."""
        if shown is None:
            return math.inf
        queue = self.written[peer.name]
        while queue and queue[0][0] <= shown:
            queue.popleft()
        return time.monotonic() - queue[0][1] if queue else 0.0

    def run(self, seconds, names):
        """name of peer -> (slowest scrape, oldest canary); the last expositions stay in self.texts."""
        worst = {peer.name: [0.0, 0.0] for peer in self.peers}
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            turn = time.monotonic()
            self.write(names)
            for peer in self.peers:
                try:
                    took, text = scrape(peer.port)
                except (OSError, http.client.HTTPException):
                    took, text = math.inf, ""
                worst[peer.name][0] = max(worst[peer.name][0], took)
                if text:
                    self.texts[peer.name] = text
                    shown = peer.facts(text).get("canary", {}).get("rows")
                    worst[peer.name][1] = max(worst[peer.name][1], self.age(peer, shown))
            time.sleep(max(0.0, turn + 0.25 - time.monotonic()))
        return {name: tuple(values) for name, values in worst.items()}


def number(value):
    if value is None:
        return "–"
    return str(int(value)) if math.isfinite(value) and value == int(value) else f"{value:g}"


def label_text(name, labels):
    return name + ("{" + ",".join(f"{key}={value}" for key, value in labels) + "}" if labels else "")


def signals(peer, before, after, database):
    """What of this database's series says that something happened: changed while the canary's did not, or stood
    still while the canary's moved."""
    own = {name for name, _ in peer.metrics.values()}
    old, new = peer.series(before), peer.series(after)
    found = []
    for where in (database, None):
        was, now = old.get(where, {}), new.get(where, {})
        for key in sorted(was.keys() | now.keys()):
            name, labels = key
            if NO_SIGNAL.search(name) or name in own:
                continue
            changed = was.get(key) != now.get(key)
            canary = (old.get("canary", {}).get(key), new.get("canary", {}).get(key))
            canary_changed = where is not None and canary[0] != canary[1]
            if changed and not canary_changed:
                if key in was and key not in now:
                    found.append(f"{label_text(name, labels)} gone")
                else:
                    found.append(f"{label_text(name, labels)} {number(was.get(key))}→{number(now.get(key))}")
            elif canary_changed and not changed and key in now:
                found.append(f"{label_text(name, labels)} stands still")
    # All of a database's series going at once is one piece of news, not one a series.
    if old.get(database) and not new.get(database):
        found = [text for text in found if not text.endswith(" gone")]
    return found


def verdict(peer, before, after, database, truth):
    if not peer.check():
        return f"the peer {peer.failed}"
    facts, had = peer.facts(after).get(database, {}), peer.facts(before).get(database, {})
    if not facts:
        shows = "facts gone" if had else "shows no facts"
    else:
        parts = []
        for fact in FACTS:
            if fact not in facts:
                parts.append(f"{fact} gone")
            elif truth is None:
                parts.append(f"{fact} {number(facts[fact])}")
            elif facts[fact] != truth[fact]:
                parts.append(f"{fact} {number(facts[fact])} (true: {number(truth[fact])})")
            else:
                parts.append(f"{fact} right")
        shows = "still shows " + ", ".join(parts)
    news = signals(peer, before, after, database)
    if len(news) > 8:
        news = news[:8] + [f"and {len(news) - 8} more"]
    return f"{shows}; says: {'; '.join(news) if news else 'nothing'}"


def corrupt_header(path):
    with open(path, "r+b") as file:
        file.write(b"this is no longer a database.".ljust(100, b"\xa5"))


def corrupt_pages(path):
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as con:
        # The index too: SQLite counts the rows in the smallest index, and never meets the table.
        pages = con.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = ?", (TABLE,)).fetchall()
    with open(path, "r+b") as file:
        for (page,) in pages:
            file.seek((page - 1) * 4096)
            file.write(bytes(4096))
        # A new change counter (and the version it is valid for), or a kept connection would answer from its cache
        # and the peer be judged by what it has not read.
        for offset in (24, 92):
            file.seek(offset)
            counter = int.from_bytes(file.read(4), "big") + 1
            file.seek(offset)
            file.write(counter.to_bytes(4, "big"))


def measure_faults(classes, options, workdir):
    interval = options.fault_interval
    faulty = ["locked", "deleted", "header", "page"]
    names = ["canary", *faulty, *(f"healthy{number:02}" for number in range(15))]
    template = workdir / "template.db"
    make_template(template, options.journal)
    say("faults: starting")
    peers = launch_all(classes, workdir, template, names, interval, with_missing=True)
    cells, locker = [], None
    try:
        wait_ready(peers, names, 60 + 2 * interval)
        running = [peer for peer in peers if not peer.failed]
        if not running:
            return peers, [["failed", *(peer.failed for peer in peers)]]
        watch = Watch(running)
        # Every database is written to until its fault comes: "stands still" then means something.
        alive = ["canary", *faulty]

        def phase(label, database, inject, truth):
            say(f"faults: {label}")
            if database in alive:
                alive.remove(database)
            if inject:
                # What was written last has been seen, so that a change from here on is the fault's.
                watch.run(1.5 * interval, alive)
            before = dict(watch.texts)
            if inject:
                inject()
            worst = watch.run(3 * interval + 1, alive)
            row = {}
            for peer in running:
                was, now = before.get(peer.name, ""), watch.texts.get(peer.name, "")
                said = verdict(peer, was, now, database, truth(peer)) if database else ""
                row[peer.name] = (said, *worst[peer.name])
            cells.append((label, row))

        path = lambda peer, name: peer.directory / f"{name}.db"
        watch.run(interval, alive)
        phase("no fault", None, None, None)

        def lock():
            nonlocal locker
            with open(workdir / "locker.log", "wb") as log:
                command = [sys.executable, __file__, "locker", *(path(peer, "locked") for peer in running)]
                locker = start(command, log, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            if locker.stdout.readline().strip() != b"locked":
                raise RuntimeError("could not take the locks: " + (workdir / "locker.log").read_text()[-300:])

        true_when_locked = {}

        def note_and_lock():
            # Nobody can look once the lock is held, this script included: five rows more is what role_locker adds.
            for peer in running:
                true_when_locked[peer] = true_facts(path(peer, "locked"))
                true_when_locked[peer]["rows"] += 5
            lock()

        phase("locked (EXCLUSIVE, by another process)", "locked", note_and_lock, true_when_locked.get)
        stop(locker)
        watch.run(2 * interval, alive)

        phase("deleted", "deleted", lambda: [path(peer, "deleted").unlink() for peer in running], lambda peer: None)
        back = {peer.name: path(peer, "deleted").exists() for peer in running}
        phase(
            "corrupt: header overwritten",
            "header",
            lambda: [corrupt_header(path(peer, "header")) for peer in running],
            lambda peer: None,
        )
        phase(
            "corrupt: root pages of the table and its index zeroed",
            "page",
            lambda: [corrupt_pages(path(peer, "page")) for peer in running],
            lambda peer: None,
        )
        missing = {}
        for peer in running:
            if isinstance(peer, Baseline):
                missing[peer.name] = "cannot be configured: it lists a directory"
                continue
            series = peer.series(watch.texts.get(peer.name, "")).get("missing", {})
            said = [
                f"{label_text(*key)} {number(value)}"
                for key, value in sorted(series.items())
                if not NO_SIGNAL.search(key[0])
            ]
            made = f"CREATES the file ({peer.missing.stat().st_size} bytes)" if peer.missing.exists() else "no file made"
            missing[peer.name] = f"{made}; says: {'; '.join(said[:8]) if said else 'nothing'}"
    finally:
        if locker:
            stop(locker)
        for peer in peers:
            stop(peer.process)

    def cell(peer, text):
        return text(peer.name) if not peer.failed or peer in running else "failed"

    rows = []
    for label, row in cells:
        if row and any(said for said, _, _ in row.values()):
            rows.append([label] + [cell(peer, lambda n: row[n][0]) for peer in peers])
        seconds = lambda value: "never seen" if value == math.inf else f"{value:.1f} s"
        took = lambda value: "no answer in 10 s" if value == math.inf else f"{value * 1000:.0f} ms"
        what = "slowest scrape; oldest value of another database"
        rows.append(
            [f"… {what}" if rows else f"{label}: {what}"]
            + [cell(peer, lambda n: f"{took(row[n][1])}; {seconds(row[n][2])}") for peer in peers]
        )
        if label == "deleted":
            rows.append(
                ["… file created again"] + [cell(peer, lambda n: "YES" if back[n] else "no") for peer in peers]
            )
    rows.append(["missing from the start"] + [cell(peer, lambda n: missing[n]) for peer in peers])
    return peers, rows


# --- the table -----------------------------------------------------------------------------------------------------


def table(title, peers, rows, markdown):
    header = ["", *(peer.name for peer in peers)]
    if markdown:
        # Label sets and alternatives hold pipes and braces; only the pipe means something to Markdown.
        line = lambda cells: "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        return "\n".join([f"### {title}", "", line(header), "|" + " --- |" * len(header), *map(line, rows), ""])
    if any(len(cell) > 40 for row in rows for cell in row[1:]):
        # Sentences do not fit columns.
        out = [f"== {title}"]
        for row in rows:
            out.append(row[0])
            out += [f"    {name + ':':<18}{cell}" for name, cell in zip(header[1:], row[1:])]
        return "\n".join(out) + "\n"
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    line = lambda cells: "  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip()
    return "\n".join([f"== {title}", *map(line, [header, *rows]), ""])


def machine():
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return f"{os.cpu_count()} × {model.group(1) if model else platform.machine()}, Linux {platform.release()}"


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--databases", default="100,1000", help="how many, one run each (default: %(default)s)")
    parser.add_argument("--sweeps", type=int, default=4, help="intervals that CPU is measured over")
    parser.add_argument("--interval", type=int, default=15, help="seconds between sweeps, as in production")
    parser.add_argument("--fault-interval", type=int, default=5, help="the same for the faults")
    parser.add_argument("--scrapes", type=int, default=60, help="scrapes of each peer for the latency")
    parser.add_argument("--binary", default=str(ROOT / "target/release/litekeeper"))
    parser.add_argument("--journal", choices=("delete", "wal"), default="delete", help="the databases' journal mode")
    parser.add_argument("--peers", default=",".join(PEERS), help="which, by name (default: %(default)s)")
    parser.add_argument("--no-faults", action="store_true", help="leave out the faults")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    parser.add_argument("--max-seconds", type=int, default=3600, help="give up after this long")
    options = parser.parse_args(arguments)
    try:
        options.sizes = [int(size) for size in options.databases.split(",") if size]
        options.classes = [PEERS[name] for name in options.peers.split(",")]
    except (ValueError, KeyError) as error:
        parser.error(f"what is {error}?")
    if min([options.sweeps, options.interval, options.fault_interval, options.scrapes, *options.sizes]) < 1:
        parser.error("numbers must be positive")
    return options


def give_up(number, _frame):
    sys.exit(f"compare_peers: {'out of time' if number == signal.SIGALRM else 'interrupted'}")


def main(arguments):
    options = parse(arguments)
    if Litekeeper in options.classes:
        Litekeeper.binary = shutil.which(options.binary)
        if not Litekeeper.binary:
            say(f"no litekeeper at {options.binary}: cargo build --release, or --binary FILE")
            return 3
        Litekeeper.binary = os.path.abspath(Litekeeper.binary)
    if not install_peers():
        return 4
    for one in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(one, give_up)
    signal.alarm(options.max_seconds)
    # query-exporter keeps a connection to each database; the usual soft limit of 1024 files would fail it at 1,000
    # for a reason that is not its own.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard == resource.RLIM_INFINITY else min(hard, 65536), hard))
    failed, tables = False, []
    with tempfile.TemporaryDirectory(prefix="compare-peers-") as temporary:
        try:
            for count in options.sizes:
                workdir = Path(temporary) / str(count)
                workdir.mkdir()
                peers, rows = measure_size(options.classes, options, workdir, count)
                failed |= any(peer.failed for peer in peers)
                tables.append(table(f"{count} databases", peers, rows, options.markdown))
                shutil.rmtree(workdir)
            if not options.no_faults:
                workdir = Path(temporary) / "faults"
                workdir.mkdir()
                peers, rows = measure_faults(options.classes, options, workdir)
                failed |= any(peer.failed for peer in peers)
                title = f"Faults (20 databases, looked at every {options.fault_interval} s)"
                tables.append(table(title, peers, rows, options.markdown))
        finally:
            for process in list(STARTED):
                stop(process)
    versions = ", ".join(cls.version() for cls in options.classes)
    print(f"{versions}; journal mode {options.journal}; Python {platform.python_version()}; {machine()}\n")
    print("\n".join(tables))
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["writer"]:
        role_writer(float(sys.argv[2]), sys.argv[3:])
    elif sys.argv[1:2] == ["locker"]:
        role_locker(sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1:]))
