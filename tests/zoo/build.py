#!/usr/bin/env python3
"""Builds databases with real applications, for the tests in tests/it/zoo.rs.

    tests/zoo/build.py DIRECTORY             what is not there yet
    tests/zoo/build.py DIRECTORY NAME...     these, again

Applications come from Debian's packages and from PyPI. They are unpacked below DIRECTORY; nothing is installed on the
machine, and no network but loopback is used once they are there. Each recipe has a time limit, and all together have
one: a database that cannot be made is left out, and DIRECTORY/report.json says why. It also keeps what was made, so
that a second call does nothing. A recipe that is changed is made again; one that failed is tried again after a day.
"""

import concurrent.futures
import hashlib
import inspect
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

UV = "0.13.9"
TOTAL_SECONDS = 600
RETRY_SECONDS = 24 * 3600
# Most of the time goes into the network and into processes that wait for each other.
AT_ONCE = 3

RECIPES = {}


class Unavailable(Exception):
    """Why a database cannot be made."""


def recipe(name, debian=(), pypi=(), seconds=90, alone=False, unless=None):
    """Registers a function that leaves the databases of an application in the directory that it is given.

    `alone`: of the packages from Debian some files are read, so that what they depend on is not wanted. `unless`: with
    this program on the machine, no package is fetched.
    """

    def register(function):
        source = repr((debian, pypi)) + inspect.getsource(function)
        stamp = hashlib.sha256(source.encode()).hexdigest()[:16]
        RECIPES[name] = {"function": function, "debian": debian, "pypi": pypi, "seconds": seconds, "stamp": stamp,
                         "alone": alone, "unless": unless}
        return function

    return register


