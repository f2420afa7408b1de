"""When a worker counts as gone."""

import psycopg

from billing_app.jobs.takeover import Absences, Takeover, new_executor_id
from tests.factories import connect

APPLICATION = "billing"


def test_absent_worker_is_gone_after_the_grace() -> None:
    absences = Absences(grace_seconds=9)
    assert absences.note({"a"}, at=0) == []
    assert absences.note({"a", "b"}, at=6) == []
    assert absences.note({"a", "b"}, at=9) == ["a"]
    assert absences.note({"a", "b"}, at=15) == ["a", "b"]


def test_worker_that_came_back_gets_a_new_grace() -> None:
    absences = Absences(grace_seconds=9)
    absences.note({"a"}, at=0)
    assert absences.note([], at=6) == []
    assert absences.note({"a"}, at=9) == []
    assert absences.note({"a"}, at=18) == ["a"]


def test_grace_begins_anew_when_the_database_was_away() -> None:
    absences = Absences(grace_seconds=9)
    absences.note({"a"}, at=0)
    absences.forget()
    assert absences.note({"a"}, at=12) == []


def test_absent_is_whoever_runs_jobs_and_holds_no_lock(own_database_url: str) -> None:
    """Names whose hashes are negative, too; jobs of other programs are left alone."""
    names = [f"worker-{number}" for number in range(20)]
    living = [Takeover(own_database_url, name, APPLICATION) for name in names[:10]]
    with connect(own_database_url) as connection:
        _create_jobs(connection, names)
        connection.execute(
            "INSERT INTO dbos.workflow_status VALUES ('elsewhere', 'PENDING', 'other'),"
            " ('ended', 'SUCCESS', 'billing'), (NULL, 'ENQUEUED', 'billing')"
        )
        held = [takeover.hold() for takeover in living]
        try:
            assert sorted(living[0].absent()) == sorted(names[10:])
            held[1].close()
            assert sorted(living[0].absent()) == sorted([names[1], *names[10:]])
        finally:
            for each in held:
                each.close()
            connection.execute("DROP SCHEMA dbos CASCADE")


def test_each_worker_has_an_id_of_its_own() -> None:
    assert new_executor_id() != new_executor_id()


def _create_jobs(connection: "psycopg.Connection[tuple[object, ...]]", names: list[str]) -> None:
    connection.execute("CREATE SCHEMA dbos")
    connection.execute(
        "CREATE TABLE dbos.workflow_status (executor_id text, status text, application_name text)"
    )
    for name in names:
        connection.execute(
            "INSERT INTO dbos.workflow_status VALUES (%s, 'PENDING', %s)", [name, APPLICATION]
        )
