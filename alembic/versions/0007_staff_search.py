"""The words by which staff find accounts, kept by triggers; accounts by age, blocked, past due."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# The first of these that the server has knows the case of all letters, whatever its locale.
CASE_COLLATIONS = ("pg_c_utf8", "und-x-icu", "C.utf8")
FOLD = r"""
CREATE FUNCTION search_fold(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
CASE WHEN octet_length(value) = length(value) THEN lower(value) ELSE
    translate(
        replace(replace(replace(replace(
            regexp_replace(lower(normalize(value, NFKD){collation}),
                           '[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]', '', 'g'),
            'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th'),
        'øłđðıħŧŋ', 'olddihtn')
END
"""
# What stands between spaces, and what stands between signs within it. Of an e-mail address: all
# of it, the pieces of its local part, and its domain from each label on but the last.
WORDS_OF = r"""
CREATE FUNCTION search_words_of(value text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    WITH chunks AS (
        SELECT regexp_split_to_table(left(search_fold(value), 1000), '\s+') AS chunk
    )
    SELECT DISTINCT left(word, 64) FROM (
        SELECT btrim(piece, $signs$!"#$%&'()*+,-./:;<=>?@[\]^`{|}~$signs$) AS word FROM (
            SELECT chunk AS piece FROM chunks
            UNION ALL
            SELECT regexp_split_to_table(split_part(chunk, '@', 1), '[!-/:-@\[-^`{-~]+')
            FROM chunks WHERE chunk ~ '[!-/:-@\[-^`{-~]'
            UNION ALL
            SELECT array_to_string(labels[n:], '.') FROM (
                SELECT string_to_array(split_part(chunk, '@', 2), '.') AS labels FROM chunks
                WHERE chunk LIKE '%@%'
            ) AS domains, generate_series(1, greatest(1, cardinality(labels) - 1)) AS n
        ) AS pieces
    ) AS words WHERE word <> ''
$$
"""
WORDS_OF_ACCOUNTS = """
CREATE FUNCTION search_words_of_accounts(ids bigint[])
RETURNS TABLE (account_id bigint, word text) LANGUAGE sql STABLE AS $$
    SELECT DISTINCT texts.id, words.word FROM (
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
$$
"""
REFRESH = """
CREATE FUNCTION refresh_search_words(ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM search_words AS known WHERE known.account_id = ANY(ids) AND NOT EXISTS (
        SELECT FROM search_words_of_accounts(ids) AS right_now
        WHERE right_now.account_id = known.account_id AND right_now.word = known.word);
    INSERT INTO search_words (account_id, word)
    SELECT account_id, word FROM search_words_of_accounts(ids) ON CONFLICT DO NOTHING;
END $$
"""
# A user's account has no customer and no members yet; their words take one statement whose plan is
# kept, because services bring new users while they wait.
ON_ACCOUNTS = """
CREATE FUNCTION search_words_on_accounts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_words (account_id, word)
    SELECT fresh.id, words.word FROM fresh JOIN users AS holder ON holder.id = fresh.user_id,
    search_words_of(concat_ws(' ', 'acc_' || lpad(to_hex(fresh.id), 16, '0'),
                              holder.id, holder.name, holder.email)) AS words (word)
    ON CONFLICT DO NOTHING;
    IF EXISTS (SELECT FROM fresh WHERE kind = 'organization') THEN
        PERFORM refresh_search_words(
            ARRAY(SELECT id FROM fresh WHERE kind = 'organization'));
    END IF;
    RETURN NULL;
END $$
"""
ON_USERS = """
CREATE FUNCTION search_words_on_users() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE changed text[] := ARRAY(
    SELECT fresh.id FROM fresh JOIN stale USING (id)
    WHERE (fresh.name, fresh.email) IS DISTINCT FROM (stale.name, stale.email));
BEGIN
    PERFORM refresh_search_words(ARRAY(
        SELECT id FROM accounts WHERE kind = 'user' AND user_id = ANY(changed)
        UNION ALL
        SELECT account.id FROM memberships AS membership
        JOIN accounts AS account ON account.organization_id = membership.organization_id
        WHERE account.kind = 'organization' AND membership.user_id = ANY(changed)));
    RETURN NULL;
END $$
"""
ON_ORGANIZATIONS = """
CREATE FUNCTION search_words_on_organizations() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refresh_search_words(ARRAY(
        SELECT account.id FROM fresh JOIN accounts AS account ON account.organization_id = fresh.id
        WHERE account.kind = 'organization'));
    RETURN NULL;
END $$
"""
# The lock makes a rename that is under way be waited for, or wait and see the new member.
ON_NEW_MEMBERS = """
CREATE FUNCTION search_words_on_new_members() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE people text[] := ARRAY(
    SELECT fresh.user_id FROM fresh
    JOIN accounts AS account ON account.organization_id = fresh.organization_id
    WHERE account.kind = 'organization');
BEGIN
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
    RETURN NULL;
END $$
"""
ON_LOST_MEMBERS = """
CREATE FUNCTION search_words_on_lost_members() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refresh_search_words(ARRAY(
        SELECT DISTINCT account.id FROM stale
        JOIN accounts AS account ON account.organization_id = stale.organization_id
        WHERE account.kind = 'organization'));
    RETURN NULL;
END $$
"""
ON_CUSTOMERS = """
CREATE FUNCTION search_words_on_customers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refresh_search_words(ARRAY(SELECT account_id FROM fresh));
    RETURN NULL;
END $$
"""
BACKFILL = """
INSERT INTO search_words (account_id, word)
SELECT account_id, word FROM search_words_of_accounts(ARRAY(SELECT id FROM accounts))
"""
FUNCTIONS = (
    WORDS_OF,
    WORDS_OF_ACCOUNTS,
    REFRESH,
    ON_ACCOUNTS,
    ON_USERS,
    ON_ORGANIZATIONS,
    ON_NEW_MEMBERS,
    ON_LOST_MEMBERS,
    ON_CUSTOMERS,
)
FUNCTION_NAMES = (
    "search_words_on_customers()",
    "search_words_on_lost_members()",
    "search_words_on_new_members()",
    "search_words_on_organizations()",
    "search_words_on_users()",
    "search_words_on_accounts()",
    "refresh_search_words(bigint[])",
    "search_words_of_accounts(bigint[])",
    "search_words_of(text)",
    "search_fold(text)",
)
TRIGGERS = (
    ("accounts", "insert", "search_words_on_accounts"),
    ("users", "update", "search_words_on_users"),
    ("organizations", "update", "search_words_on_organizations"),
    ("memberships", "insert", "search_words_on_new_members"),
    ("memberships", "delete", "search_words_on_lost_members"),
    ("provider_customers", "insert", "search_words_on_customers"),
    ("provider_customers", "update", "search_words_on_customers"),
)
TRANSITIONS = {
    "insert": "NEW TABLE AS fresh",
    "update": "OLD TABLE AS stale NEW TABLE AS fresh",
    "delete": "OLD TABLE AS stale",
}


def upgrade() -> None:
    op.execute(FOLD.format(collation=_case_collation()))
    op.create_table(
        "search_words",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("word", sa.String(collation="C"), nullable=False),
    )
    for function in FUNCTIONS:
        op.execute(function)
    op.execute(BACKFILL)
    op.create_primary_key(op.f("pk_search_words"), "search_words", ["account_id", "word"])
    op.create_index("ix_search_words_word", "search_words", ["word", "account_id"])
    for table, event, function in TRIGGERS:
        op.execute(
            f"CREATE TRIGGER {table}_{event}_search_words AFTER {event} ON {table}"
            f" REFERENCING {TRANSITIONS[event]} FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        )
    op.create_index("ix_accounts_created_at", "accounts", ["created_at", "id"])
    op.create_index(
        "ix_accounts_organizations_created_at",
        "accounts",
        ["created_at", "id"],
        postgresql_where=sa.text("kind = 'organization'"),
    )
    op.create_index(
        "ix_accounts_blocked",
        "accounts",
        ["id"],
        postgresql_where=sa.text("blocked_at IS NOT NULL"),
    )
    op.create_index(
        "ix_subscriptions_past_due",
        "subscriptions",
        ["account_id"],
        postgresql_where=sa.text("past_due_since IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_subscriptions_past_due", "subscriptions")
    op.drop_index("ix_accounts_blocked", "accounts")
    op.drop_index("ix_accounts_organizations_created_at", "accounts")
    op.drop_index("ix_accounts_created_at", "accounts")
    for table, event, _ in TRIGGERS:
        op.execute(f"DROP TRIGGER {table}_{event}_search_words ON {table}")
    op.drop_table("search_words")
    for name in FUNCTION_NAMES:
        op.execute(f"DROP FUNCTION {name}")


def _case_collation() -> str:
    query = sa.text("SELECT collname FROM pg_collation WHERE collname = ANY(:names)")
    found = {row[0] for row in op.get_bind().execute(query, {"names": list(CASE_COLLATIONS)})}
    return next((f' COLLATE "{name}"' for name in CASE_COLLATIONS if name in found), "")
