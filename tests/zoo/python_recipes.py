"""Databases of applications from PyPI, with something in them."""

import http.server
import threading

from build import Unavailable
from build import recipe


@recipe("django", pypi=["django==5.2.19"])
def django(context):
    """The admin, accounts and sessions, of which most have expired."""
    context.python("""
import sys, datetime, django
from django.conf import settings
settings.configure(SECRET_KEY="zoo", USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    INSTALLED_APPS=["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
                    "django.contrib.sessions", "django.contrib.messages", "django.contrib.sites"])
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
root = User.objects.create_superuser("root", "root@example.org", "secret")
for number in range(50):
    user = User.objects.create_user(f"user{number}", f"user{number}@example.org", None)
    LogEntry.objects.create(user=root, content_type=ContentType.objects.get_for_model(User), object_id=user.pk,
                            object_repr=str(user), action_flag=1, change_message="[]")
for number in range(300):
    store = SessionStore()
    store["number"] = number
    store.create()
    expires = timezone.now() + datetime.timedelta(days=14 if number % 3 == 0 else -100 + number / 10)
    Session.objects.filter(session_key=store.session_key).update(expire_date=expires)
""", context.directory / "db.sqlite3")


@recipe("anki", pypi=["anki==26.9.3"])
def anki(context):
    """Notes and reviews; the collection's own collation is `unicase`."""
    context.python("""
import sys
from anki.collection import Collection
collection = Collection(sys.argv[1])
for number in range(200):
    note = collection.new_note(collection.models.by_name("Basic"))
    note["Front"], note["Back"], note.tags = f"What is {number} + {number}?", str(2 * number), ["sums", f"Ä{number % 7}"]
    collection.add_note(note, collection.decks.id(f"Sums::{number % 5}"))
for _ in range(15):
    card = collection.sched.getCard()
    if card is not None:
        card.start_timer()
        collection.sched.answerCard(card, 3)
collection.close()
""", context.directory / "collection.anki2")


@recipe("ipython", pypi=["ipython==9.18.1"])
def ipython(context):
    code = "\n".join(f"value{number} = {number} * 2" for number in range(40)) + "\nexit\n"
    context.run("python3", "-m", "IPython", "--simple-prompt", "--no-banner", stdin=code.encode(), IPYTHONDIR=str(context.scratch))
    context.keep(context.scratch / "profile_default" / "history.sqlite")


@recipe("jupyter", pypi=["nbformat==5.11.1"])
def jupyter(context):
    """The signatures of trusted notebooks."""
    context.python("""
import sys
from nbformat import v4
from nbformat.sign import NotebookNotary
notary = NotebookNotary(db_file=sys.argv[1], secret=b"zoo")
for number in range(50):
    notary.sign(v4.new_notebook(cells=[v4.new_code_cell(f"print({number})")]))
notary.store.close()
""", context.directory / "nbsignatures.db")


@recipe("trac", pypi=["Trac==1.6", "setuptools<81"])
def trac(context):
    environment = context.scratch / "tracker"
    admin = ["python3", "-m", "trac.admin.console", environment]
    context.run(*admin, "initenv", "zoo", "sqlite:db/trac.db")
    for number in range(5):
        context.run(*admin, "component", "add", f"part {number}", "somebody")
    context.keep(environment / "db" / "trac.db")


@recipe("roundup", pypi=["roundup==2.6.0"])
def roundup(context):
    tracker = context.scratch / "tracker"
    code = "import sys; from roundup.admin import AdminTool; sys.exit(AdminTool().main())"
    context.python(code, "-i", tracker, "install", "classic", "sqlite", "mail_domain=example.org")
    context.python(code, "-i", tracker, "initialise", "secret")
    for number in range(4):
        context.python(code, "-i", tracker, "create", "issue", f"title=Issue {number} about the database")
    context.keep(tracker / "db" / "db", "db")


