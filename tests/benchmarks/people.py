"""A million accounts with names, addresses and ids to search, in a database of their own."""

import contextlib
import time
from collections.abc import Iterator
from typing import Final

import msgspec
import psycopg

from billing_app.db import migrations
from tests.benchmarks.harness import BenchmarkHarness, create_database

DATABASE: Final = "bench_people"
PEOPLE: Final = 950_000
ORGANIZATIONS: Final = 50_000
FIRST_NAMES: Final = (
    "Anna María José Mohammed John Emma Łukasz Søren Zoë Björn Chloé Ali Wei Yuki Priya Oluwaseun"
    " Fatima Giulia Lars Ingrid Núria Małgorzata Đorđe Åsa Ødegård Ben Carla Dmitri Eva Farid Greta"
    " Hugo Ines Jack Kofi Lena Milan Nadia Omar Petra Quinn Rosa Sven Tara Uma Viktor Wanda Xenia"
    " Yara Zara"
)
SYLLABLES: Final = (
    "an bar ches dor el fen gar hol is jan kov lin mül nor ost pet quin ros sen tav ulm ver wal xu"
    " yam zel ström rød ćek ñez"
)
FILL: Final = """
SET maintenance_work_mem = '512MB';
SET work_mem = '256MB';
SELECT setseed(0.4);
CREATE TEMPORARY TABLE made AS
SELECT n, (random() * 4e18)::bigint + 1 AS account, substr(md5(n::text), 1, 16) AS mark,
       n * 7919::bigint % ({people} + {organizations}) * interval '1 second' AS age,
       firsts[1 + floor(cardinality(firsts) * random() ^ 2)::int] AS first_name,
       initcap(parts[1 + floor(cardinality(parts) * random() ^ 2)::int]
               || parts[1 + floor(cardinality(parts) * random())::int]
               || parts[1 + floor(cardinality(parts) * random())::int]) AS last_name
FROM (SELECT string_to_array('{firsts}', ' ') AS firsts,
             string_to_array('{syllables}', ' ') AS parts) AS words,
     generate_series(1, {people} + {organizations}) AS n;
ANALYZE made;
INSERT INTO organizations (id, name, created_at) VALUES ('public', 'Public', now());
INSERT INTO organizations (id, name, created_at)
SELECT 'org_' || mark, last_name || ' ' || (ARRAY['GmbH', 'Ltd', 'S.A.', 'Inc', 'AS'])[1 + n % 5],
       now() - age
FROM made WHERE n > {people};
INSERT INTO users (id, name, email, password_hash, created_at)
SELECT 'usr_' || mark, first_name || ' ' || last_name,
       search_fold(first_name || '.' || last_name) || n
       || (ARRAY['@gmail.com', '@example.org', '@web.de', '@mail.example.net'])[1 + n % 4],
       'x', now() - age
FROM made;
INSERT INTO accounts (id, kind, organization_id, user_id, created_at)
SELECT account, 'user', 'public', 'usr_' || mark, now() - age
FROM made WHERE n <= {people};
INSERT INTO accounts (id, kind, organization_id, created_at)
SELECT account, 'organization', 'org_' || mark, now() - age
FROM made WHERE n > {people};
INSERT INTO memberships (organization_id, user_id, role, created_at)
SELECT 'public', 'usr_' || mark, 'member', now() FROM made WHERE n <= {people};
INSERT INTO memberships (organization_id, user_id, role, created_at)
SELECT 'org_' || mark, 'usr_' || mark, 'owner', now() FROM made WHERE n > {people};
INSERT INTO provider_customers (account_id, customer_id, created_at)
SELECT account, 'cus_' || substr(md5('c' || n), 1, 14), now() FROM made WHERE n % 10 = 0;
INSERT INTO plans (account_id, sequence, type, name, source, executions, used, held, starts_at,
                   created_at)
SELECT account, 1, CASE WHEN n <= {people} THEN 'trial' ELSE 'paid' END, 'Benchmark',
       CASE WHEN n <= {people} THEN 'trial' ELSE 'contract' END, 1000, n % 1000, 0, now(), now()
FROM made;
UPDATE accounts SET blocked_at = now() WHERE id % 5000 = 0;
"""


class People(msgspec.Struct, frozen=True):
    """Where they are, how many, and what finding them costs."""

    url: str
    accounts: int
    words: int
    index_megabytes: int
    fill_seconds: float


@contextlib.contextmanager
def made_people(bed: BenchmarkHarness) -> Iterator[People]:
    """A migrated database with the accounts; dropped when the block ends."""
    url = create_database(bed.server_url, DATABASE)
    try:
        migrations.upgrade(url)
        started_at = time.perf_counter()
        with psycopg.connect(url, autocommit=True) as connection:
            statements = FILL.format(
                firsts=FIRST_NAMES,
                syllables=SYLLABLES,
                people=PEOPLE,
                organizations=ORGANIZATIONS,
            )
            connection.execute(statements)  # pyright: ignore[reportArgumentType, reportCallIssue]
            connection.execute("VACUUM (ANALYZE)")
            row = connection.execute(
                "SELECT count(*), pg_total_relation_size('search_words') >> 20 FROM search_words"
            ).fetchone()
        assert row is not None
        yield People(
            url=url,
            accounts=PEOPLE + ORGANIZATIONS,
            words=row[0],
            index_megabytes=row[1],
            fill_seconds=time.perf_counter() - started_at,
        )
    finally:
        with psycopg.connect(bed.server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")  # pyright: ignore[reportArgumentType, reportCallIssue]
