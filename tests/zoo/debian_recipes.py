"""Databases of programs from Debian, with something in them."""

import pathlib
import shutil
import time

from build import recipe

PAGES = ["first", "second", "third"]


def pages(context):
    """Local pages that set what a browser keeps."""
    directory = context.scratch / "pages"
    directory.mkdir(exist_ok=True)
    for page in PAGES:
        (directory / f"{page}.html").write_text(
            f"<!doctype html><title>The {page} page</title><p>Page<script>"
            "localStorage.setItem('zoo', '1'); const open = indexedDB.open('zoo', 1);"
            "open.onupgradeneeded = () => open.result.createObjectStore('animals').add('elephant', 1);</script>")
    return directory


def serve(directory):
    """The pages over HTTP, which a browser keeps more of than of files."""
    import functools
    import http.server
    import threading

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self):
            self.send_header("Set-Cookie", "visited=yes; Max-Age=86400")
            super().end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=directory))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@recipe("firefox", debian=["firefox-esr"], seconds=150)
def firefox(context):
    profile = context.scratch / "profile"
    profile.mkdir()
    (profile / "user.js").write_text(
        'user_pref("browser.startup.homepage_override.mstone", "ignore");'
        'user_pref("datareporting.policy.dataSubmissionEnabled", false);'
        'user_pref("app.normandy.enabled", false);'
        'user_pref("network.dns.disabled", true);'
        'user_pref("browser.shell.checkDefaultBrowser", false);')
    server = serve(pages(context))
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        urls = [f"{address}/{page}.html" for page in PAGES]
        process = context.start(context.root / "usr/lib/firefox-esr/firefox-esr", "--headless", "--no-remote",
                                "--profile", profile, *urls, MOZ_CRASHREPORTER_DISABLE="1")
        # It lets nobody else read while it runs: the files are looked at instead.
        files = ("places.sqlite", "cookies.sqlite", "favicons.sqlite", "permissions.sqlite")
        context.wait_for("files", lambda: all((profile / name).exists() for name in files), process)
        # It writes what it remembers some seconds later, or when it ends.
        time.sleep(8)
        context.stop(process)
    finally:
        server.shutdown()
    found = [path for path in profile.rglob("*") if path.suffix in (".sqlite", ".db") and path.is_file()]
    for path in found:
        context.keep(path)


@recipe("chromium", debian=["chromium"], unless="chromium", seconds=150)
def chromium(context):
    profile = context.scratch / "profile"
    # The script that starts it wants its configuration in /etc.
    unpacked = context.root / "usr/lib/chromium/chromium"
    server = serve(pages(context))
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        process = context.start(
            unpacked if unpacked.exists() else "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-dev-shm-usage", "--disable-component-update", "--disable-background-networking",
            "--password-store=basic", f"--user-data-dir={profile}", f"{address}/first.html")
        default = profile / "Default"
        context.wait_for("history", lambda: all((default / name).exists() for name in ("History", "Web Data", "Login Data")),
                         process)
        time.sleep(5)
        context.stop(process)
    finally:
        server.shutdown()
    for path in sorted(default.rglob("*")):
        if path.is_file() and path.parent in (default, default / "Network"):
            with path.open("rb") as file:
                if file.read(16) == b"SQLite format 3\0":
                    context.keep(path)


@recipe("fossil", debian=["fossil"])
def fossil(context):
    """A repository, a checkout of it, and the program's own configuration."""
    checkout = context.scratch / "checkout"
    checkout.mkdir()
    fossil = ["fossil"]
    context.run(*fossil, "init", context.scratch / "zoo.fossil")
    context.run(*fossil, "open", context.scratch / "zoo.fossil", cwd=checkout)
    for number in range(6):
        (checkout / f"file{number}.txt").write_text(f"{number}\n" * 400)
        context.run(*fossil, "add", f"file{number}.txt", cwd=checkout)
        context.run(*fossil, "commit", "--no-warnings", "-m", f"Change {number}", cwd=checkout)
    context.run(*fossil, "search", "--fts", "on", cwd=checkout, check=False)
    context.run(*fossil, "fts-config", "index", "on", cwd=checkout)
    context.run(*fossil, "fts-config", "enable", "cdtw", cwd=checkout)
    context.keep(context.scratch / "zoo.fossil")
    context.keep(checkout / ".fslckout", "checkout.db")
    context.keep(next(path for path in (context.scratch / ".fossil", context.scratch / ".config/fossil.db") if path.exists()),
                 "configuration.db")


