"""Give programs tokens: what a person's program shows instead of a password"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# A rehash at sign-in changes the stored form of a password, not the password.
REVOKE_TOKENS = """
CREATE FUNCTION revoke_personal_access_tokens() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE personal_access_tokens SET revoked_at = clock_timestamp() WHERE user_id = NEW.id AND revoked_at IS NULL;
    RETURN NULL;
END $$
"""
ON_LOST_RIGHTS = """
CREATE TRIGGER revoke_personal_access_tokens AFTER UPDATE ON users FOR EACH ROW
    WHEN ((OLD.is_admin AND NOT NEW.is_admin) OR (OLD.is_active AND NOT NEW.is_active)
          OR (OLD.password_hash <> NEW.password_hash AND current_actor_process() IS DISTINCT FROM 'login:rehash'))
    EXECUTE FUNCTION revoke_personal_access_tokens()
"""


def upgrade() -> None:
    op.create_table(
        "personal_access_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_personal_access_tokens")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_personal_access_tokens_user_id")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 100", name=op.f("ck_personal_access_tokens_name_length")),
        sa.CheckConstraint(
            "cardinality(scopes) > 0 AND scopes <@ ARRAY['jobs:read', 'jobs:write', 'admin']::text[]",
            name=op.f("ck_personal_access_tokens_scopes_known"),
        ),
        sa.CheckConstraint(
            "expires_at <= created_at + interval '366 days'", name=op.f("ck_personal_access_tokens_a_year_at_most")
        ),
    )
    op.create_index("uq_personal_access_tokens_token_sha256", "personal_access_tokens", ["token_sha256"], unique=True)
    op.create_index(
        "ix_personal_access_tokens_user_id",
        "personal_access_tokens",
        ["user_id"],
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.execute(REVOKE_TOKENS)
    op.execute(ON_LOST_RIGHTS)


def downgrade() -> None:
    op.execute("DROP TRIGGER revoke_personal_access_tokens ON users")
    op.execute("DROP FUNCTION revoke_personal_access_tokens")
    op.drop_table("personal_access_tokens")