class Context:
    """What a recipe works with: its directory, its application, a deadline."""

    def __init__(self, zoo, name, directory, deadline):
        self.zoo = zoo
        self.name = name
        self.directory = directory
        self.scratch = zoo / "scratch" / name
        self.deadline = deadline
        self.packages = zoo / "pypi" / name
        self.root = zoo / "debian" / name
        for old in (self.scratch, self.packages, self.root):
            shutil.rmtree(old, ignore_errors=True)
        self.scratch.mkdir(parents=True)

    def left(self):
        left = self.deadline - time.monotonic()
        if left <= 1:
            raise Unavailable("it took too long")
        return left

    def environment(self, **more):
        """A home of its own, so that no application finds or leaves anything in the user's."""
        places = ("usr/lib/*-linux-gnu*", "lib/*-linux-gnu*", "usr/lib", "usr/lib/nix",
                  "usr/lib/*-linux-gnu*/pulseaudio")
        libraries = [str(path) for place in places for path in self.root.glob(place)]
        return {
            "PATH": os.pathsep.join([f"{self.root}/usr/bin", f"{self.root}/usr/sbin", f"{self.root}/usr/games",
                                     os.environ["PATH"], "/usr/sbin", "/sbin"]),
            "HOME": str(self.scratch),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "USER": "zoo",
            "PYTHONPATH": str(self.packages),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),
            **more,
        }

    def run(self, *command, stdin=None, check=True, cwd=None, **more):
        """A program that ends by itself. Gives back what it printed."""
        process = self.start(*command, stdin=stdin, cwd=cwd, **more)
        try:
            output, _ = process.communicate(stdin, timeout=self.left())
        except subprocess.TimeoutExpired:
            self.stop(process, signal.SIGKILL)
            raise Unavailable(f"{command[0]} took too long") from None
        if check and process.returncode != 0:
            tail = " / ".join(output.decode(errors="replace").strip().splitlines()[-3:])
            raise Unavailable(f"{command[0]} exited {process.returncode}: {tail[-400:]}")
        return output.decode(errors="replace")

    def start(self, *command, stdin=None, cwd=None, **more):
        """A program that runs until it is stopped."""
        try:
            return subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                cwd=cwd or self.scratch, env=self.environment(**more))
        except OSError as error:
            raise Unavailable(f"{command[0]}: {error.strerror}") from None

    def python(self, code, *arguments, **more):
        """Code that has the application's Python packages."""
        return self.run(sys.executable, "-c", code, *arguments, **more)

    def stop(self, process, number=signal.SIGTERM):
        """Ends a program and what it started."""
        for number, seconds in ((number, 15), (signal.SIGKILL, 15)):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                pass
            try:
                process.communicate(timeout=seconds)
                return
            except subprocess.TimeoutExpired:
                continue

    def wait_for(self, what, condition, process=None):
        """Until something is there. A process that ends before is an error."""
        while not condition():
            if process is not None and process.poll() is not None:
                output = process.stdout.read().decode(errors="replace").strip()
                raise Unavailable(f"ended before {what}: {output[-400:]}")
            self.left()
            time.sleep(0.1)

    def rows(self, path, sql):
        """What a query says of a database that its owner writes now; nothing while it cannot be asked."""
        import sqlite3
        try:
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)
            try:
                return connection.execute(sql).fetchall()
            finally:
                connection.close()
        except sqlite3.Error:
            return []

    def load(self, file, *scripts):
        """A database of the SQL that an application creates its own with."""
        import sqlite3
        connection = sqlite3.connect(self.directory / file)
        for script in scripts:
            connection.executescript(script)
        connection.commit()
        connection.close()

    def keep(self, path, name=None):
        """Copies a database and the files beside it out of where the application left it."""
        path = pathlib.Path(path)
        for found in [path, *(path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal"))]:
            if found.is_file():
                shutil.copy2(found, self.directory / found.name.replace(path.name, name or path.name))
        if not (self.directory / (name or path.name)).is_file():
            raise Unavailable(f"the application made no {path.name}")


# --- packages --------------------------------------------------------------------------------------------------

APT_LOCK = threading.Lock()
APT_OPTIONS = ["-q", "-y", "-o", "Debug::NoLocking=true", "-o", "APT::Install-Recommends=false",
               "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30", "-o", "Acquire::https::Timeout=30"]
lists_updated = False


def apt(arguments, seconds, directory=None):
    return subprocess.run(["apt-get", *APT_OPTIONS, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=seconds, env={**os.environ, "LANG": "C.UTF-8"},
                          cwd=directory)


def debian(context, packages, alone):
    """Unpacks packages, and what they need and the machine lacks, into a directory of their own."""
    global lists_updated
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Unavailable("there is no apt-get")
    archives = context.scratch / "archives"
    (archives / "partial").mkdir(parents=True)
    # A package that the machine has already is wanted all the same: its files are taken from the archive.
    with APT_LOCK:
        arguments = ["-o", f"Dir::Cache::archives={archives}", "--download-only", "--reinstall", "install", *packages]
        if alone:
            arguments = ["download", *packages]
        done = apt(arguments, context.left(), archives)
        if done.returncode != 0 and not lists_updated and os.getuid() == 0:
            lists_updated = True
            apt(["update"], context.left())
            done = apt(arguments, context.left(), archives)
    if done.returncode != 0:
        raise Unavailable("apt-get: " + done.stdout.decode(errors="replace").strip().splitlines()[-1])
    context.root.mkdir(parents=True)
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", archive, context.root], check=True, timeout=context.left())
    shutil.rmtree(archives)


def pypi(context, packages):
    """Packages of Python in a directory of their own: what one application needs would not suit another."""
    uv = context.zoo / "uv" / "bin" / "uv"
    done = subprocess.run([uv, "pip", "install", "-q", "--python", sys.executable, "--target", context.packages, *packages],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, "UV_CACHE_DIR": str(context.zoo / "uv-cache")}, timeout=context.left())
    if done.returncode != 0:
        raise Unavailable("uv: " + done.stdout.decode(errors="replace").strip()[-300:])


def get_uv(zoo):
    """uv is several times as fast as pip, and shares files between the applications."""
    if (zoo / "uv" / "bin" / "uv").exists():
        return
    shutil.rmtree(zoo / "uv", ignore_errors=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", zoo / "uv"], check=True, timeout=60, stdout=sys.stderr)
        subprocess.run([zoo / "uv" / "bin" / "python", "-m", "pip", "install", "-q", "--no-input",
                        "--disable-pip-version-check", "--retries", "3", "--timeout", "20", f"uv=={UV}"],
                       check=True, timeout=120, stdout=sys.stderr)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"zoo: no uv, so nothing from PyPI: {error}", file=sys.stderr)


# --- the building ----------------------------------------------------------------------------------------------

def make(zoo, name, deadline):
    """Builds one; gives back why it could not."""
    one = RECIPES[name]
    if time.monotonic() >= deadline:
        return "the time of all recipes together was over"
    directory = zoo / "unfinished" / name
    target = zoo / "databases" / name
    for old in (directory, target):
        shutil.rmtree(old, ignore_errors=True)
    directory.mkdir(parents=True)
    context = Context(zoo, name, directory, min(deadline, time.monotonic() + one["seconds"]))
    try:
        if one["debian"] and not (one["unless"] and shutil.which(one["unless"])):
            debian(context, one["debian"], one["alone"])
        if one["pypi"]:
            pypi(context, one["pypi"])
        one["function"](context)
        target.parent.mkdir(parents=True, exist_ok=True)
        directory.rename(target)
        return None
    except Unavailable as reason:
        return str(reason)
    except subprocess.TimeoutExpired as error:
        return f"{pathlib.Path(str(error.cmd[0])).name} took too long"
    except Exception as error:  # One recipe that is wrong must not take the others along.
        return f"{type(error).__name__}: {error}"
    finally:
        # Programs are large, and not needed again.
        for leftover in (context.scratch, context.packages, context.root, directory):
            if not os.environ.get("ZOO_KEEP"):
                shutil.rmtree(leftover, ignore_errors=True)


def main():
    import database_recipes  # noqa: F401  (registers them)

    zoo = pathlib.Path(sys.argv[1]).resolve()
    zoo.mkdir(parents=True, exist_ok=True)
    report_file = zoo / "report.json"
    report = json.loads(report_file.read_text()) if report_file.exists() else {}
    asked_for = sys.argv[2:]

    def is_wanted(name):
        known = report.get(name)
        if asked_for:
            return name in asked_for
        if known is None or known["stamp"] != RECIPES[name]["stamp"]:
            return True
        if known["left_out"] is None:
            return not (zoo / "databases" / name).is_dir()
        return time.time() - known["time"] > RETRY_SECONDS

    for name in set(report) - set(RECIPES):
        del report[name]
        shutil.rmtree(zoo / "databases" / name, ignore_errors=True)
    wanted = [name for name in RECIPES if is_wanted(name)]
    if wanted:
        print(f"zoo: making {len(wanted)} of {len(RECIPES)} sets of databases", file=sys.stderr)
        if any(RECIPES[name]["pypi"] for name in wanted):
            get_uv(zoo)
        started = time.monotonic()
        lock = threading.Lock()

        def make_and_record(name):
            begun = time.monotonic()
            left_out = make(zoo, name, started + TOTAL_SECONDS)
            with lock:
                report[name] = {"stamp": RECIPES[name]["stamp"], "left_out": left_out, "time": int(time.time())}
                report_file.write_text(json.dumps(report, indent=1, sort_keys=True))
                print(f"zoo: {name}: {left_out or 'made'} ({time.monotonic() - begun:.0f} s)", file=sys.stderr)

        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(make_and_record, wanted))
        for leftover in ("uv-cache", "scratch", "pypi", "debian", "unfinished"):
            if not os.environ.get("ZOO_KEEP"):
                shutil.rmtree(zoo / leftover, ignore_errors=True)
    report_file.write_text(json.dumps(report, indent=1, sort_keys=True))


if __name__ == "__main__":
    # The recipes import this file by its name; they are to register in the same table.
    sys.dont_write_bytecode = True
    sys.modules["build"] = sys.modules["__main__"]
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    main()