@recipe("subversion", debian=["subversion"])
def subversion(context):
    """A working copy, and the cache of a repository."""
    repository, copy = context.scratch / "repository", context.scratch / "copy"
    context.run("svnadmin", "create", repository)
    context.run("svn", "checkout", f"file://{repository}", copy)
    for number in range(5):
        (copy / f"file{number}.txt").write_text(f"{number}\n" * 2000)
        context.run("svn", "add", f"file{number}.txt", cwd=copy)
        context.run("svn", "commit", "-m", f"Change {number}", cwd=copy)
    context.keep(copy / ".svn" / "wc.db")
    context.keep(repository / "db" / "rep-cache.db")


@recipe("rpm", debian=["rpm"])
def rpm(context):
    database = context.scratch / "rpmdb"
    environment = {"RPM_CONFIGDIR": str(context.root / "usr/lib/rpm")}
    arguments = ["--define", "_db_backend sqlite", "--define", f"_dbpath {database}"]
    # `rpm` would look for `rpmdb` where it is installed.
    context.run("rpmdb", *arguments, "--initdb", **environment)
    context.keep(database / "rpmdb.sqlite")


@recipe("vnstat", debian=["vnstat"])
def vnstat(context):
    configuration = context.scratch / "vnstat.conf"
    configuration.write_text(f'DatabaseDir "{context.scratch}"\nInterface "lo"\nAlwaysAddNewInterfaces 1\n'
                             "UseLogging 0\nSaveInterval 1\n")
    context.run("vnstatd", "--config", configuration, "--noadd", "--initdb", check=False)
    context.run("vnstat", "--config", configuration, "--add", "-i", "lo")
    context.keep(context.scratch / "vnstat.db")


@recipe("newsboat", debian=["newsboat"])
def newsboat(context):
    """News that were read from a feed."""
    items = "".join(f"<item><title>News {number}</title><link>http://example.org/{number}</link><guid>{number}</guid>"
                    f"<pubDate>Tue, {1 + number % 28:02} Apr 2025 10:00:00 GMT</pubDate><description>Text</description></item>"
                    for number in range(80))
    feed = context.scratch / "feed.xml"
    feed.write_text(f'<?xml version="1.0"?><rss version="2.0"><channel><title>Zoo</title><link>http://example.org</link>'
                    f"<description>News</description>{items}</channel></rss>")
    (context.scratch / "urls").write_text(f"file://{feed}\n")
    (context.scratch / "config").write_text("")
    context.run("newsboat", "-u", "urls", "-c", "cache.db", "-C", "config", "-x", "reload")
    context.keep(context.scratch / "cache.db")


@recipe("nss", debian=["libnss3-tools"])
def nss(context):
    """Certificates and keys, as many programs keep them."""
    store = f"sql:{context.directory}"
    context.run("certutil", "-N", "-d", store, "--empty-password")
    (context.scratch / "noise").write_bytes(bytes(range(256)) * 4)
    for number in range(3):
        context.run("certutil", "-S", "-d", store, "-n", f"zoo{number}", "-s", f"CN=zoo{number}", "-x", "-t", "C,,",
                    "-z", context.scratch / "noise", "-m", number + 1, "-k", "ec", "-q", "nistp256")
    (context.directory / "pkcs11.txt").unlink()


@recipe("gnupg", debian=["gpg"])
def gnupg(context):
    """What keys were seen with which addresses."""
    home = pathlib.Path(f"/tmp/litekeeper-zoo-{time.monotonic_ns():x}")  # A socket's path must be short.
    home.mkdir(mode=0o700)
    try:
        environment = {"GNUPGHOME": str(home)}
        gpg = ["gpg", "--batch", "--trust-model", "tofu+pgp", "--passphrase", ""]
        context.run(*gpg, "--quick-gen-key", "Zoo <zoo@example.org>", "ed25519", "sign", **environment)
        (context.scratch / "letter").write_text("Elephants")
        context.run(*gpg, "--sign", context.scratch / "letter", **environment)
        context.run(*gpg, "--verify", context.scratch / "letter.gpg", **environment)
        context.keep(home / "tofu.db")
    finally:
        context.run("gpgconf", "--kill", "all", check=False, GNUPGHOME=str(home))
        shutil.rmtree(home, ignore_errors=True)


