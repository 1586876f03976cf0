"""Databases of the schemas that servers from Debian create theirs with."""

import gzip
import sqlite3

from build import Unavailable
from build import recipe


def text(context, pattern):
    """What the one file of a package holds."""
    found = next(iter(sorted(context.root.glob(pattern))), None)
    if found is None:
        raise Unavailable(f"the package has no {pattern}")
    return gzip.decompress(found.read_bytes()).decode() if found.suffix == ".gz" else found.read_text()


@recipe("zabbix", debian=["zabbix-proxy-sqlite3"], alone=True)
def zabbix(context):
    context.load("zabbix_proxy.db", text(context, "usr/share/zabbix-proxy-sqlite3/schema.sql*"))


@recipe("powerdns", debian=["pdns-backend-sqlite3"], alone=True)
def powerdns(context):
    context.load("pdns.db", text(context, "usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"),
                 "INSERT INTO domains (name, type) VALUES ('zoo.example', 'NATIVE');"
                 "INSERT INTO records (domain_id, name, type, content, ttl) VALUES (1, 'zoo.example', 'A', '127.0.0.1', 60);")


@recipe("ejabberd", debian=["ejabberd"], alone=True)
def ejabberd(context):
    context.load("ejabberd.db", text(context, "usr/share/ejabberd/sql/lite.sql"),
                 "INSERT INTO users (username, password) VALUES ('ann', 'secret');"
                 "INSERT INTO archive (username, timestamp, peer, bare_peer, xml, kind) "
                 "VALUES ('ann', 1700000000000000, 'ben', 'ben', '<message/>', 'chat');")


@recipe("roundcube", debian=["roundcube-core"], alone=True)
def roundcube(context):
    context.load("roundcube.db", text(context, "usr/share/roundcube/SQL/sqlite.initial.sql"),
                 "INSERT INTO session (sess_id, changed, ip, vars) VALUES ('1', datetime('now', '-100 days'), '::1', '');"
                 "INSERT INTO session (sess_id, changed, ip, vars) VALUES ('2', datetime('now'), '::1', '');")


@recipe("calibre", debian=["calibre"], alone=True)
def calibre(context):
    """Triggers and views with functions that only calibre has."""
    context.load("metadata.db", text(context, "usr/share/calibre/metadata_sqlite.sql"))
    connection = sqlite3.connect(context.directory / "metadata.db")
    connection.create_function("title_sort", 1, lambda title: title)
    connection.create_function("uuid4", 0, lambda: "00000000-0000-4000-8000-000000000000")
    for number in range(50):
        connection.execute("INSERT INTO books (title, series_index, path) VALUES (?, 1, ?)", (f"Book {number}", f"ann/{number}"))
        connection.execute("INSERT INTO authors (name, sort) VALUES (?, ?)", (f"Ann {number}", f"{number}, Ann"))
    connection.commit()
    connection.close()
