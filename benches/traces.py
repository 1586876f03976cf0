#!/usr/bin/env python3
"""What traces cost: the same work with traces on (to a collector on this machine, every sweep sampled) and off.

- log cleaning: `litekeeper run log_cleaning` on copies of one database, one after the other in turns; the run's own time, and
  the CPU time of the whole process, export included;
- sweeps: two agents watch the same databases at the same time, all of which change between sweeps; the time of each sweep, and
  the CPU time of the agent in a second.

    cargo build --release && PYTHON benches/traces.py [--rows 200000] [--pairs 7] [--databases 1000] [--seconds 30]

PYTHON has PyPI's opentelemetry-proto, as the venv that tests/run makes. Prints medians and the ratio on / off; it asserts nothing.
"""
import argparse
import json
import os
import resource
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))


class Collector:
    def __init__(self):
        script = os.path.join(HERE, "../tests/otlp_receiver.py")
        self.process = subprocess.Popen(
            [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.spans = 0
        threading.Thread(target=self.count, daemon=True).start()

    def count(self):
        for line in self.process.stdout:
            self.spans += '{"span"' in line

    def environment(self, on):
        variables = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        if on:
            variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{self.port}"
        return variables


def make_log(path, rows):
    connection = sqlite3.connect(path)
    connection.executescript(
        f"""PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
        CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, message TEXT NOT NULL);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
        INSERT INTO logs SELECT i, unixepoch() - 8640000 + i, 'request ' || i || ' served in time' FROM n;
        INSERT INTO logs (at, message) VALUES (unixepoch(), 'now');
        CREATE INDEX logs_at ON logs (at);"""
    )
    connection.close()


def clean_once(options, directory, template, environment):
    path = os.path.join(directory, "app.db")
    for name in os.listdir(directory):
        if name.startswith(("app.db", "state")):
            place = os.path.join(directory, name)
            shutil.rmtree(place) if os.path.isdir(place) else os.remove(place)
    shutil.copy(template, path)
    os.sync()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [options.binary, "run", "log_cleaning", "--config", f"{directory}/lk.yml", "--json", "--log.level=off"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    run = json.loads(done.stdout)["runs"][0]
    assert run["outcome"] == "success" and run["details"]["log_cleaning"]["deleted_rows"] == options.rows, run
    return run["elapsed_seconds"], cpu


def show(what, off, on, unit):
    first, second = statistics.median(off), statistics.median(on)
    pairs = statistics.median(b / a for a, b in zip(off, on))
    print(f"  {what:<34} off {first:9.3f} {unit}   on {second:9.3f} {unit}   ratio of medians {second / first:.3f}, median of pairs {pairs:.3f}")


def clean(options, directory, collector):
    template = os.path.join(directory, "template.db")
    make_log(template, options.rows)
    with open(f"{directory}/lk.yml", "w") as file:
        file.write(
            "state: state.sqlite\ndatabases:\n  - path: app.db\n    tasks: {log_cleaning: {tables: [{table: logs, column: at, "
            "retention: 30d}]}}\n"
        )
    figures = {True: [], False: []}
    clean_once(options, directory, template, collector.environment(False))
    for pair in range(options.pairs):
        for on in (True, False) if pair % 2 else (False, True):
            figures[on].append(clean_once(options, directory, template, collector.environment(on)))
    print(f"log cleaning of {options.rows:,} rows, {options.pairs} pairs")
    for index, what in enumerate(["time of the run", "CPU of the process"]):
        show(what, [f[index] for f in figures[False]], [f[index] for f in figures[True]], "s")


class Agent:
    def __init__(self, options, directory, name, environment):
        config = f"{directory}/{name}.yml"
        tracing = ""
        if environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            endpoint = environment["OTEL_EXPORTER_OTLP_ENDPOINT"]
            tracing = f"tracing: {{endpoint: '{endpoint}', sweep_sampling_fraction: 1}}\n"
        with open(config, "w") as file:
            file.write(f"{tracing}sample_interval: 1s\nlisten: unix:{directory}/{name}.sock\ndatabases: [{{directory: many}}]\n")
        command = [options.binary, "serve", "--config", config, "--web.listen-address=127.0.0.1:0", "--log.format=json"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        for line in self.process.stderr:
            said = json.loads(line)
            if said["message"] == "listening":
                self.url = f"http://{said['address']}/metrics"
                break
        threading.Thread(target=lambda: [None for _ in self.process.stderr], daemon=True).start()

    def figures(self):
        with urllib.request.urlopen(self.url, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        value = {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines if line.startswith(("litekeeper_sweep", "process_cpu"))}
        return value["litekeeper_sweep_duration_seconds"], value["process_cpu_seconds_total"]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def sweep(options, directory, collector):
    many = os.path.join(directory, "many")
    os.mkdir(many)
    make_log(os.path.join(directory, "small.db"), 10)
    for index in range(options.databases):
        shutil.copy(os.path.join(directory, "small.db"), f"{many}/tenant{index:05}.db")
    stop = threading.Event()

    def touch():
        while not stop.wait(0.5):
            for name in os.listdir(many):
                if name.endswith(".db"):
                    os.utime(os.path.join(many, name))

    toucher = threading.Thread(target=touch)
    toucher.start()
    agents = {}
    for on in (False, True):
        agents[on] = Agent(options, directory, "on" if on else "off", collector.environment(on))
        time.sleep(0.5)
    sweeps = {True: [], False: []}
    cpu = {True: [], False: []}
    try:
        time.sleep(4)
        last = {on: agents[on].figures() for on in agents}
        for _ in range(options.seconds):
            time.sleep(1)
            for on, agent in agents.items():
                now = agent.figures()
                sweeps[on].append(now[0] * 1e3)
                cpu[on].append((now[1] - last[on][1]) * 1e3)
                last[on] = now
    finally:
        stop.set()
        toucher.join()
        for agent in agents.values():
            agent.end()
    print(f"sweeps over {options.databases:,} databases that all change, {options.seconds} s, every sweep sampled")
    show("time of a sweep", sweeps[False], sweeps[True], "ms")
    print(f"  {'CPU of the agent, all seconds':<34} off {sum(cpu[False]):9.0f} ms   on {sum(cpu[True]):9.0f} ms   ratio {sum(cpu[True]) / sum(cpu[False]):.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--databases", type=int, default=1_000)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--binary", default=os.path.join(HERE, "../target/release/litekeeper"))
    options = parser.parse_args()
    options.binary = os.path.abspath(options.binary)
    collector = Collector()
    try:
        with tempfile.TemporaryDirectory(prefix="litekeeper-traces-") as directory:
            clean(options, directory, collector)
            sweep(options, directory, collector)
        time.sleep(0.5)
        print(f"spans that the collector read: {collector.spans}")
    finally:
        collector.process.kill()
        collector.process.wait()


if __name__ == "__main__":
    main()
