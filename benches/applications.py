#!/usr/bin/env python3
"""What real applications notice while litekeeper maintains their databases.

    cargo build --release && python3 benches/applications.py [--binary target/release/litekeeper] [--seconds 15]

Each application runs with its own settings on loopback and gets a steady load of one client. Phases without litekeeper alternate
with phases in which one task runs again and again, and with phases of watching alone at `sample_interval: 1s`. Printed are, for each
task, the requests, the errors, the 99th percentile of the response time, and its ratio to the phases without litekeeper before and
after. It asserts nothing.

The applications come from PyPI (ara, mlflow, slixmpp; installed into target/application-tools) and Debian (prosody, lua-dbi-sqlite3);
one that is missing is left out and named.
"""
import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "target" / "application-tools"
TASKS = ["health_check", "log_cleaning", "vacuum", "optimize", "backup", "checkpoint"]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def post(url, document):
    request = urllib.request.Request(url, json.dumps(document).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def wait_for(condition, what, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.2)
    raise RuntimeError(f"{what} did not start within {seconds} s")


class Application:
    """An application at work in a directory of its own. `request` is one request of its client."""

    cleaning = None

    def __init__(self, directory):
        self.directory = Path(directory)
        self.processes = []

    def spawn(self, command, **environment):
        log = open(self.directory / "application.log", "ab")
        process = subprocess.Popen(
            command,
            cwd=self.directory,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.processes.append(process)

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            process.wait(20)


class Ara(Application):
    """ARA records Ansible playbooks: Django with its default of 5 s for a lock, rollback journal."""

    name = "ara"
    database = "ansible.sqlite"
    cleaning = {"table": "playbooks", "column": "started", "retention": "30d", "foreign_keys": "on"}

    def start(self):
        port = free_port()
        environment = {"ARA_BASE_DIR": str(self.directory), "ARA_ALLOWED_HOSTS": '["*"]'}
        subprocess.run(
            [TOOLS / "bin" / "ara-manage", "migrate"],
            env={**os.environ, **environment},
            check=True,
            capture_output=True,
        )
        self.url = f"http://127.0.0.1:{port}/api/v1/playbooks"
        self.spawn([TOOLS / "bin" / "ara-manage", "runserver", "--noreload", f"127.0.0.1:{port}"], **environment)
        wait_for(lambda: urllib.request.urlopen(self.url, timeout=5), "ara")

    def request(self):
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        post(
            self.url,
            {
                "ansible_version": "2.16.0",
                "arguments": {"check": False},
                "status": "running",
                "path": "/etc/site.yml",
                "started": started,
            },
        )


class Mlflow(Application):
    """MLflow's tracking server: SQLAlchemy with the 5 s of Python's driver, rollback journal."""

    name = "mlflow"
    database = "mlflow.db"

    def start(self):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/api/2.0/mlflow"
        python = TOOLS / "bin" / "python"
        self.spawn(
            [python, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{self.directory}/mlflow.db"]
            + ["--artifacts-destination", str(self.directory / "artifacts"), "--host", "127.0.0.1", "--port", str(port)]
            + ["--workers", "1"],
            PATH=f"{TOOLS / 'bin'}:{os.environ['PATH']}",
        )
        wait_for(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5), "mlflow")
        created = post(f"{self.url}/runs/create", {"experiment_id": "0", "start_time": int(time.time() * 1000)})
        self.run, self.step = created["run"]["info"]["run_id"], 0

    def request(self):
        self.step += 1
        moment = int(time.time() * 1000)
        post(
            f"{self.url}/runs/log-metric",
            {"run_id": self.run, "key": "loss", "value": 1.0, "timestamp": moment, "step": self.step},
        )


class Prosody(Application):
    """An XMPP server that archives messages: luadbi without a busy timeout, rollback journal."""

    name = "prosody"
    database = "prosody.sqlite"

    def start(self):
        port = free_port()
        (self.directory / "data").mkdir()
        (self.directory / "prosody.cfg.lua").write_text(
            f"""
run_as_root = true
daemonize = false
data_path = "{self.directory}/data"
pidfile = "{self.directory}/prosody.pid"
modules_enabled = {{ "roster", "saslauth", "disco", "mam", "offline" }}
modules_disabled = {{ "s2s", "tls" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{}}
http_ports = {{}}
https_ports = {{}}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
storage = "sql"
sql = {{ driver = "SQLite3", database = "{self.directory}/prosody.sqlite" }}
archive_expires_after = "never"
log = {{ error = "{self.directory}/prosody.log" }}
limits = {{}}
VirtualHost "localhost"
"""
        )
        config = str(self.directory / "prosody.cfg.lua")
        for user in ("anna", "ben"):
            subprocess.run(
                ["prosodyctl", "--root", "--config", config, "register", user, "localhost", "secret"],
                check=True,
                capture_output=True,
            )
        self.spawn(["prosody", "--root", "--config", config, "-F"])
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1), "prosody")
        self.port = port
        self.arrived = threading.Semaphore(0)
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        threading.Thread(target=self.connect, args=(ready,), daemon=True).start()
        if not ready.wait(30):
            raise RuntimeError("the XMPP clients did not sign in")

    def connect(self, ready):
        sys.path[:0] = [str(path) for path in (TOOLS / "lib").glob("python*/site-packages")]
        import slixmpp

        asyncio.set_event_loop(self.loop)
        signed_in = []

        def client(name):
            client = slixmpp.ClientXMPP(f"{name}@localhost", "secret")
            client.enable_starttls = client.enable_direct_tls = False
            client.enable_plaintext = True
            login = client.plugin["feature_mechanisms"]
            login.unencrypted_plain = login.unencrypted_scram = True

            async def started(_):
                client.send_presence()
                signed_in.append(name)
                if len(signed_in) == 2:
                    ready.set()

            client.add_event_handler("session_start", started)
            client.add_event_handler("message", lambda _: self.arrived.release())
            client.connect("127.0.0.1", self.port) if "host" in client.connect.__code__.co_varnames else client.connect(
                ("127.0.0.1", self.port)
            )
            return client

        self.anna, self.ben = client("anna"), client("ben")
        self.loop.run_forever()

    def errors(self):
        log = self.directory / "prosody.log"
        return log.read_text(errors="replace").count("database is locked") if log.exists() else 0

    def request(self):
        send = lambda: self.anna.send_message(mto="ben@localhost", mbody="hello", mtype="chat")
        self.loop.call_soon_threadsafe(send)
        if not self.arrived.acquire(timeout=10):
            raise OSError("the message did not arrive")


