"""Triggers of the search index work on Citus, which joins no transition tables and no SQL functions
with tables that it manages: what changed is read into arrays first."""

from collections.abc import Sequence

from alembic import op

revision: str = "0034"
down_revision: str | None = "0033"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# As search_words_of_accounts of 0007.
WORDS_OF_ACCOUNTS = """
        SELECT DISTINCT texts.id AS account_id, words.word FROM (
            SELECT account.id, concat_ws(
                ' ', 'acc_' || lpad(to_hex(account.id), 16, '0'), customer.customer_id,
                firm.id, firm.name, holder.id, holder.name, holder.email) AS value
            FROM accounts AS account
            LEFT JOIN organizations AS firm
                ON firm.id = account.organization_id AND account.kind = 'organization'
            LEFT JOIN users AS holder ON holder.id = account.user_id
            LEFT JOIN provider_customers AS customer ON customer.account_id = account.id
            WHERE account.id = ANY(ids)
            UNION ALL
            SELECT account.id, concat_ws(' ', person.id, person.name, person.email)
            FROM accounts AS account
            JOIN memberships AS membership ON membership.organization_id = account.organization_id
            JOIN users AS person ON person.id = membership.user_id
            WHERE account.kind = 'organization' AND account.id = ANY(ids)
        ) AS texts, search_words_of(texts.value) AS words (word)
"""
REFRESH = """
CREATE OR REPLACE FUNCTION refresh_search_words(ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM search_words AS known WHERE known.account_id = ANY(ids) AND NOT EXISTS (
        SELECT FROM ({words}) AS right_now
        WHERE right_now.account_id = known.account_id AND right_now.word = known.word);
    INSERT INTO search_words (account_id, word)
    SELECT account_id, word FROM ({words}) AS right_now ON CONFLICT DO NOTHING;
END $$
"""
# By name: what is declared, and what is done, now and before.
BEFORE = {
    "search_words_on_accounts": (
        "",
        """
    INSERT INTO search_words (account_id, word)
    SELECT fresh.id, words.word FROM fresh JOIN users AS holder ON holder.id = fresh.user_id,
    search_words_of(concat_ws(' ', 'acc_' || lpad(to_hex(fresh.id), 16, '0'),
                              holder.id, holder.name, holder.email)) AS words (word)
    ON CONFLICT DO NOTHING;
    IF EXISTS (SELECT FROM fresh WHERE kind = 'organization') THEN
        PERFORM refresh_search_words(
            ARRAY(SELECT id FROM fresh WHERE kind = 'organization'));
    END IF;
""",
    ),
    "search_words_on_organizations": (
        "",
        """
    PERFORM refresh_search_words(ARRAY(
        SELECT account.id FROM fresh JOIN accounts AS account ON account.organization_id = fresh.id
        WHERE account.kind = 'organization'));
""",
    ),
    "search_words_on_new_members": (
        """
DECLARE people text[] := ARRAY(
    SELECT fresh.user_id FROM fresh
    JOIN accounts AS account ON account.organization_id = fresh.organization_id
    WHERE account.kind = 'organization');
""",
        """
    IF cardinality(people) > 0 THEN
        PERFORM FROM users WHERE id = ANY(people) ORDER BY id FOR SHARE;
        INSERT INTO search_words (account_id, word)
        SELECT account.id, words.word FROM fresh
        JOIN accounts AS account ON account.organization_id = fresh.organization_id
            AND account.kind = 'organization'
        JOIN users AS person ON person.id = fresh.user_id,
        search_words_of(concat_ws(' ', person.id, person.name, person.email)) AS words (word)
        ON CONFLICT DO NOTHING;
    END IF;
""",
    ),
    "search_words_on_lost_members": (
        "",
        """
    PERFORM refresh_search_words(ARRAY(
        SELECT DISTINCT account.id FROM stale
        JOIN accounts AS account ON account.organization_id = stale.organization_id
        WHERE account.kind = 'organization'));
""",
    ),
}
NOW = {
    "search_words_on_accounts": (
        """
DECLARE
    people bigint[] := ARRAY(SELECT id FROM fresh WHERE kind = 'user');
    firms bigint[] := ARRAY(SELECT id FROM fresh WHERE kind = 'organization');
""",
        """
    IF cardinality(people) > 0 THEN
        INSERT INTO search_words (account_id, word)
        SELECT account.id, words.word
        FROM accounts AS account JOIN users AS holder ON holder.id = account.user_id,
        search_words_of(concat_ws(' ', 'acc_' || lpad(to_hex(account.id), 16, '0'),
                                  holder.id, holder.name, holder.email)) AS words (word)
        WHERE account.id = ANY(people)
        ON CONFLICT DO NOTHING;
    END IF;
    IF cardinality(firms) > 0 THEN
        PERFORM refresh_search_words(firms);
    END IF;
""",
    ),
    "search_words_on_organizations": (
        """
DECLARE changed text[] := ARRAY(SELECT id FROM fresh);
""",
        """
    PERFORM refresh_search_words(ARRAY(
        SELECT id FROM accounts WHERE organization_id = ANY(changed) AND kind = 'organization'));
""",
    ),
    # A user's own membership of the public organization is not indexed: nothing else is read.
    "search_words_on_new_members": (
        """
DECLARE
    firms text[] := ARRAY(SELECT DISTINCT organization_id FROM fresh);
    people text[];
""",
        """
    firms := ARRAY(
        SELECT organization_id FROM accounts
        WHERE organization_id = ANY(firms) AND kind = 'organization');
    IF cardinality(firms) > 0 THEN
        people := ARRAY(
            SELECT user_id FROM fresh WHERE organization_id = ANY(firms));
        PERFORM FROM users WHERE id = ANY(people) ORDER BY id FOR SHARE;
        INSERT INTO search_words (account_id, word)
        SELECT account.id, words.word
        FROM accounts AS account
        JOIN memberships AS membership ON membership.organization_id = account.organization_id
        JOIN users AS person ON person.id = membership.user_id,
        search_words_of(concat_ws(' ', person.id, person.name, person.email)) AS words (word)
        WHERE account.organization_id = ANY(firms) AND account.kind = 'organization'
            AND membership.user_id = ANY(people)
        ON CONFLICT DO NOTHING;
    END IF;
""",
    ),
    "search_words_on_lost_members": (
        """
DECLARE left_ones text[] := ARRAY(SELECT DISTINCT organization_id FROM stale);
""",
        """
    PERFORM refresh_search_words(ARRAY(
        SELECT id FROM accounts WHERE organization_id = ANY(left_ones) AND kind = 'organization'));
""",
    ),
}


def upgrade() -> None:
    op.execute(REFRESH.format(words=WORDS_OF_ACCOUNTS))
    _replace(NOW)


def downgrade() -> None:
    _replace(BEFORE)
    op.execute(REFRESH.format(words="SELECT * FROM search_words_of_accounts(ids)"))


def _replace(functions: dict[str, tuple[str, str]]) -> None:
    for name, (declared, done) in functions.items():
        op.execute(
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$"
            f"{declared or chr(10)}BEGIN{done}    RETURN NULL;\nEND $$"
        )