@recipe("optuna", pypi=["optuna==5.0.0"])
def optuna(context):
    context.python("""
import sys, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(storage="sqlite:///" + sys.argv[1], study_name="zoo")
study.optimize(lambda trial: (trial.suggest_float("x", -5, 5) - 2) ** 2, n_trials=40)
""", context.directory / "study.db")


@recipe("beets", pypi=["beets==2.14.1"])
def beets(context):
    context.python("""
import sys
from beets.library import Item, Library
library = Library(sys.argv[1], "/music")
for album in range(10):
    library.add_album([Item(title=f"Song {number}", artist="Ärzte", album=f"Album {album}", track=number, length=180.5,
                            path=f"/music/{album}/{number}.flac".encode(), mood="calm") for number in range(12)])
""", context.scratch / "library.db")
    context.keep(context.scratch / "library.db")


@recipe("buku", pypi=["buku==5.1"])
def buku(context):
    context.python("""
import sys
from buku import BukuDb
bookmarks = BukuDb(dbfile=sys.argv[1])
for number in range(50):
    bookmarks.add_rec(f"http://example.org/{number}", f"Page {number}", ",even," if number % 2 == 0 else ",odd,",
                      "A page", fetch=False)
bookmarks.conn.close()
""", context.directory / "bookmarks.db")


@recipe("buildbot", pypi=["buildbot==4.3.0", "setuptools<81"])
def buildbot(context):
    code = "import sys; from buildbot.scripts.runner import run; run()"
    context.python(code, "create-master", "master")
    context.keep(context.scratch / "master" / "state.sqlite")


@recipe("synapse", pypi=["matrix-synapse==1.163.2", "setuptools<81"], seconds=150)
def synapse(context):
    """A Matrix homeserver that has run, with an account, a room and messages."""
    configuration = context.scratch / "homeserver.yaml"
    server = ["python3", "-m", "synapse.app.homeserver", "-c", configuration]
    context.run(*server, "--generate-config", "--server-name", "zoo.example", "--report-stats=no")
    port = free_port()
    text = configuration.read_text().replace("port: 8008", f"port: {port}")
    configuration.write_text(text + "\nenable_registration: true\nenable_registration_without_verification: true\n")
    process = context.start(*server)
    import json
    import urllib.request

    def ask(method, path, body=None, token=None):
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/_matrix/client/v3/{path}", method=method,
                                         data=json.dumps(body or {}).encode() if method != "GET" else None, headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def is_up():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return True
        except OSError:
            return False

    try:
        context.wait_for("it answers", is_up, process)
        account = {"username": "keeper", "password": "secret-secret", "auth": {"type": "m.login.dummy"}}
        token = ask("POST", "register", account)["access_token"]
        room = ask("POST", "createRoom", {"name": "Zoo"}, token)["room_id"]
        for number in range(8):
            body = {"msgtype": "m.text", "body": f"Message {number} about elephants"}
            ask("PUT", f"rooms/{room}/send/m.room.message/{number}", body, token)
    finally:
        context.stop(process)
    context.keep(context.scratch / "homeserver.db")


def free_port():
    import socket
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@recipe("devpi", pypi=["devpi-server==6.20.3", "setuptools<81"])
def devpi(context):
    code = "import sys; from devpi_server.init import init; sys.exit(init())"
    context.python(code, "--serverdir", context.scratch / "server")
    context.keep(context.scratch / "server" / ".sqlite", "devpi.sqlite")


@recipe("sqlite_utils", pypi=["sqlite-utils==4.2.1"])
def sqlite_utils(context):
    """Full-text search over a table of documents, kept up to date by triggers."""
    context.python("""
import sys, sqlite_utils
database = sqlite_utils.Database(sys.argv[1])
database.enable_wal()
database["documents"].insert_all({"id": number, "title": f"Document {number}", "body": f"About {number} elephants",
                                  "author": ["Ann", "Ben"][number % 2]} for number in range(500))
database["documents"].extract("author")
database["documents"].enable_fts(["title", "body"], create_triggers=True, tokenize="porter")
database["documents"].delete(17)
database.conn.commit()
""", context.directory / "documents.db")