class Load:
    """One client that sends requests until it is stopped; those since the last look are in `seconds` and `errors`."""

    def __init__(self, application, pause):
        self.application, self.pause = application, pause
        self.seconds, self.errors, self.stopped = [], 0, False
        self.logged = self.logged_errors()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def logged_errors(self):
        return self.application.errors() if hasattr(self.application, "errors") else 0

    def work(self):
        while not self.stopped:
            begun = time.monotonic()
            try:
                self.application.request()
            except (OSError, urllib.error.URLError):
                self.errors += 1
            self.seconds.append(time.monotonic() - begun)
            time.sleep(self.pause)

    def taken(self):
        seconds, errors = self.seconds, self.errors
        self.seconds, self.errors = [], 0
        logged = self.logged_errors()
        errors, self.logged = errors + logged - self.logged, logged
        return sorted(seconds), errors


def p99(seconds):
    return 1000 * seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))] if seconds else float("nan")


def configure(application):
    tasks = {task: {} for task in TASKS}
    tasks["backup"] = {"to": str(application.directory / "backups"), "keep": 2}
    tasks["vacuum"] = {"min_reclaimable": {"bytes": 0, "ratio": 0}}
    if application.cleaning:
        cleaning = dict(application.cleaning)
        foreign_keys = cleaning.pop("foreign_keys")
        tasks["log_cleaning"] = {"foreign_keys": foreign_keys, "tables": [cleaning]}
    else:
        del tasks["log_cleaning"]
    (application.directory / "backups").mkdir()
    database = {"path": str(application.directory / application.database), "name": "app", "tasks": tasks}
    database["row_counts"] = ["*"]
    document = {
        "state": str(application.directory / "state.db"),
        "sample_interval": "1s",
        "listen": f"127.0.0.1:{free_port()}",
        "databases": [database],
    }
    file = application.directory / "litekeeper.yml"
    file.write_text(json.dumps(document))
    return file, list(tasks)