@recipe("bogofilter", debian=["bogofilter-sqlite"])
def bogofilter(context):
    program = context.root / "usr/bin/bogofilter-sqlite"
    for number in range(20):
        letter = f"Subject: Offer {number}\n\nBuy elephants number {number} now, very cheap.\n"
        context.run(program, "-d", context.directory, "-s" if number % 2 else "-n", stdin=letter.encode())


@recipe("nix", debian=["nix-bin"])
def nix(context):
    environment = {"NIX_REMOTE": "local", "NIX_STORE_DIR": str(context.scratch / "store"), "NIX_STATE_DIR": str(context.scratch / "var"),
                   "NIX_LOG_DIR": str(context.scratch / "log"), "NIX_CONF_DIR": str(context.scratch / "etc"),
                   "NIX_LOCALSTATE_DIR": str(context.scratch / "var")}
    for number in range(10):
        file = context.scratch / f"file{number}"
        file.write_text(f"{number}\n")
        context.run("nix-store", "--option", "build-users-group", "", "--add", file, **environment)
    context.keep(context.scratch / "var" / "db" / "db.sqlite")


@recipe("mumble", debian=["mumble-server", "libqt5sql5-sqlite"])
def mumble(context):
    configuration = context.scratch / "murmur.ini"
    configuration.write_text(f"database={context.scratch}/murmur.sqlite\nhost=127.0.0.1\nport=0\nlogfile=\n")
    context.run("murmurd", "-ini", configuration, "-fg", "-supw", "secret", check=False, QT_PLUGIN_PATH=str(next(context.root.glob("usr/lib/*/qt5/plugins"), "")))
    context.keep(context.scratch / "murmur.sqlite")


@recipe("presage", debian=["libpresage-data"], alone=True)
def presage(context):
    """The n-grams of a text predictor, as they are shipped."""
    context.keep(context.root / "usr/share/presage/database_en.db")


@recipe("prosody", debian=["prosody", "lua-dbi-sqlite3"])
def prosody(context):
    """Accounts of an XMPP server."""
    configuration = context.scratch / "prosody.cfg.lua"
    root = context.root
    configuration.write_text(f"""
data_path = "{context.scratch}"; pidfile = "{context.scratch}/pid"; run_as_root = true; prosody_user = "root"
plugin_paths = {{ "{root}/usr/lib/prosody/modules" }}; storage = "sql"
sql = {{ driver = "SQLite3", database = "{context.directory}/prosody.sqlite" }}
log = {{ error = "*console" }}; VirtualHost "zoo.example"
""")
    text = (root / "usr/bin/prosodyctl").read_text()
    for place in ("/usr/lib/prosody", "/etc/prosody"):
        text = text.replace(place, f"{root}{place}")
    (context.scratch / "prosodyctl").write_text(text)
    lua = root / "usr/share/lua/5.4"
    native = next(root.glob("usr/lib/*-linux-gnu*/lua/5.4"))
    for number in range(5):
        context.run("lua5.4", context.scratch / "prosodyctl", "--config", configuration, "register", f"user{number}",
                    "zoo.example", "secret", LUA_PATH=f"{lua}/?.lua;{lua}/?/init.lua;;", LUA_CPATH=f"{native}/?.so;;")


@recipe("spatialite", debian=["spatialite-bin"])
def spatialite(context):
    """Spatial tables, whose index and views are virtual tables of SpatiaLite's own."""
    points = "".join(f"INSERT INTO places (name, shape) VALUES ('Place {number}', MakePoint({number / 7}, {number / 11}, 4326));"
                     for number in range(200))
    context.run("spatialite", context.directory / "places.sqlite", stdin=(
        "SELECT InitSpatialMetaData(1); CREATE TABLE places (id INTEGER PRIMARY KEY, name TEXT);"
        "SELECT AddGeometryColumn('places', 'shape', 4326, 'POINT', 'XY'); SELECT CreateSpatialIndex('places', 'shape');"
        f"BEGIN; {points} COMMIT;").encode())