@recipe("llm", pypi=["llm==0.36"])
def llm(context):
    """The log of a chat program, with a model that answers by itself."""
    context.python("""
import sys, llm, sqlite_utils
from llm.migrations import migrate
class Echo(llm.Model):
    model_id = "echo"
    def execute(self, prompt, stream, response, conversation):
        yield "You said: " + prompt.prompt
database = sqlite_utils.Database(sys.argv[1])
migrate(database)
for number in range(30):
    response = Echo().prompt(f"Question {number}")
    response.text()
    response.log_to_db(database)
""", context.directory / "logs.db")


@recipe("requests_cache", pypi=["requests-cache==1.3.3"])
def requests_cache(context):
    """A cache of web pages, some of which have expired."""
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b"x" * 5000)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        context.python("""
import sys, requests_cache
for seconds in (1, 3600):
    with requests_cache.CachedSession(sys.argv[1], backend="sqlite", expire_after=seconds) as session:
        for number in range(20):
            session.get(f"{sys.argv[2]}/{seconds}/{number}")
""", context.directory / "http_cache", f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()


@recipe("diskcache", pypi=["diskcache==5.6.3"])
def diskcache(context):
    context.python("""
import sys, diskcache
with diskcache.Cache(sys.argv[1], tag_index=True) as cache:
    for number in range(500):
        cache.set(("key", number), {"value": "x" * 100}, expire=3600 if number % 2 else None, tag=str(number % 5))
""", context.directory)


@recipe("huey", pypi=["huey==3.5.4"])
def huey(context):
    context.python("""
import sys, huey
queue = huey.SqliteHuey("zoo", filename=sys.argv[1])
@queue.task()
def work(number):
    return number
for number in range(60):
    work(number) if number % 2 else work.schedule((number,), delay=3600)
for _ in range(10):
    queue.execute(queue.dequeue())
queue.storage.close()
""", context.directory / "queue.db")


@recipe("coverage", pypi=["coverage==7.17.5"])
def coverage(context):
    program = context.scratch / "program.py"
    program.write_text("import json\nfor number in range(9):\n    if number % 2:\n        json.dumps(number)\n")
    context.run("python3", "-m", "coverage", "run", "--branch", "--context=zoo", "--data-file", context.directory / "coverage.db",
                program)


@recipe("celery", pypi=["celery==5.7.0", "sqlalchemy==2.1.9"])
def celery(context):
    """Results of tasks, and a queue of messages that nobody takes."""
    context.python("""
import sys, uuid, celery
directory = sys.argv[1]
app = celery.Celery("zoo", backend=f"db+sqlite:///{directory}/results.db", broker=f"sqla+sqlite:///{directory}/broker.db")
app.conf.result_extended = True
@app.task
def add(a, b):
    return a + b
for number in range(40):
    app.backend.store_result(str(uuid.uuid4()), number, "SUCCESS" if number % 5 else "FAILURE")
    add.delay(number, number)
""", context.directory)


@recipe("gnucash", pypi=["piecash==1.2.1"])
def gnucash(context):
    """A GnuCash book."""
    context.python("""
import sys, datetime, decimal, piecash
book = piecash.create_book(sys.argv[1], currency="EUR")
euro = book.default_currency
bank = piecash.Account("Bank", "BANK", euro, parent=book.root_account)
food = piecash.Account("Food", "EXPENSE", euro, parent=book.root_account)
for day in range(60):
    amount = decimal.Decimal(day + 1) / 4
    piecash.Transaction(euro, f"Bread {day}", post_date=datetime.date(2025, 1, 1) + datetime.timedelta(day),
        splits=[piecash.Split(bank, -amount), piecash.Split(food, amount)])
book.save()
book.close()
""", context.directory / "book.gnucash.db")


@recipe("proj", pypi=["pyproj==3.7.2"])
def proj(context):
    """PROJ's database of coordinate systems, as it is shipped: large, never written, full of views and triggers."""
    context.keep(context.packages / "pyproj" / "proj_dir" / "share" / "proj" / "proj.db")


@recipe("geopackage", pypi=["pyogrio==0.13.0", "numpy==2.4.6"])
def geopackage(context):
    """GeoPackage has an R*Tree and triggers with functions that only GIS programs have."""
    context.python("""
import struct, sys, numpy, pyogrio
shapes = numpy.array([struct.pack("<BIdd", 1, 1, number / 7, number / 11) for number in range(300)], dtype=object)
names = numpy.array([f"Place {number}" for number in range(300)], dtype=object)
for file, driver, options in (("places.gpkg", "GPKG", {}), ("places.sqlite", "SQLite", {"SPATIALITE": "YES"})):
    pyogrio.raw.write(f"{sys.argv[1]}/{file}", shapes, [names], ["name"], geometry_type="Point", crs="EPSG:4326",
                      driver=driver, dataset_options=options)
""", context.directory)


@recipe("mlflow", pypi=["mlflow-skinny==3.17.2", "sqlalchemy", "alembic", "pandas", "Flask"], seconds=150)
def mlflow(context):
    context.python("""
import sys, mlflow
mlflow.set_tracking_uri("sqlite:///" + sys.argv[1])
mlflow.set_experiment("zoo")
for run in range(5):
    with mlflow.start_run():
        mlflow.log_param("run", run)
        for step in range(20):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
""", context.directory / "mlflow.db")


@recipe("prefect", pypi=["prefect==3.9.1"], seconds=150)
def prefect(context):
    context.run("python3", "-m", "prefect", "server", "database", "upgrade", "-y", PREFECT_HOME=str(context.scratch))
    context.keep(context.scratch / "prefect.db")


@recipe("mypy", pypi=["mypy==2.4.1"])
def mypy(context):
    program = context.scratch / "program.py"
    program.write_text("import json\nprint(json.dumps([number for number in range(9)]))\n")
    context.run("python3", "-m", "mypy", "--sqlite-cache", "--cache-dir", context.scratch / "cache", program)
    found = next(iter((context.scratch / "cache").rglob("cache*.db")), None)
    if found is None:
        raise Unavailable("mypy wrote no cache.db")
    context.keep(found, "cache.db")


@recipe("mailman", pypi=["mailman==3.3.10", "setuptools<81"])
def mailman(context):
    var = context.scratch / "var"
    (context.scratch / "mailman.cfg").write_text(f"[mailman]\nlayout: here\n[paths.here]\nvar_dir: {var}\n")
    code = "import sys; from mailman.bin.mailman import main; main()"
    context.python(code, "-C", context.scratch / "mailman.cfg", "create", "zoo@example.org", check=False)
    context.keep(var / "data" / "mailman.db")


@recipe("jupyterhub", pypi=["jupyterhub==6.1.1"])
def jupyterhub(context):
    context.python("""
import sys
from jupyterhub import orm
session = orm.new_session_factory("sqlite:///" + sys.argv[1])()
for number in range(20):
    user = orm.User(name=f"user{number}")
    session.add(user)
    session.add(orm.Group(name=f"group{number}", users=[user]))
session.commit()
""", context.directory / "jupyterhub.sqlite")


@recipe("isso", pypi=["isso==0.14.0", "setuptools<81"])
def isso(context):
    context.python("""
import sys
from isso import config
from isso.db import SQLite3
settings = config.load(config.default_file())
comments = SQLite3(sys.argv[1], settings)
comments.threads.new("/page/", "A page")
for number in range(30):
    comments.comments.add("/page/", {"parent": None, "mode": 1, "remote_addr": "127.0.0.0", "text": f"Comment {number}",
        "author": "Ann", "email": None, "website": None, "notification": 0})
""", context.directory / "comments.db")