def phase(load, seconds, work):
    load.taken()
    end = time.monotonic() + seconds
    runs = 0
    while time.monotonic() < end:
        work(end)
        runs += 1
    measured, errors = load.taken()
    return measured, errors, runs


def measure(kind, options):
    with tempfile.TemporaryDirectory(prefix="litekeeper-application-") as directory:
        application = kind(directory)
        try:
            application.start()
            config, tasks = configure(application)
            load = Load(application, options.pause)
            rest = lambda end: time.sleep(max(0, end - time.monotonic()))
            phase(load, options.seconds / 2, rest)
            before, errors, _ = phase(load, options.seconds, rest)
            print(f"\n{application.name}: {kind.__doc__.splitlines()[0]}")
            print(f"| phase | runs | requests | errors | p50 ms | p99 ms | p99 / without |\n|---|---|---|---|---|---|---|")
            row = "| {} | {} | {} | {} | {:.1f} | {:.1f} | {} |"
            p50 = lambda seconds: 1000 * statistics.median(seconds)
            print(row.format("without", "", len(before), errors, p50(before), p99(before), ""), flush=True)
            for task in ["watching", *tasks]:
                if task == "watching":
                    server = subprocess.Popen(
                        [options.binary, "serve", "--config", config],
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                    )
                    during, errors, runs = phase(load, options.seconds, rest)
                    server.terminate()
                    server.wait(20)
                else:
                    command = [options.binary, "run", task, "--config", config, "--log.level", "error"]
                    one = lambda _: subprocess.run(command, capture_output=True)
                    during, errors, runs = phase(load, options.seconds, one)
                after, after_errors, _ = phase(load, options.seconds, rest)
                ratio = p99(during) / p99(sorted(before + after))
                print(
                    row.format(task, runs, len(during), errors, p50(during), p99(during), f"{ratio:.2f}"), flush=True
                )
                print(row.format("without", "", len(after), after_errors, p50(after), p99(after), ""), flush=True)
                before = after
            load.stopped = True
            load.thread.join(15)
        finally:
            application.stop()


def install():
    if not (TOOLS / "bin" / "ara-manage").exists():
        subprocess.run([sys.executable, "-m", "venv", TOOLS], check=True)
        packages = ["ara[server]", "mlflow", "slixmpp"]
        subprocess.run([TOOLS / "bin" / "pip", "install", "-q", *packages], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "target/release/litekeeper"))
    parser.add_argument("--seconds", type=float, default=15, help="length of a phase")
    parser.add_argument("--pause", type=float, default=0.01, help="seconds between two requests of the client")
    parser.add_argument("--applications", default="ara,mlflow,prosody")
    options = parser.parse_args()
    install()
    for kind in (Ara, Mlflow, Prosody):
        if kind.name not in options.applications.split(","):
            continue
        if kind is Prosody and not shutil.which("prosody"):
            print("prosody is missing: install Debian's prosody and lua-dbi-sqlite3")
            continue
        try:
            measure(kind, options)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            print(f"{kind.name} was left out: {error}")


if __name__ == "__main__":
    main()
