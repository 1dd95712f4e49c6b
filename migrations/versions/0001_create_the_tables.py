"""Create the tables"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql


class TransactionId(sa.types.UserDefinedType[str]):
    """PostgreSQL's `xid8`, as it stood when these tables were made."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SEQUENCE event_id_seq AS bigint CACHE 1")
    op.create_table(
        "dispatcher_lease",
        sa.Column("singleton", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("term", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), server_default=sa.text("'-infinity'"), nullable=False),
        sa.Column("renewed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("singleton", name=op.f("ck_dispatcher_lease_one_row")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_dispatcher_lease")),
    )
    op.create_table(
        "login_failures",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_failures")),
    )
    op.create_index("ix_login_failures_subject_failed_at", "login_failures", ["subject", "failed_at"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("full_name", sa.Text(), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("is_admin", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("token_version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("locale IN ('fa', 'en')", name=op.f("ck_users_locale_known")),
        sa.CheckConstraint("char_length(email) BETWEEN 3 AND 254", name=op.f("ck_users_email_length")),
        sa.CheckConstraint("char_length(full_name) BETWEEN 1 AND 200", name=op.f("ck_users_full_name_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_index(
        "ix_users_active_admins", "users", ["id"], unique=False, postgresql_where=sa.text("is_admin AND is_active")
    )
    op.create_index("uq_users_lower_email", "users", [sa.literal_column("lower(email)")], unique=True)
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("actor_user_id", sa.BigInteger(), nullable=True),
        sa.Column("actor_process", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target_type", sa.Text(), nullable=False),
        sa.Column("target_id", sa.BigInteger(), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("address", postgresql.INET(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("num_nonnulls(actor_user_id, actor_process) = 1", name=op.f("ck_audit_entries_one_actor")),
        sa.ForeignKeyConstraint(["actor_user_id"], ["users.id"], name=op.f("fk_audit_entries_actor_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index("ix_audit_entries_action_id", "audit_entries", ["action", "id"], unique=False)
    op.create_index("ix_audit_entries_actor_user_id_id", "audit_entries", ["actor_user_id", "id"], unique=False)
    op.create_index("ix_audit_entries_target", "audit_entries", ["target_type", "target_id", "id"], unique=False)
    op.create_table(
        "gpus",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("executor", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("gpu_index", sa.Integer(), nullable=False),
        sa.Column("gpu_type", sa.Text(), nullable=False),
        sa.Column("uuid", sa.Text(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("is_contended", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_quarantined", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("drained_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("drain_reason", sa.Text(), nullable=True),
        sa.Column("drained_by", sa.BigInteger(), nullable=True),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(drained_at IS NULL) = (drain_reason IS NULL)", name=op.f("ck_gpus_drained_with_a_reason")),
        sa.ForeignKeyConstraint(["drained_by"], ["users.id"], name=op.f("fk_gpus_drained_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gpus")),
        sa.UniqueConstraint("executor", "node", "gpu_index", name=op.f("uq_gpus_executor_node_gpu_index")),
    )
    op.create_index(
        "ix_gpus_gpu_type", "gpus", ["gpu_type"], unique=False, postgresql_where=sa.text("retired_at IS NULL")
    )
    op.create_table(
        "job_counts",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "status IN ('PENDING', 'APPROVED', 'RUNNING', 'COMPLETED', 'FAILED', 'REJECTED', 'CANCELLED')",
            name=op.f("ck_job_counts_status_known"),
        ),
        sa.CheckConstraint("jobs >= 0", name=op.f("ck_job_counts_jobs_not_negative")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_job_counts_user_id")),
        sa.PrimaryKeyConstraint("user_id", "status", name=op.f("pk_job_counts")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("rotated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("address", postgresql.INET(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"], unique=False)
    op.create_index(
        "ix_sessions_user_id", "sessions", ["user_id"], unique=False, postgresql_where=sa.text("revoked_at IS NULL")
    )
    op.create_table(
        "user_quotas",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("limit_seconds", sa.BigInteger(), nullable=False),
        sa.Column("reserved_seconds", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("used_seconds", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.text("int8range(user_id, user_id, '[]')"), "&&"),
            (sa.text("tstzrange(starts_at, ends_at)"), "&&"),
            using="gist",
            name="ex_user_quotas_no_overlap",
        ),
        sa.CheckConstraint(
            "reserved_seconds + used_seconds <= limit_seconds", name=op.f("ck_user_quotas_within_limit")
        ),
        sa.CheckConstraint("reserved_seconds >= 0", name=op.f("ck_user_quotas_reserved_not_negative")),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_user_quotas_begins_before_it_ends")),
        sa.CheckConstraint("used_seconds >= 0", name=op.f("ck_user_quotas_used_not_negative")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_quotas_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_quotas")),
        sa.UniqueConstraint("user_id", "starts_at", name=op.f("uq_user_quotas_user_id_starts_at")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("quota_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("gpu_type", sa.Text(), nullable=False),
        sa.Column("num_gpus", sa.Integer(), nullable=False),
        sa.Column("time_limit_seconds", sa.Integer(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("data_location", sa.Text(), nullable=True),
        sa.Column("is_sensitive", sa.Boolean(), nullable=False),
        sa.Column("justification", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'PENDING'"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("wait_reason", sa.Text(), nullable=True),
        sa.Column("queue_reason", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("exit_signal", sa.Integer(), nullable=True),
        sa.Column("progress", sa.Double(), nullable=True),
        sa.Column("reserved_seconds", sa.BigInteger(), nullable=False),
        sa.Column("charged_seconds", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("event_seq", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.BigInteger(), nullable=True),
        sa.Column("decision_note", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("executor", sa.Text(), nullable=True),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("launched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_by", sa.BigInteger(), nullable=True),
        sa.Column("cancel_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(status IN ('CANCELLED', 'COMPLETED', 'FAILED', 'REJECTED')) = (finished_at IS NOT NULL)",
            name=op.f("ck_jobs_finished_iff_final"),
        ),
        sa.CheckConstraint(
            "(status IN ('CANCELLED', 'COMPLETED', 'FAILED', 'REJECTED')) = (reason IS NOT NULL)",
            name=op.f("ck_jobs_reason_iff_final"),
        ),
        sa.CheckConstraint(
            "reason IN ('EXITED', 'NONZERO_EXIT', 'SIGNALLED', 'TIME_LIMIT', 'OUT_OF_MEMORY', 'NODE_FAILURE', 'LAUNCH_FAILURE', 'LOST', 'REJECTED_BY_ADMIN', 'CANCELLED_BY_USER', 'CANCELLED_BY_ADMIN')",
            name=op.f("ck_jobs_reason_known"),
        ),
        sa.CheckConstraint(
            "status = 'PENDING' OR status = 'CANCELLED' OR decided_at IS NOT NULL", name=op.f("ck_jobs_decided")
        ),
        sa.CheckConstraint(
            "status IN ('PENDING', 'APPROVED', 'RUNNING', 'COMPLETED', 'FAILED', 'REJECTED', 'CANCELLED')",
            name=op.f("ck_jobs_status_known"),
        ),
        sa.CheckConstraint(
            "status NOT IN ('PENDING', 'REJECTED') OR started_at IS NULL", name=op.f("ck_jobs_not_started_undecided")
        ),
        sa.CheckConstraint(
            "status NOT IN ('RUNNING', 'COMPLETED', 'FAILED') OR started_at IS NOT NULL",
            name=op.f("ck_jobs_started_if_it_ran"),
        ),
        sa.CheckConstraint("(decided_at IS NULL) = (decided_by IS NULL)", name=op.f("ck_jobs_decided_by_somebody")),
        sa.CheckConstraint("char_length(command) BETWEEN 1 AND 16384", name=op.f("ck_jobs_command_length")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 255", name=op.f("ck_jobs_name_length")),
        sa.CheckConstraint(
            "charged_seconds = 0 OR started_at IS NOT NULL", name=op.f("ck_jobs_charged_only_if_it_ran")
        ),
        sa.CheckConstraint(
            "charged_seconds BETWEEN 0 AND reserved_seconds", name=op.f("ck_jobs_charge_within_reservation")
        ),
        sa.CheckConstraint("decided_at >= created_at", name=op.f("ck_jobs_decided_after_created")),
        sa.CheckConstraint(
            "finished_at >= coalesce(started_at, decided_at, created_at)", name=op.f("ck_jobs_finished_last")
        ),
        sa.CheckConstraint("num_gpus BETWEEN 1 AND 64", name=op.f("ck_jobs_num_gpus_range")),
        sa.CheckConstraint("progress BETWEEN 0 AND 1", name=op.f("ck_jobs_progress_range")),
        sa.CheckConstraint(
            "reserved_seconds = num_gpus::bigint * time_limit_seconds", name=op.f("ck_jobs_reserves_its_size")
        ),
        sa.CheckConstraint("started_at >= decided_at", name=op.f("ck_jobs_started_after_decided")),
        sa.CheckConstraint("started_at IS NULL OR run_id IS NOT NULL", name=op.f("ck_jobs_run_id_if_started")),
        sa.CheckConstraint("time_limit_seconds BETWEEN 1 AND 2592000", name=op.f("ck_jobs_time_limit_range")),
        sa.ForeignKeyConstraint(["cancel_requested_by"], ["users.id"], name=op.f("fk_jobs_cancel_requested_by")),
        sa.ForeignKeyConstraint(["decided_by"], ["users.id"], name=op.f("fk_jobs_decided_by")),
        sa.ForeignKeyConstraint(["quota_id"], ["user_quotas.id"], name=op.f("fk_jobs_quota_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_jobs_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("run_id", name=op.f("uq_jobs_run_id")),
    )
    op.create_index(
        "ix_jobs_approved", "jobs", ["decided_at", "id"], unique=False, postgresql_where=sa.text("status = 'APPROVED'")
    )
    op.create_index(
        "ix_jobs_name_words",
        "jobs",
        [sa.literal_column("to_tsvector('simple', translate(name, '._-/,@+=#~', '          '))")],
        unique=False,
        postgresql_using="gin",
    )
    op.create_index("ix_jobs_status_id", "jobs", ["status", "id"], unique=False)
    op.create_index(
        "ix_jobs_to_launch",
        "jobs",
        ["id"],
        unique=False,
        postgresql_where=sa.text("run_id IS NOT NULL AND launched_at IS NULL AND finished_at IS NULL"),
    )
    op.create_index(
        "ix_jobs_to_stop",
        "jobs",
        ["id"],
        unique=False,
        postgresql_where=sa.text("cancel_requested_at IS NOT NULL AND finished_at IS NULL"),
    )
    op.create_index("ix_jobs_user_id_id", "jobs", ["user_id", "id"], unique=False)
    op.create_index("ix_jobs_user_id_status_id", "jobs", ["user_id", "status", "id"], unique=False)
    op.create_table(
        "gpu_allocations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("gpu_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("allocated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("released_at >= allocated_at", name=op.f("ck_gpu_allocations_released_after_allocated")),
        sa.ForeignKeyConstraint(["gpu_id"], ["gpus.id"], name=op.f("fk_gpu_allocations_gpu_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_gpu_allocations_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gpu_allocations")),
    )
    op.create_index("ix_gpu_allocations_job_id", "gpu_allocations", ["job_id"], unique=False)
    op.create_index(
        "uq_gpu_allocations_one_open",
        "gpu_allocations",
        ["gpu_id"],
        unique=True,
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("char_length(key) BETWEEN 1 AND 255", name=op.f("ck_idempotency_keys_key_length")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_idempotency_keys_job_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_idempotency_keys_user_id")),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "job_events",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('event_id_seq')"), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), server_default=sa.text("'TRANSITION'"), nullable=False),
        sa.Column("from_status", sa.Text(), nullable=True),
        sa.Column("to_status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("actor_user_id", sa.BigInteger(), nullable=True),
        sa.Column("actor_process", sa.Text(), nullable=True),
        sa.Column("xid", TransactionId(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('TRANSITION', 'DISPATCHED', 'CANCEL_REQUESTED')", name=op.f("ck_job_events_kind_known")
        ),
        sa.CheckConstraint(
            "to_status IN ('PENDING', 'APPROVED', 'RUNNING', 'COMPLETED', 'FAILED', 'REJECTED', 'CANCELLED')",
            name=op.f("ck_job_events_to_status_known"),
        ),
        sa.CheckConstraint("(from_status IS NULL) = (seq = 1)", name=op.f("ck_job_events_first_has_no_from")),
        sa.CheckConstraint("num_nonnulls(actor_user_id, actor_process) = 1", name=op.f("ck_job_events_one_actor")),
        sa.ForeignKeyConstraint(["actor_user_id"], ["users.id"], name=op.f("fk_job_events_actor_user_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_events_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_events")),
        sa.UniqueConstraint("job_id", "seq", name=op.f("uq_job_events_job_id_seq")),
    )
    op.create_index("ix_job_events_stream", "job_events", ["xid", "id"], unique=False)
    op.create_index(
        "uq_job_events_one_end",
        "job_events",
        ["job_id"],
        unique=True,
        postgresql_where=sa.text(
            "kind = 'TRANSITION' AND to_status IN ('CANCELLED', 'COMPLETED', 'FAILED', 'REJECTED')"
        ),
    )
    op.create_table(
        "quota_entries",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('event_id_seq')"), nullable=False),
        sa.Column("quota_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("limit_delta", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("reserved_delta", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("used_delta", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("actor_user_id", sa.BigInteger(), nullable=True),
        sa.Column("actor_process", sa.Text(), nullable=True),
        sa.Column("xid", TransactionId(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(job_id IS NULL) = (kind IN ('GRANT', 'LIMIT', 'ADJUST'))",
            name=op.f("ck_quota_entries_job_where_one_is_due"),
        ),
        sa.CheckConstraint(
            "kind IN ('GRANT', 'LIMIT', 'RESERVE', 'MOVE_OUT', 'MOVE_IN', 'SETTLE', 'RELEASE', 'ADJUST')",
            name=op.f("ck_quota_entries_kind_known"),
        ),
        sa.CheckConstraint("num_nonnulls(actor_user_id, actor_process) = 1", name=op.f("ck_quota_entries_one_actor")),
        sa.ForeignKeyConstraint(["actor_user_id"], ["users.id"], name=op.f("fk_quota_entries_actor_user_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_quota_entries_job_id")),
        sa.ForeignKeyConstraint(["quota_id"], ["user_quotas.id"], name=op.f("fk_quota_entries_quota_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quota_entries")),
    )
    op.create_index(
        "ix_quota_entries_stream",
        "quota_entries",
        ["xid", "id"],
        unique=False,
        postgresql_where=sa.text("kind IN ('LIMIT', 'ADJUST')"),
    )
    op.create_index("ix_quota_entries_user_id_id", "quota_entries", ["user_id", "id"], unique=False)
    op.create_index(
        "uq_quota_entries_one_reserve",
        "quota_entries",
        ["job_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'RESERVE'"),
    )
    op.create_index(
        "uq_quota_entries_one_settlement",
        "quota_entries",
        ["job_id"],
        unique=True,
        postgresql_where=sa.text("kind IN ('SETTLE', 'RELEASE')"),
    )


def downgrade() -> None:
    op.drop_index(
        "uq_quota_entries_one_settlement",
        table_name="quota_entries",
        postgresql_where=sa.text("kind IN ('SETTLE', 'RELEASE')"),
    )
    op.drop_index(
        "uq_quota_entries_one_reserve", table_name="quota_entries", postgresql_where=sa.text("kind = 'RESERVE'")
    )
    op.drop_index("ix_quota_entries_user_id_id", table_name="quota_entries")
    op.drop_index(
        "ix_quota_entries_stream", table_name="quota_entries", postgresql_where=sa.text("kind IN ('LIMIT', 'ADJUST')")
    )
    op.drop_table("quota_entries")
    op.drop_index(
        "uq_job_events_one_end",
        table_name="job_events",
        postgresql_where=sa.text(
            "kind = 'TRANSITION' AND to_status IN ('CANCELLED', 'COMPLETED', 'FAILED', 'REJECTED')"
        ),
    )
    op.drop_index("ix_job_events_stream", table_name="job_events")
    op.drop_table("job_events")
    op.drop_index("ix_idempotency_keys_created_at", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index(
        "uq_gpu_allocations_one_open", table_name="gpu_allocations", postgresql_where=sa.text("released_at IS NULL")
    )
    op.drop_index("ix_gpu_allocations_job_id", table_name="gpu_allocations")
    op.drop_table("gpu_allocations")
    op.drop_index("ix_jobs_user_id_status_id", table_name="jobs")
    op.drop_index("ix_jobs_user_id_id", table_name="jobs")
    op.drop_index(
        "ix_jobs_to_stop",
        table_name="jobs",
        postgresql_where=sa.text("cancel_requested_at IS NOT NULL AND finished_at IS NULL"),
    )
    op.drop_index(
        "ix_jobs_to_launch",
        table_name="jobs",
        postgresql_where=sa.text("run_id IS NOT NULL AND launched_at IS NULL AND finished_at IS NULL"),
    )
    op.drop_index("ix_jobs_status_id", table_name="jobs")
    op.drop_index("ix_jobs_name_words", table_name="jobs", postgresql_using="gin")
    op.drop_index("ix_jobs_approved", table_name="jobs", postgresql_where=sa.text("status = 'APPROVED'"))
    op.drop_table("jobs")
    op.drop_table("user_quotas")
    op.drop_index("ix_sessions_user_id", table_name="sessions", postgresql_where=sa.text("revoked_at IS NULL"))
    op.drop_index("ix_sessions_expires_at", table_name="sessions")
    op.drop_table("sessions")
    op.drop_table("job_counts")
    op.drop_index("ix_gpus_gpu_type", table_name="gpus", postgresql_where=sa.text("retired_at IS NULL"))
    op.drop_table("gpus")
    op.drop_index("ix_audit_entries_target", table_name="audit_entries")
    op.drop_index("ix_audit_entries_actor_user_id_id", table_name="audit_entries")
    op.drop_index("ix_audit_entries_action_id", table_name="audit_entries")
    op.drop_table("audit_entries")
    op.drop_index("uq_users_lower_email", table_name="users")
    op.drop_index("ix_users_active_admins", table_name="users", postgresql_where=sa.text("is_admin AND is_active"))
    op.drop_table("users")
    op.drop_index("ix_login_failures_subject_failed_at", table_name="login_failures")
    op.drop_table("login_failures")
    op.drop_table("dispatcher_lease")
    op.execute("DROP SEQUENCE event_id_seq")
