#!/usr/bin/env python3
"""Soak test of `litekeeper scrub`: looks for false alarms, and for damage that is not found.

    benches/scrub_soak.py --litekeeper target/release/litekeeper alarms --scrubs 10000
    benches/scrub_soak.py --litekeeper target/release/litekeeper flips --flips 200    # as root
    benches/scrub_soak.py --litekeeper target/release/litekeeper wal --databases 50   # as root

`alarms` scrubs databases between and during writes of every kind and fails on the first mismatch.
`flips` and `wal` flip single bits under the file system, in the image of a loop mount, so that no
time of a file changes; each must be found and named with its table.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

PAGE_SIZES = [512, 1024, 4096, 8192, 65536]


def scrub(arguments, ledgers, files, *options, timeout=600):
    command = [arguments.litekeeper, "scrub", "--json", "--ledger-dir", ledgers, *options, *files]
    done = subprocess.run(command, capture_output=True, timeout=timeout)
    try:
        return json.loads(done.stdout)["databases"]
    except ValueError:
        sys.exit(f"{command}: {done.returncode} {done.stderr.decode()}")


def fill(connection, rows, seed=""):
    connection.execute("CREATE TABLE IF NOT EXISTS vouchers (id INTEGER PRIMARY KEY, a, b)")
    connection.execute("CREATE TABLE IF NOT EXISTS logs (id INTEGER PRIMARY KEY, t)")
    connection.execute("CREATE INDEX IF NOT EXISTS by_a ON vouchers (a)")
    long = [random.choice([20, 90, 300]) if random.random() < 0.99 else 20_000 for _ in range(rows)]
    connection.executemany(
        "INSERT INTO vouchers (a, b) VALUES (?, ?)",
        [(random.randrange(10**6), os.urandom(length)) for length in long],
    )
    connection.executemany("INSERT INTO logs (t) VALUES (?)", [(seed + "x" * 50,) for _ in range(rows // 2)])
    connection.commit()


class Subject:
    """A database of the search for false alarms, with a connection that may stay open."""

    def __init__(self, path, kind):
        self.path = path
        self.kind = kind
        self.connection = None
        self.writer = None
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA page_size = {random.choice(PAGE_SIZES)}")
        connection.execute(f"PRAGMA auto_vacuum = {random.choice([0, 1, 2])}")
        connection.execute(f"PRAGMA journal_mode = {random.choice(['delete', 'truncate', 'persist', 'wal'])}")
        fill(connection, 300)
        connection.close()

    def open(self):
        if self.connection is None:
            self.connection = sqlite3.connect(self.path, timeout=20, isolation_level=None)
            self.connection.execute(f"PRAGMA synchronous = {random.choice(['off', 'normal', 'full'])}")
            self.connection.execute(f"PRAGMA wal_autocheckpoint = {random.choice([5, 50, 1000])}")
        return self.connection

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def stop_writer(self, number=signal.SIGKILL):
        if self.writer is not None:
            self.writer.send_signal(number)
            self.writer.wait()
            self.writer = None


def commit(subject):
    connection = subject.open()
    for _ in range(random.randrange(1, 8)):
        connection.execute("BEGIN")
        for _ in range(random.randrange(1, 6)):
            connection.execute(
                "UPDATE vouchers SET b = ? WHERE id = ?", (os.urandom(80), random.randrange(1, 300))
            )
        connection.execute("COMMIT")


def grow_and_delete(subject):
    connection = subject.open()
    fill(connection, random.randrange(20, 100))
    connection.execute("DELETE FROM logs WHERE id % 3 = 0")
    connection.execute("DELETE FROM vouchers WHERE id > 400")


def spill_and_rollback(subject):
    connection = subject.open()
    connection.execute("PRAGMA cache_size = 5")
    connection.execute("BEGIN")
    for number in range(60):
        connection.execute("INSERT INTO logs (t) VALUES (?)", ("y" * 900,))
        connection.execute("UPDATE vouchers SET b = ? WHERE id = ?", (os.urandom(100), number + 1))
    connection.execute("ROLLBACK")
    connection.execute("PRAGMA cache_size = 2000")


def checkpoint(subject):
    kind = random.choice(["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
    subject.open().execute(f"PRAGMA wal_checkpoint({kind})").fetchall()


def change_mode(subject):
    mode = random.choice(["delete", "truncate", "persist", "wal", "wal", "wal"])
    subject.open().execute(f"PRAGMA journal_mode = {mode}").fetchall()


def vacuum(subject):
    connection = subject.open()
    connection.execute(random.choice(["VACUUM", "PRAGMA incremental_vacuum(3)", "PRAGMA incremental_vacuum"]))


def exclusive(subject):
    subject.close()
    connection = sqlite3.connect(subject.path, timeout=20, isolation_level=None)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    subject.connection = connection
    commit(subject)


def reopen(subject):
    subject.close()
    subject.open()
    commit(subject)


def other_file(subject, fraction):
    """A copy of the database as it was, or with other content."""
    copy = subject.path + ".other"
    # The copy waits without end for an exclusive lock.
    subject.close()
    source = sqlite3.connect(subject.path, timeout=20)
    target = sqlite3.connect(copy)
    source.backup(target)
    source.close()
    if random.random() < fraction:
        target.execute("UPDATE vouchers SET b = randomblob(60) WHERE id % 7 = 0")
        target.commit()
    target.close()
    return copy


def restore_by_backup_api(subject):
    copy = other_file(subject, 0.7)
    source = sqlite3.connect(copy)
    subject.close()
    target = sqlite3.connect(subject.path, timeout=20)
    source.backup(target)
    target.close()
    source.close()
    os.remove(copy)


def replace(subject):
    copy = other_file(subject, 0.7)
    subject.close()
    for suffix in ("-wal", "-shm", "-journal"):
        if os.path.exists(subject.path + suffix):
            os.remove(subject.path + suffix)
    os.rename(copy, subject.path)


def copy_over(subject):
    """`cp` over the same inode, sometimes beside a WAL that a killed owner left."""
    copy = other_file(subject, 0.7)
    if random.random() < 0.5:
        kill_in_transaction(subject)
    subject.close()
    subprocess.run(["cp", copy, subject.path], check=True)
    os.remove(copy)
    try:
        commit(subject)
    except sqlite3.DatabaseError:
        # An old WAL over another file can be damage indeed: begin anew.
        subject.close()
        replace_by_new(subject)


def replace_by_new(subject):
    for suffix in ("", "-wal", "-shm", "-journal"):
        if os.path.exists(subject.path + suffix):
            os.remove(subject.path + suffix)
    connection = sqlite3.connect(subject.path)
    connection.execute(f"PRAGMA journal_mode = {random.choice(['delete', 'wal'])}")
    fill(connection, 300)
    connection.close()


KILLED = """
import os, random, signal, sqlite3, sys
c = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
c.execute("PRAGMA cache_size = 3")
for turn in range(random.randrange(3)):
    c.execute("UPDATE vouchers SET b = randomblob(70) WHERE id % 11 = ?", (random.randrange(11),))
