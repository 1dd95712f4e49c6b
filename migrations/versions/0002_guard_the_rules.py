"""Guard the rules: what must hold even when the code is wrong or an operator types SQL"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ONLY_GROWS = ("job_events", "quota_entries", "audit_entries")

JOB_GUARDS = """
CREATE FUNCTION guard_job_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.finished_at IS NOT NULL THEN
        RAISE EXCEPTION 'job % is % and final: it cannot change', OLD.id, OLD.status USING ERRCODE = 'GT001';
    END IF;
    IF OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN (
        ('PENDING', 'APPROVED'), ('PENDING', 'REJECTED'), ('PENDING', 'CANCELLED'),
        ('APPROVED', 'RUNNING'), ('APPROVED', 'CANCELLED'),
        ('RUNNING', 'COMPLETED'), ('RUNNING', 'FAILED'), ('RUNNING', 'CANCELLED')
    ) THEN
        RAISE EXCEPTION 'job % cannot go from % to %', OLD.id, OLD.status, NEW.status USING ERRCODE = 'GT001';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER guard_job_transition BEFORE UPDATE ON jobs FOR EACH ROW
    WHEN (OLD.status <> NEW.status OR OLD.finished_at IS NOT NULL) EXECUTE FUNCTION guard_job_transition();

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'GT001';
END $$;

CREATE TRIGGER born_pending BEFORE INSERT ON jobs FOR EACH ROW
    WHEN (NEW.status <> 'PENDING' OR NEW.event_seq <> 1) EXECUTE FUNCTION refuse('a job begins PENDING');

CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON jobs FOR EACH STATEMENT
    EXECUTE FUNCTION refuse('jobs are kept');
"""

USER_GUARDS = """
CREATE FUNCTION current_actor_user() RETURNS bigint LANGUAGE sql STABLE AS
    $$ SELECT nullif(current_setting('gtm.actor_user_id', true), '')::bigint $$;

CREATE FUNCTION current_actor_process() RETURNS text LANGUAGE sql STABLE AS
    $$ SELECT CASE WHEN current_actor_user() IS NULL
              THEN coalesce(nullif(current_setting('gtm.actor_process', true), ''), 'sql:' || session_user) END $$;

-- Older tokens die with the rights they were made under. Admins change one at a time, so that one of them stays.
CREATE FUNCTION guard_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.is_admin AND OLD.is_active) AND NOT (NEW.is_admin AND NEW.is_active) THEN
        PERFORM pg_advisory_xact_lock(4761002);
        IF NOT EXISTS (SELECT FROM users WHERE is_admin AND is_active AND id <> OLD.id) THEN
            RAISE EXCEPTION 'user % is the last active admin', OLD.id USING ERRCODE = 'GT002';
        END IF;
    END IF;
    NEW.token_version := OLD.token_version + 1;
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;

CREATE TRIGGER guard_user BEFORE UPDATE ON users FOR EACH ROW
    WHEN (OLD.is_admin <> NEW.is_admin OR OLD.is_active <> NEW.is_active OR OLD.password_hash <> NEW.password_hash)
    EXECUTE FUNCTION guard_user();

CREATE FUNCTION audit_user_rights() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_entries (actor_user_id, actor_process, action, target_type, target_id, details, request_id, address)
    SELECT current_actor_user(), current_actor_process(), change.action, 'user', NEW.id,
           jsonb_build_object('email', NEW.email),
           nullif(current_setting('gtm.request_id', true), ''), nullif(current_setting('gtm.address', true), '')::inet
    FROM (VALUES
        (CASE WHEN NEW.is_admin AND NOT OLD.is_admin THEN 'user.promoted' END),
        (CASE WHEN OLD.is_admin AND NOT NEW.is_admin THEN 'user.demoted' END),
        (CASE WHEN NEW.is_active AND NOT OLD.is_active THEN 'user.activated' END),
        (CASE WHEN OLD.is_active AND NOT NEW.is_active THEN 'user.deactivated' END),
        (CASE WHEN OLD.password_hash <> NEW.password_hash THEN 'user.password_changed' END)
    ) AS change (action)
    WHERE change.action IS NOT NULL;
    RETURN NULL;
END $$;

CREATE TRIGGER audit_user_rights AFTER UPDATE ON users FOR EACH ROW
    WHEN (OLD.is_admin <> NEW.is_admin OR OLD.is_active <> NEW.is_active OR OLD.password_hash <> NEW.password_hash)
    EXECUTE FUNCTION audit_user_rights();

CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON users FOR EACH STATEMENT
    EXECUTE FUNCTION refuse('users are deactivated, never deleted');
"""


def execute_each(statements: str) -> None:
    """Run statements that stand apart by a blank line; asyncpg takes one at a time."""
    for statement in statements.strip().split("\n\n"):
        op.execute(statement)


def upgrade() -> None:
    op.execute("INSERT INTO dispatcher_lease DEFAULT VALUES")
    execute_each(JOB_GUARDS)
    for table in ONLY_GROWS:
        op.execute(
            f"CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse('its rows are never changed')"
        )
    execute_each(USER_GUARDS)


def downgrade() -> None:
    op.execute("DROP TRIGGER never_deleted ON users")
    op.execute("DROP TRIGGER audit_user_rights ON users")
    op.execute("DROP TRIGGER guard_user ON users")
    for table in ONLY_GROWS:
        op.execute(f"DROP TRIGGER only_grows ON {table}")
    op.execute("DROP TRIGGER never_deleted ON jobs")
    op.execute("DROP TRIGGER born_pending ON jobs")
    op.execute("DROP TRIGGER guard_job_transition ON jobs")
    for function in (
        "audit_user_rights",
        "guard_user",
        "current_actor_process",
        "current_actor_user",
        "refuse",
        "guard_job_transition",
    ):
        op.execute(f"DROP FUNCTION {function}")
    op.execute("DELETE FROM dispatcher_lease")
