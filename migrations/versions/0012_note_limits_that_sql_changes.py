"""Note limits that SQL changes: whoever changes one past the service leaves an entry in the ledger and in the audit log

Triggers that write a trace find their tables by name, which a temporary table of that name would have taken over.
"""

from alembic import op
from sqlalchemy import text

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# It runs when the transaction ends, so that whoever writes the entry as well, in any order, has written it. Whose right
# it is to change a month has not always the right to write the ledger, so it runs with the rights of the tables' owner.
# Lists of the ledger name people and show notes, so the role stands in the note as well.
NOTE_LIMIT = """
CREATE FUNCTION note_limit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    missing bigint;
    present bigint;
BEGIN
    SELECT q.limit_seconds, q.limit_seconds - coalesce(sum(e.limit_delta), 0) INTO present, missing
    FROM {schema}.user_quotas q LEFT JOIN {schema}.quota_entries e ON e.user_id = q.user_id AND e.quota_id = q.id
    WHERE q.id = NEW.id GROUP BY q.id;
    IF missing <> 0 THEN
        INSERT INTO {schema}.quota_entries (quota_id, user_id, kind, limit_delta, note, actor_process)
        VALUES (NEW.id, NEW.user_id, 'LIMIT', missing, 'sql:' || session_user, 'sql:' || session_user);
        INSERT INTO {schema}.audit_entries (actor_process, action, target_type, target_id, details)
        VALUES ('sql:' || session_user, 'quota.limit_set', 'user', NEW.user_id,
                jsonb_build_object('limit_seconds', present));
    END IF;
    RETURN NULL;
END $$
"""
NEW_LIMIT = """
CREATE CONSTRAINT TRIGGER note_limit AFTER INSERT OR UPDATE OF limit_seconds ON user_quotas
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_limit()
"""
WRITE_A_TRACE = ("guard_user", "audit_user_rights", "revoke_personal_access_tokens")


def upgrade() -> None:
    schema = op.get_bind().execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    op.execute(NOTE_LIMIT.format(schema=schema))
    op.execute(NEW_LIMIT)
    for function in WRITE_A_TRACE:
        op.execute(f"ALTER FUNCTION {function} SET search_path = {schema}, pg_temp")


def downgrade() -> None:
    for function in WRITE_A_TRACE:
        op.execute(f"ALTER FUNCTION {function} RESET search_path")
    op.execute("DROP TRIGGER note_limit ON user_quotas")
    op.execute("DROP FUNCTION note_limit")