c.execute("BEGIN IMMEDIATE")
c.execute("UPDATE vouchers SET b = randomblob(90) WHERE id % 3 = 0")
os.kill(os.getpid(), signal.SIGKILL)
"""

BUSY = """
import os, random, sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
c.execute("PRAGMA wal_autocheckpoint = %d" % random.choice([3, 20, 200]))
pause = random.choice([0, 0.001, 0.02])
while True:
    c.execute("BEGIN IMMEDIATE")
    for _ in range(random.randrange(1, 5)):
        c.execute("UPDATE vouchers SET b = ? WHERE id = ?", (os.urandom(80), random.randrange(1, 300)))
    c.execute(random.choice(["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]))
    time.sleep(pause)
"""


def kill_in_transaction(subject):
    """It leaves a hot journal, or a WAL with frames of no transaction."""
    subject.close()
    subprocess.run([sys.executable, "-c", KILLED, subject.path], stderr=subprocess.DEVNULL)


def write_meanwhile(subject):
    if subject.writer is None:
        subject.close()
        subject.writer = subprocess.Popen([sys.executable, "-c", BUSY, subject.path], stderr=subprocess.DEVNULL)


def set_times(subject):
    """mtime can be set back, as a clock that is set back does for new writes; ctime cannot."""
    stat = os.stat(subject.path)
    commit(subject)
    os.utime(subject.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


OPERATIONS = [
    commit, commit, commit, commit, grow_and_delete, spill_and_rollback, checkpoint, checkpoint, change_mode,
    vacuum, exclusive, reopen, restore_by_backup_api, replace, copy_over, kill_in_transaction,
    write_meanwhile, set_times,
]


def interrupted(arguments, ledgers, files):
    """A scrub that is killed or stopped at any moment, reader process and all."""
    command = [arguments.litekeeper, "scrub", "--ledger-dir", ledgers, "--rate", "2M", *files]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(random.random() * 0.4)
    process.send_signal(random.choice([signal.SIGKILL, signal.SIGTERM]))
    process.wait()


def alarms(arguments):
    random.seed(arguments.seed)
    modes, scrubs, verified, unverified = {}, 0, 0, 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        ledgers = os.path.join(directory, "ledgers")
        subjects = [Subject(os.path.join(directory, f"{n}.db"), n) for n in range(arguments.databases)]
        while scrubs < arguments.scrubs and time.monotonic() - began < arguments.seconds:
            trail = {}
            for subject in subjects:
                if subject.writer is not None and random.random() < 0.5:
                    subject.stop_writer()
                if subject.writer is not None or random.random() < 0.2:
                    continue
                operation = random.choice(OPERATIONS)
                trail[subject.path] = operation.__name__
                try:
                    operation(subject)
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error):
                        trail[subject.path] += f" ({error})"
                except sqlite3.DatabaseError:
                    subject.close()
                    replace_by_new(subject)
            files = [subject.path for subject in subjects]
            if random.random() < 0.1:
                interrupted(arguments, ledgers, files)
            for result in scrub(arguments, ledgers, files):
                scrubs += 1
                if result["status"] != "scrubbed":
                    print(result)
                    continue
                report = result["report"]
                modes[report["mode"]] = modes.get(report["mode"], 0) + 1
                verified += report["verified_pages"]
                unverified += sum(report["unverified_pages"].values())
                if not result["is_ok"]:
                    keep = os.path.join(arguments.directory, "false-alarm")
                    shutil.rmtree(keep, ignore_errors=True)
                    shutil.copytree(directory, keep)
                    print(f"FALSE ALARM after {trail.get(result['path'])}, files in {keep}")
                    print(json.dumps(result, indent=1)[:3000])
                    sys.exit(1)
        for subject in subjects:
            subject.stop_writer()
            subject.close()
    print(
        f"{scrubs} scrubs, 0 false alarms, {verified} pages verified, {unverified} not, modes {modes}, "
        f"{time.monotonic() - began:.0f} s, seed {arguments.seed}"
    )


class Image:
    """A file system in a file, mounted by a loop device."""

    def __init__(self, directory, megabytes=400):
        self.image = os.path.join(directory, "image")
        self.mount_point = os.path.join(directory, "mount")
        os.mkdir(self.mount_point)
        with open(self.image, "wb") as image:
            image.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", self.image], check=True)
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-o", "loop", self.image, self.mount_point], check=True)

    def unmount(self):
        for _ in range(100):
            if subprocess.run(["umount", self.mount_point], stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.1)
        sys.exit("the image is in use")

    def locate(self, path, offset):
        """Where a byte of a file is in the image."""
        text = subprocess.run(["filefrag", "-v", "-b512", path], check=True, capture_output=True, text=True).stdout
        for first, last, start in re.findall(r"^\s*\d+:\s*(\d+)\.\.\s*(\d+):\s*(\d+)\.\.", text, re.M):
            if int(first) <= offset // 512 <= int(last):
                return (int(start) + offset // 512 - int(first)) * 512 + offset % 512
        return None

    def flip(self, place, bit):
        with open(self.image, "r+b") as image:
            image.seek(place)
            byte = image.read(1)[0]
            image.seek(place)
            image.write(bytes([byte ^ 1 << bit]))
            image.flush()
            os.fsync(image.fileno())


def used_pages(connection):
    """Page to table, of pages that belong to a b-tree."""
    tables = dict(connection.execute("SELECT name, tbl_name FROM sqlite_schema"))
    rows = connection.execute("SELECT pageno, name FROM dbstat").fetchall()
    return {page: tables.get(name, name) for page, name in rows}


def check_found(result, page, table):
    found = [m for m in result["mismatches"] if m["page"] == page and m["kind"] == "page"]
    if len(result["mismatches"]) != 1 or not found:
        return f"page {page} of {table} was not found: {json.dumps(result)[:1500]}"
    name = found[0]["name"] and found[0]["name"]["table"]
    return None if name == table else f"page {page} of {table} is named {name}"


def flips(arguments):
    random.seed(arguments.seed)
    found, silent, misnamed, missed, total = 0, 0, [], [], 0
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        image = Image(directory)
        try:
            while total < arguments.flips:
                ledgers = os.path.join(directory, f"ledgers-{total}")
                targets = []
                for number in range(min(10, arguments.flips - total)):
                    path = os.path.join(image.mount_point, f"{total + number}.db")
                    connection = sqlite3.connect(path)
                    connection.execute(f"PRAGMA page_size = {random.choice(PAGE_SIZES)}")
                    connection.execute(f"PRAGMA auto_vacuum = {random.choice([0, 1, 2])}")
                    connection.execute(f"PRAGMA journal_mode = {random.choice(['delete', 'truncate', 'persist', 'wal'])}")
                    fill(connection, 500)
                    page, table = random.choice(list(used_pages(connection).items()))
                    size = connection.execute("PRAGMA page_size").fetchone()[0]
                    connection.close()
                    targets.append((path, page, table, size))
                files = [target[0] for target in targets]
                scrub(arguments, ledgers, files)
                os.sync()
                places = []
                for path, page, table, size in targets:
                    places.append(image.locate(path, (page - 1) * size + random.randrange(size)))
                image.unmount()
                for place in places:
                    image.flip(place, random.randrange(8))
                image.mount()
                for (path, page, table, size), result in zip(targets, scrub(arguments, ledgers, files)):
                    total += 1
                    problem = check_found(result, page, table)
                    if problem is None:
                        found += 1
                    elif "is named" in problem:
                        misnamed.append(problem)
                    else:
                        missed.append(problem)
                    connection = sqlite3.connect(path)
                    try:
                        silent += connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
                    except sqlite3.DatabaseError:
                        pass
                    finally:
                        connection.close()
                    for suffix in ("", "-wal", "-shm", "-journal"):
                        if os.path.exists(path + suffix):
                            os.remove(path + suffix)
        finally:
            image.unmount()
    print(f"{found} of {total} flips found and named, {silent} of them ok to integrity_check; seed {arguments.seed}")
    for problem in missed + misnamed:
        print(problem)
    sys.exit(bool(missed) or any("is named None" not in problem for problem in misnamed))


def wal(arguments):
    random.seed(arguments.seed)
    found, problems = 0, []
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        image = Image(directory)
        try:
            for number in range(arguments.databases):
                ledgers = os.path.join(directory, "ledgers")
                path = os.path.join(image.mount_point, f"{number}.db")
                owner = sqlite3.connect(path, isolation_level=None)
                owner.execute(f"PRAGMA page_size = {random.choice(PAGE_SIZES[:4])}")
                owner.execute("PRAGMA journal_mode = wal")
                fill(owner, 800)
                pages = used_pages(owner)
                size = owner.execute("PRAGMA page_size").fetchone()[0]
                owner.execute("PRAGMA wal_checkpoint").fetchall()
                scrub(arguments, ledgers, [path])
                before = subprocess.run(["cat", path], capture_output=True).stdout
                for _ in range(random.randrange(1, 20)):
                    owner.execute(
                        "UPDATE vouchers SET b = zeroblob(length(b)) WHERE id = ?", (random.randrange(1, 100),)
                    )
                # A second restart of the WAL would overwrite frames that no scrub has seen.
                owner.execute("PRAGMA wal_checkpoint").fetchall()
                after = subprocess.run(["cat", path], capture_output=True).stdout
                frames = subprocess.run(["cat", path + "-wal"], capture_output=True).stdout
                written = {
                    int.from_bytes(frames[at : at + 4], "big") for at in range(32, len(frames), size + 24)
                    if frames[at + 8 : at + 16] == frames[16:24]
                }
                same = [
                    page for page in pages
                    if page not in written and before[(page - 1) * size : page * size] == after[(page - 1) * size : page * size]
                ]
                page = random.choice(same)
                os.sync()
                image.flip(image.locate(path, (page - 1) * size + random.randrange(size)), random.randrange(8))
                with open("/proc/sys/vm/drop_caches", "w") as caches:
                    caches.write("1")
                [result] = scrub(arguments, ledgers, [path])
                problem = check_found(result, page, pages[page])
                found += problem is None
                problems += [problem] if problem else []
                owner.close()
                os.remove(path)
        finally:
            image.unmount()
    print(f"{found} of {arguments.databases} flips in WAL databases found and named; seed {arguments.seed}")
    for problem in problems:
        print(problem)
    sys.exit(bool(problems))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litekeeper", default="target/release/litekeeper")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--directory", default=tempfile.gettempdir())
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("alarms")
    command.add_argument("--scrubs", type=int, default=10_000)
    command.add_argument("--databases", type=int, default=20)
    command.add_argument("--seconds", type=float, default=1e9)
    command.set_defaults(run=alarms)
    command = commands.add_parser("flips")
    command.add_argument("--flips", type=int, default=200)
    command.set_defaults(run=flips)
    command = commands.add_parser("wal")
    command.add_argument("--databases", type=int, default=50)
    command.set_defaults(run=wal)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
