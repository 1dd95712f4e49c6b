SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE FUNCTION public.audit_user_rights() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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
ALTER FUNCTION public.audit_user_rights() OWNER TO gpu_task_manager;
CREATE FUNCTION public.current_actor_process() RETURNS text
    LANGUAGE sql STABLE
    AS $$ SELECT CASE WHEN current_actor_user() IS NULL
              THEN coalesce(nullif(current_setting('gtm.actor_process', true), ''), 'sql:' || session_user) END $$;
ALTER FUNCTION public.current_actor_process() OWNER TO gpu_task_manager;
CREATE FUNCTION public.current_actor_user() RETURNS bigint
    LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('gtm.actor_user_id', true), '')::bigint $$;
ALTER FUNCTION public.current_actor_user() OWNER TO gpu_task_manager;
CREATE FUNCTION public.guard_job_transition() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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
ALTER FUNCTION public.guard_job_transition() OWNER TO gpu_task_manager;
CREATE FUNCTION public.guard_user() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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
ALTER FUNCTION public.guard_user() OWNER TO gpu_task_manager;
CREATE FUNCTION public.refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'GT001';
END $$;
ALTER FUNCTION public.refuse() OWNER TO gpu_task_manager;
CREATE FUNCTION public.revoke_personal_access_tokens() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE personal_access_tokens SET revoked_at = clock_timestamp() WHERE user_id = NEW.id AND revoked_at IS NULL;
    RETURN NULL;
END $$;
ALTER FUNCTION public.revoke_personal_access_tokens() OWNER TO gpu_task_manager;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
ALTER TABLE public.alembic_version OWNER TO gpu_task_manager;
CREATE TABLE public.audit_entries (
    id bigint NOT NULL,
    actor_user_id bigint,
    actor_process text,
    action text NOT NULL,
    target_type text NOT NULL,
    target_id bigint,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    request_id text,
    address inet,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT ck_audit_entries_one_actor CHECK ((num_nonnulls(actor_user_id, actor_process) = 1))
);
ALTER TABLE public.audit_entries OWNER TO gpu_task_manager;
ALTER TABLE public.audit_entries ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.audit_entries_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.dispatcher_lease (
    singleton boolean DEFAULT true NOT NULL,
    holder text,
    term bigint DEFAULT 0 NOT NULL,
    expires_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    renewed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT ck_dispatcher_lease_one_row CHECK (singleton)
);
ALTER TABLE public.dispatcher_lease OWNER TO gpu_task_manager;
CREATE SEQUENCE public.event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.event_id_seq OWNER TO gpu_task_manager;
CREATE TABLE public.gpu_allocations (
    id bigint NOT NULL,
    gpu_id bigint NOT NULL,
    job_id bigint NOT NULL,
    run_id uuid NOT NULL,
    allocated_at timestamp with time zone DEFAULT now() NOT NULL,
    released_at timestamp with time zone,
    CONSTRAINT ck_gpu_allocations_released_after_allocated CHECK ((released_at >= allocated_at))
);
ALTER TABLE public.gpu_allocations OWNER TO gpu_task_manager;
ALTER TABLE public.gpu_allocations ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.gpu_allocations_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.gpus (
    id bigint NOT NULL,
    executor text NOT NULL,
    node text NOT NULL,
    gpu_index integer NOT NULL,
    gpu_type text NOT NULL,
    uuid text NOT NULL,
    memory_bytes bigint NOT NULL,
    is_contended boolean DEFAULT false NOT NULL,
    is_quarantined boolean DEFAULT false NOT NULL,
    drained_at timestamp with time zone,
    drain_reason text,
    drained_by bigint,
    last_seen_at timestamp with time zone DEFAULT now() NOT NULL,
    retired_at timestamp with time zone,
    is_busy boolean DEFAULT false NOT NULL,
    offline_reason text,
    CONSTRAINT ck_gpus_drained_with_a_reason CHECK (((drained_at IS NULL) = (drain_reason IS NULL)))
);
ALTER TABLE public.gpus OWNER TO gpu_task_manager;
ALTER TABLE public.gpus ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.gpus_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.idempotency_keys (
    user_id bigint NOT NULL,
    key text NOT NULL,
    body_sha256 bytea NOT NULL,
    job_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT ck_idempotency_keys_key_length CHECK (((char_length(key) >= 1) AND (char_length(key) <= 255)))
);
ALTER TABLE public.idempotency_keys OWNER TO gpu_task_manager;
CREATE TABLE public.job_counts (
    user_id bigint NOT NULL,
    status text NOT NULL,
    jobs bigint NOT NULL,
    CONSTRAINT ck_job_counts_jobs_not_negative CHECK ((jobs >= 0)),
    CONSTRAINT ck_job_counts_status_known CHECK ((status = ANY (ARRAY['PENDING'::text, 'APPROVED'::text, 'RUNNING'::text, 'COMPLETED'::text, 'FAILED'::text, 'REJECTED'::text, 'CANCELLED'::text])))
);
ALTER TABLE public.job_counts OWNER TO gpu_task_manager;
CREATE TABLE public.job_events (
    id bigint DEFAULT nextval('public.event_id_seq'::regclass) NOT NULL,
    job_id bigint NOT NULL,
    user_id bigint NOT NULL,
    seq integer NOT NULL,
    kind text DEFAULT 'TRANSITION'::text NOT NULL,
    from_status text,
    to_status text NOT NULL,
    reason text,
    note text,
    actor_user_id bigint,
    actor_process text,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT ck_job_events_first_has_no_from CHECK (((from_status IS NULL) = (seq = 1))),
    CONSTRAINT ck_job_events_kind_known CHECK ((kind = ANY (ARRAY['TRANSITION'::text, 'DISPATCHED'::text, 'CANCEL_REQUESTED'::text]))),
    CONSTRAINT ck_job_events_one_actor CHECK ((num_nonnulls(actor_user_id, actor_process) = 1)),
    CONSTRAINT ck_job_events_to_status_known CHECK ((to_status = ANY (ARRAY['PENDING'::text, 'APPROVED'::text, 'RUNNING'::text, 'COMPLETED'::text, 'FAILED'::text, 'REJECTED'::text, 'CANCELLED'::text])))
);
ALTER TABLE public.job_events OWNER TO gpu_task_manager;
CREATE TABLE public.jobs (
    id bigint NOT NULL,
    user_id bigint NOT NULL,
    quota_id bigint NOT NULL,
    name text NOT NULL,
    gpu_type text NOT NULL,
    num_gpus integer NOT NULL,
    time_limit_seconds integer NOT NULL,
    command text NOT NULL,
    data_location text,
    is_sensitive boolean NOT NULL,
    justification text,
    status text DEFAULT 'PENDING'::text NOT NULL,
    reason text,
    wait_reason text,
    queue_reason text,
    error_message text,
    exit_code integer,
    exit_signal integer,
    progress double precision,
    reserved_seconds bigint NOT NULL,
    charged_seconds bigint DEFAULT 0 NOT NULL,
    event_seq integer DEFAULT 1 NOT NULL,
    decided_at timestamp with time zone,
    decided_by bigint,
    decision_note text,
    run_id uuid,
    executor text,
    dispatched_at timestamp with time zone,
    launched_at timestamp with time zone,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    cancel_requested_at timestamp with time zone,
    cancel_requested_by bigint,
    cancel_reason text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    engine_job_id text,
    placement text,
    expected_start_at timestamp with time zone,
    unknown_since timestamp with time zone,
    CONSTRAINT ck_jobs_charge_within_reservation CHECK (((charged_seconds >= 0) AND (charged_seconds <= reserved_seconds))),
    CONSTRAINT ck_jobs_charged_only_if_it_ran CHECK (((charged_seconds = 0) OR (started_at IS NOT NULL))),
    CONSTRAINT ck_jobs_command_length CHECK (((char_length(command) >= 1) AND (char_length(command) <= 16384))),
    CONSTRAINT ck_jobs_decided CHECK (((status = 'PENDING'::text) OR (status = 'CANCELLED'::text) OR (decided_at IS NOT NULL))),
    CONSTRAINT ck_jobs_decided_after_created CHECK ((decided_at >= created_at)),
    CONSTRAINT ck_jobs_decided_by_somebody CHECK (((decided_at IS NULL) = (decided_by IS NULL))),
    CONSTRAINT ck_jobs_finished_iff_final CHECK (((status = ANY (ARRAY['CANCELLED'::text, 'COMPLETED'::text, 'FAILED'::text, 'REJECTED'::text])) = (finished_at IS NOT NULL))),
    CONSTRAINT ck_jobs_finished_last CHECK ((finished_at >= COALESCE(started_at, decided_at, created_at))),
    CONSTRAINT ck_jobs_name_length CHECK (((char_length(name) >= 1) AND (char_length(name) <= 255))),
    CONSTRAINT ck_jobs_not_started_undecided CHECK (((status <> ALL (ARRAY['PENDING'::text, 'REJECTED'::text])) OR (started_at IS NULL))),
    CONSTRAINT ck_jobs_num_gpus_range CHECK (((num_gpus >= 1) AND (num_gpus <= 64))),
    CONSTRAINT ck_jobs_progress_range CHECK (((progress >= (0)::double precision) AND (progress <= (1)::double precision))),
    CONSTRAINT ck_jobs_reason_iff_final CHECK (((status = ANY (ARRAY['CANCELLED'::text, 'COMPLETED'::text, 'FAILED'::text, 'REJECTED'::text])) = (reason IS NOT NULL))),
    CONSTRAINT ck_jobs_reason_known CHECK ((reason = ANY (ARRAY['EXITED'::text, 'NONZERO_EXIT'::text, 'SIGNALLED'::text, 'TIME_LIMIT'::text, 'OUT_OF_MEMORY'::text, 'NODE_FAILURE'::text, 'LAUNCH_FAILURE'::text, 'LOST'::text, 'REJECTED_BY_ADMIN'::text, 'CANCELLED_BY_USER'::text, 'CANCELLED_BY_ADMIN'::text]))),
    CONSTRAINT ck_jobs_reserves_its_size CHECK ((reserved_seconds = ((num_gpus)::bigint * time_limit_seconds))),
    CONSTRAINT ck_jobs_run_id_if_started CHECK (((started_at IS NULL) OR (run_id IS NOT NULL))),
    CONSTRAINT ck_jobs_started_after_decided CHECK ((started_at >= decided_at)),
    CONSTRAINT ck_jobs_started_if_it_ran CHECK (((status <> ALL (ARRAY['RUNNING'::text, 'COMPLETED'::text, 'FAILED'::text])) OR (started_at IS NOT NULL))),
    CONSTRAINT ck_jobs_status_known CHECK ((status = ANY (ARRAY['PENDING'::text, 'APPROVED'::text, 'RUNNING'::text, 'COMPLETED'::text, 'FAILED'::text, 'REJECTED'::text, 'CANCELLED'::text]))),
    CONSTRAINT ck_jobs_time_limit_range CHECK (((time_limit_seconds >= 1) AND (time_limit_seconds <= 2592000)))
);
ALTER TABLE public.jobs OWNER TO gpu_task_manager;
ALTER TABLE public.jobs ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.jobs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.login_failures (
    id bigint NOT NULL,
    subject text NOT NULL,
    failed_at timestamp with time zone NOT NULL
);
ALTER TABLE public.login_failures OWNER TO gpu_task_manager;
ALTER TABLE public.login_failures ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.login_failures_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.personal_access_tokens (
    id uuid NOT NULL,
    user_id bigint NOT NULL,
    name text NOT NULL,
    token_sha256 bytea NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT ck_personal_access_tokens_a_year_at_most CHECK ((expires_at <= (created_at + '366 days'::interval))),
    CONSTRAINT ck_personal_access_tokens_name_length CHECK (((char_length(name) >= 1) AND (char_length(name) <= 100))),
    CONSTRAINT ck_personal_access_tokens_scopes_known CHECK (((cardinality(scopes) > 0) AND (scopes <@ ARRAY['jobs:read'::text, 'jobs:write'::text, 'admin'::text])))
);
ALTER TABLE public.personal_access_tokens OWNER TO gpu_task_manager;
CREATE TABLE public.quota_entries (
    id bigint DEFAULT nextval('public.event_id_seq'::regclass) NOT NULL,
    quota_id bigint NOT NULL,
    user_id bigint NOT NULL,
    job_id bigint,
    kind text NOT NULL,
    limit_delta bigint DEFAULT 0 NOT NULL,
    reserved_delta bigint DEFAULT 0 NOT NULL,
    used_delta bigint DEFAULT 0 NOT NULL,
    note text,
    actor_user_id bigint,
    actor_process text,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT ck_quota_entries_job_where_one_is_due CHECK (((job_id IS NULL) = (kind = ANY (ARRAY['GRANT'::text, 'LIMIT'::text, 'ADJUST'::text])))),
    CONSTRAINT ck_quota_entries_kind_known CHECK ((kind = ANY (ARRAY['GRANT'::text, 'LIMIT'::text, 'RESERVE'::text, 'MOVE_OUT'::text, 'MOVE_IN'::text, 'SETTLE'::text, 'RELEASE'::text, 'ADJUST'::text]))),
    CONSTRAINT ck_quota_entries_one_actor CHECK ((num_nonnulls(actor_user_id, actor_process) = 1))
);
ALTER TABLE public.quota_entries OWNER TO gpu_task_manager;
CREATE TABLE public.sessions (
    id uuid NOT NULL,
    user_id bigint NOT NULL,
    token_sha256 bytea NOT NULL,
    rotated_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    address inet,
    user_agent text
);
ALTER TABLE public.sessions OWNER TO gpu_task_manager;
CREATE TABLE public.user_quotas (
    id bigint NOT NULL,
    user_id bigint NOT NULL,
    starts_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    limit_seconds bigint NOT NULL,
    reserved_seconds bigint DEFAULT 0 NOT NULL,
    used_seconds bigint DEFAULT 0 NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT ck_user_quotas_begins_before_it_ends CHECK ((starts_at < ends_at)),
    CONSTRAINT ck_user_quotas_reserved_not_negative CHECK ((reserved_seconds >= 0)),
    CONSTRAINT ck_user_quotas_used_not_negative CHECK ((used_seconds >= 0)),
    CONSTRAINT ck_user_quotas_within_limit CHECK (((reserved_seconds + used_seconds) <= limit_seconds))
);
ALTER TABLE public.user_quotas OWNER TO gpu_task_manager;
ALTER TABLE public.user_quotas ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.user_quotas_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.users (
    id bigint NOT NULL,
    email text NOT NULL,
    full_name text,
    password_hash text NOT NULL,
    is_admin boolean DEFAULT false NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    token_version bigint DEFAULT 1 NOT NULL,
    locale text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT ck_users_email_length CHECK (((char_length(email) >= 3) AND (char_length(email) <= 254))),
    CONSTRAINT ck_users_full_name_length CHECK (((char_length(full_name) >= 1) AND (char_length(full_name) <= 200))),
    CONSTRAINT ck_users_locale_known CHECK ((locale = ANY (ARRAY['fa'::text, 'en'::text])))
);
ALTER TABLE public.users OWNER TO gpu_task_manager;
ALTER TABLE public.users ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.users_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
COPY public.alembic_version (version_num) FROM stdin;
0007
\.
COPY public.audit_entries (id, actor_user_id, actor_process, action, target_type, target_id, details, request_id, address, created_at) FROM stdin;
1	1	\N	user.registered	user	1	{"email": "admin@example.org", "is_admin": true}	test	192.0.2.10	2026-12-01 05:52:45.368707+00
2	2	\N	user.registered	user	2	{"email": "sara@example.org", "is_admin": false}	test	192.0.2.10	2026-12-01 05:52:45.378104+00
3	3	\N	user.registered	user	3	{"email": "gone@example.org", "is_admin": false}	test	192.0.2.10	2026-12-01 05:52:45.383526+00
4	1	\N	user.deactivated	user	3	{"email": "gone@example.org"}	\N	\N	2026-12-01 05:52:45.390021+00
5	1	\N	quota.limit_set	user	2	{"reason": "as asked", "limit_seconds": 720000}	\N	\N	2026-12-01 05:52:45.437508+00
6	1	\N	job.approved	job	1	{}	test	192.0.2.10	2026-12-01 05:52:45.478077+00
7	1	\N	job.started	job	1	{}	test	192.0.2.10	2026-12-01 05:52:45.500917+00
8	1	\N	job.approved	job	2	{}	test	192.0.2.10	2026-12-01 05:52:45.60471+00
9	1	\N	job.started	job	2	{}	test	192.0.2.10	2026-12-01 05:52:45.61534+00
10	1	\N	job.approved	job	3	{}	test	192.0.2.10	2026-12-01 05:52:45.686184+00
11	1	\N	job.started	job	3	{}	test	192.0.2.10	2026-12-01 05:52:45.69806+00
12	1	\N	job.approved	job	4	{}	test	192.0.2.10	2026-12-01 05:52:45.776054+00
13	1	\N	job.started	job	4	{}	test	192.0.2.10	2026-12-01 05:52:45.790063+00
14	1	\N	job.approved	job	5	{}	test	192.0.2.10	2026-12-01 05:52:45.849896+00
15	1	\N	job.started	job	5	{}	test	192.0.2.10	2026-12-01 05:52:45.85724+00
16	1	\N	job.approved	job	6	{}	test	192.0.2.10	2026-12-01 05:52:45.919861+00
17	1	\N	job.started	job	6	{}	test	192.0.2.10	2026-12-01 05:52:45.930444+00
18	1	\N	quota.adjusted	user	2	{"reason": "a correction", "delta_seconds": -600}	\N	\N	2026-12-01 05:52:46.002919+00
19	1	\N	job.rejected	job	8	{"note": "not now"}	test	192.0.2.10	2026-12-01 05:52:46.034119+00
20	2	\N	job.cancelled	job	9	{}	test	192.0.2.10	2026-12-01 05:52:46.045546+00
21	1	\N	job.approved	job	10	{}	test	192.0.2.10	2026-12-01 05:52:46.055978+00
22	1	\N	job.approved	job	11	{}	test	192.0.2.10	2026-12-01 05:52:46.06991+00
23	1	\N	job.started	job	11	{}	test	192.0.2.10	2026-12-01 05:52:46.08119+00
24	1	\N	job.approved	job	12	{}	test	192.0.2.10	2026-12-01 05:52:46.136485+00
25	1	\N	job.started	job	12	{}	test	192.0.2.10	2026-12-01 05:52:46.142699+00
26	2	\N	job.cancel_requested	job	12	{}	test	192.0.2.10	2026-12-01 05:52:46.169748+00
27	1	\N	gpu.drained	gpu	12	{"reason": "a fan is broken"}	test	192.0.2.10	2026-12-01 05:52:46.205956+00
28	2	\N	token.created	user	2	{"name": "nightly runs", "email": "sara@example.org", "scopes": ["jobs:read"], "expires_at": "2026-05-10T19:01:00+00:00"}	test	192.0.2.10	2026-12-01 05:52:46.219121+00
29	1	\N	token.created	user	1	{"name": "nightly runs", "email": "admin@example.org", "scopes": ["jobs:read", "jobs:write", "admin"], "expires_at": "2026-05-10T19:01:00+00:00"}	test	192.0.2.10	2026-12-01 05:52:46.229125+00
30	2	\N	login.succeeded	user	2	{"email": "sara@example.org"}	test	192.0.2.10	2026-12-01 05:52:46.23948+00
\.
COPY public.dispatcher_lease (singleton, holder, term, expires_at, renewed_at) FROM stdin;
t	\N	1	-infinity	2026-12-01 05:52:45.403274+00
\.
COPY public.gpu_allocations (id, gpu_id, job_id, run_id, allocated_at, released_at) FROM stdin;
1	1	1	f91bc2a9-fec0-4411-85cd-73a53388848c	2026-03-10 12:00:00+00	2026-03-10 13:05:00+00
2	1	2	4772d3ae-2e47-47f9-8968-42cbe9f374b3	2026-03-10 13:10:00+00	2026-03-10 14:15:00+00
3	1	3	76139630-188e-4601-b4e5-c57d4b08a34f	2026-03-10 14:20:00+00	2026-03-10 15:25:00+00
4	1	4	34a5a614-e1e3-4e14-9555-b363066a0652	2026-03-10 15:30:00+00	2026-03-10 17:45:00+00
5	2	5	8e81bbe1-9f0c-4a83-9fd3-3a9bea719c9f	2026-03-10 16:40:00+00	2026-03-10 17:45:00+00
6	2	6	1314588e-1e38-4979-a216-77e9f519158f	2026-03-10 17:50:00+00	2026-03-10 18:55:00+00
7	2	11	2859104f-e03e-46d0-a312-940291796e50	2026-04-10 19:00:00+00	\N
8	3	12	2cc07494-afa2-4b3d-98dc-378c4a37cd09	2026-04-10 19:00:00+00	2026-04-10 19:01:00+00
\.
COPY public.gpus (id, executor, node, gpu_index, gpu_type, uuid, memory_bytes, is_contended, is_quarantined, drained_at, drain_reason, drained_by, last_seen_at, retired_at, is_busy, offline_reason) FROM stdin;
1	simulated	node1	0	A100	GPU-fa5f7480-63d4-5dcb-a824-276ec8f7795d	85899345920	f	t	\N	\N	\N	2026-04-10 19:01:00+00	\N	f	\N
2	simulated	node1	1	A100	GPU-e6ff96b0-fdcc-5c1e-8fdc-a5ce4622f9e1	85899345920	f	f	\N	\N	\N	2026-04-10 19:01:00+00	\N	f	\N
3	simulated	node1	2	A100	GPU-6abb68cb-caa6-52fa-a803-1d17a713ef32	85899345920	f	f	\N	\N	\N	2026-04-10 19:01:00+00	\N	f	\N
4	simulated	node1	3	A100	GPU-aa55fcdc-35e9-5ffd-af0e-441096723cfd	85899345920	f	f	\N	\N	\N	2026-04-10 19:01:00+00	\N	f	\N
5	simulated	node1	4	A100	GPU-629d5224-5895-5b01-89e5-da0e2199e4d3	85899345920	f	f	\N	\N	\N	2026-04-10 19:01:00+00	\N	f	\N
6	simulated	node1	5	A100	GPU-49bb7e8b-ed99-5915-b288-48c581aa1740	85899345920	f	f	\N	\N	\N	2026-04-10 19:01:00+00	\N	f	\N
7	simulated	node1	6	A100	GPU-e197eb10-10fc-5fcc-9c6b-c0d79caf7705	85899345920	f	f	\N	\N	\N	2026-04-10 19:01:00+00	\N	f	\N
8	simulated	node1	7	A100	GPU-ca4ea2c2-fd78-56ed-bd08-0ba9a077c8ef	85899345920	f	f	\N	\N	\N	2026-04-10 19:01:00+00	\N	f	\N
9	simulated	node2	0	V100	GPU-cb435702-4594-594d-a42c-43f6edc4d5a9	34359738368	f	f	\N	\N	\N	2026-04-10 19:01:00+00	\N	f	\N
10	simulated	node2	1	V100	GPU-07ca80d0-07f8-58b8-9aff-895d6cb2a775	34359738368	f	f	\N	\N	\N	2026-04-10 19:01:00+00	\N	f	\N
11	simulated	node2	2	V100	GPU-b1db1b4a-fdbd-5894-b01a-c9d6ee2694b6	34359738368	f	f	\N	\N	\N	2026-04-10 19:01:00+00	\N	f	\N
12	simulated	node2	3	V100	GPU-dd3f1bd4-bae2-579c-bf06-1fd2784c3b38	34359738368	f	f	2026-04-10 19:01:00+00	a fan is broken	1	2026-04-10 19:01:00+00	\N	f	\N
\.
COPY public.idempotency_keys (user_id, key, body_sha256, job_id, created_at) FROM stdin;
2	key of rejected	\\x3c477151c32f7883ab0930b0e32fb26aa1dcaa0952fea285a700a8ff7b32d636	8	2026-04-10 19:00:00+00
2	key of cancelled	\\x88e2ec77b2acb7091c4ad87f88e8e2d7b292a0388e81cd802dac26c45e09cf8b	9	2026-04-10 19:00:00+00
2	key of approved	\\x96a4657b9338fef93b731c2dd4d737d7abccc096bdcf6157e4126cb918a1b981	10	2026-04-10 19:00:00+00
2	key of running	\\x62400b925080964887177cb71af0579d5a2189f12a4bf00d28bb0610d343b33d	11	2026-04-10 19:00:00+00
2	key of running-cancelled	\\xc88d3e32c3796c9c4294ad8103e97b9bd3994e52168591bdb526808a0e12f459	12	2026-04-10 19:00:00+00
2	key of pending	\\xcb72444e2b3af0e2c0f44131606f0c36a0f2ee8ce37695bdcdd099888804889d	13	2026-04-10 19:01:00+00
\.
COPY public.job_counts (user_id, status, jobs) FROM stdin;
2	COMPLETED	1
2	FAILED	5
2	REJECTED	1
2	APPROVED	1
2	RUNNING	1
2	CANCELLED	2
2	PENDING	2
\.
COPY public.job_events (id, job_id, user_id, seq, kind, from_status, to_status, reason, note, actor_user_id, actor_process, xid, created_at) FROM stdin;
4	1	2	1	TRANSITION	\N	PENDING	\N	\N	2	\N	768	2026-03-10 12:00:00+00
5	1	2	2	TRANSITION	PENDING	APPROVED	\N	\N	1	\N	769	2026-03-10 12:00:00+00
6	1	2	3	TRANSITION	APPROVED	RUNNING	\N	\N	1	\N	770	2026-03-10 12:00:00+00
7	1	2	4	TRANSITION	RUNNING	COMPLETED	EXITED	\N	\N	dispatcher:1	774	2026-03-10 13:05:00+00
10	2	2	1	TRANSITION	\N	PENDING	\N	\N	2	\N	776	2026-03-10 13:10:00+00
11	2	2	2	TRANSITION	PENDING	APPROVED	\N	\N	1	\N	777	2026-03-10 13:10:00+00
12	2	2	3	TRANSITION	APPROVED	RUNNING	\N	\N	1	\N	778	2026-03-10 13:10:00+00
13	2	2	4	TRANSITION	RUNNING	FAILED	NONZERO_EXIT	\N	\N	dispatcher:1	782	2026-03-10 14:15:00+00
16	3	2	1	TRANSITION	\N	PENDING	\N	\N	2	\N	784	2026-03-10 14:20:00+00
17	3	2	2	TRANSITION	PENDING	APPROVED	\N	\N	1	\N	785	2026-03-10 14:20:00+00
18	3	2	3	TRANSITION	APPROVED	RUNNING	\N	\N	1	\N	786	2026-03-10 14:20:00+00
19	3	2	4	TRANSITION	RUNNING	FAILED	OUT_OF_MEMORY	\N	\N	dispatcher:1	790	2026-03-10 15:25:00+00
22	4	2	1	TRANSITION	\N	PENDING	\N	\N	2	\N	792	2026-03-10 15:30:00+00
23	4	2	2	TRANSITION	PENDING	APPROVED	\N	\N	1	\N	793	2026-03-10 15:30:00+00
24	4	2	3	TRANSITION	APPROVED	RUNNING	\N	\N	1	\N	794	2026-03-10 15:30:00+00
26	5	2	1	TRANSITION	\N	PENDING	\N	\N	2	\N	800	2026-03-10 16:40:00+00
27	5	2	2	TRANSITION	PENDING	APPROVED	\N	\N	1	\N	801	2026-03-10 16:40:00+00
28	5	2	3	TRANSITION	APPROVED	RUNNING	\N	\N	1	\N	802	2026-03-10 16:40:00+00
29	4	2	4	TRANSITION	RUNNING	FAILED	LOST	\N	\N	dispatcher:1	806	2026-03-10 17:45:00+00
30	5	2	4	TRANSITION	RUNNING	FAILED	NODE_FAILURE	\N	\N	dispatcher:1	806	2026-03-10 17:45:00+00
34	6	2	1	TRANSITION	\N	PENDING	\N	\N	2	\N	809	2026-03-10 17:50:00+00
35	6	2	2	TRANSITION	PENDING	APPROVED	\N	\N	1	\N	810	2026-03-10 17:50:00+00
36	6	2	3	TRANSITION	APPROVED	RUNNING	\N	\N	1	\N	811	2026-03-10 17:50:00+00
37	6	2	4	TRANSITION	RUNNING	FAILED	TIME_LIMIT	\N	\N	dispatcher:1	816	2026-03-10 18:55:00+00
41	7	2	1	TRANSITION	\N	PENDING	\N	\N	2	\N	820	2026-03-10 19:00:00+00
44	8	2	1	TRANSITION	\N	PENDING	\N	\N	2	\N	822	2026-04-10 19:00:00+00
45	8	2	2	TRANSITION	PENDING	REJECTED	REJECTED_BY_ADMIN	not now	1	\N	823	2026-04-10 19:00:00+00
48	9	2	1	TRANSITION	\N	PENDING	\N	\N	2	\N	824	2026-04-10 19:00:00+00
49	9	2	2	TRANSITION	PENDING	CANCELLED	CANCELLED_BY_USER	\N	2	\N	825	2026-04-10 19:00:00+00
52	10	2	1	TRANSITION	\N	PENDING	\N	\N	2	\N	826	2026-04-10 19:00:00+00
53	10	2	2	TRANSITION	PENDING	APPROVED	\N	\N	1	\N	827	2026-04-10 19:00:00+00
55	11	2	1	TRANSITION	\N	PENDING	\N	\N	2	\N	828	2026-04-10 19:00:00+00
56	11	2	2	TRANSITION	PENDING	APPROVED	\N	\N	1	\N	829	2026-04-10 19:00:00+00
57	11	2	3	TRANSITION	APPROVED	RUNNING	\N	\N	1	\N	830	2026-04-10 19:00:00+00
59	12	2	1	TRANSITION	\N	PENDING	\N	\N	2	\N	837	2026-04-10 19:00:00+00
60	12	2	2	TRANSITION	PENDING	APPROVED	\N	\N	1	\N	838	2026-04-10 19:00:00+00
61	12	2	3	TRANSITION	APPROVED	RUNNING	\N	\N	1	\N	839	2026-04-10 19:00:00+00
62	12	2	4	CANCEL_REQUESTED	RUNNING	RUNNING	\N	\N	2	\N	842	2026-04-10 19:00:00+00
63	12	2	5	TRANSITION	RUNNING	CANCELLED	CANCELLED_BY_USER	\N	\N	dispatcher:1	846	2026-04-10 19:01:00+00
66	13	2	1	TRANSITION	\N	PENDING	\N	\N	2	\N	847	2026-04-10 19:01:00+00
\.
COPY public.jobs (id, user_id, quota_id, name, gpu_type, num_gpus, time_limit_seconds, command, data_location, is_sensitive, justification, status, reason, wait_reason, queue_reason, error_message, exit_code, exit_signal, progress, reserved_seconds, charged_seconds, event_seq, decided_at, decided_by, decision_note, run_id, executor, dispatched_at, launched_at, started_at, finished_at, cancel_requested_at, cancel_requested_by, cancel_reason, created_at, updated_at, engine_job_id, placement, expected_start_at, unknown_since) FROM stdin;
1	2	1	completed	A100	1	3600	python train.py #SIM duration=30m	\N	f	\N	COMPLETED	EXITED	\N	\N	\N	0	\N	1	3600	1800	4	2026-03-10 12:00:00+00	1	\N	f91bc2a9-fec0-4411-85cd-73a53388848c	simulated	\N	2026-03-10 12:00:00+00	2026-03-10 12:00:00+00	2026-03-10 12:30:00+00	\N	\N	\N	2026-03-10 12:00:00+00	2026-03-10 13:05:00+00	\N	\N	\N	\N
2	2	1	failed	A100	1	3600	python train.py #SIM exit=7 duration=10m	\N	f	\N	FAILED	NONZERO_EXIT	\N	\N	torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB	7	\N	0	3600	600	4	2026-03-10 13:10:00+00	1	\N	4772d3ae-2e47-47f9-8968-42cbe9f374b3	simulated	\N	2026-03-10 13:10:00+00	2026-03-10 13:10:00+00	2026-03-10 13:20:00+00	\N	\N	\N	2026-03-10 13:10:00+00	2026-03-10 14:15:00+00	\N	\N	\N	\N
13	2	2	pending	A100	1	3600	python train.py #SIM duration=30m	\N	f	\N	PENDING	\N	\N	\N	\N	\N	\N	\N	3600	0	1	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	2026-04-10 19:01:00+00	2026-04-10 19:01:00+00	\N	\N	\N	\N
3	2	1	out-of-memory	A100	1	3600	python train.py #SIM fault=oom	\N	f	\N	FAILED	OUT_OF_MEMORY	\N	\N	The job used more memory than its node has.	\N	9	0	3600	1701	4	2026-03-10 14:20:00+00	1	\N	76139630-188e-4601-b4e5-c57d4b08a34f	simulated	\N	2026-03-10 14:20:00+00	2026-03-10 14:20:00+00	2026-03-10 14:48:20.02481+00	\N	\N	\N	2026-03-10 14:20:00+00	2026-03-10 15:25:00+00	\N	\N	\N	\N
6	2	1	time-limit	A100	1	3600	python train.py #SIM fault=hang	\N	f	\N	FAILED	TIME_LIMIT	\N	\N	\N	\N	15	0	3600	3600	4	2026-03-10 17:50:00+00	1	\N	1314588e-1e38-4979-a216-77e9f519158f	simulated	\N	2026-03-10 17:50:00+00	2026-03-10 17:50:00+00	2026-03-10 18:50:00+00	\N	\N	\N	2026-03-10 17:50:00+00	2026-03-10 18:55:00+00	\N	\N	\N	\N
7	2	1	kept-waiting	A100	2	3600	python train.py	\N	f	\N	PENDING	\N	\N	\N	\N	\N	\N	\N	7200	0	1	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	2026-03-10 19:00:00+00	2026-03-10 19:00:00+00	\N	\N	\N	\N
4	2	1	lost	A100	1	3600	python train.py #SIM fault=lost	\N	f	\N	FAILED	LOST	\N	\N	The engine no longer knows this run.	\N	\N	0	3600	0	4	2026-03-10 15:30:00+00	1	\N	34a5a614-e1e3-4e14-9555-b363066a0652	simulated	\N	2026-03-10 15:30:00+00	2026-03-10 15:30:00+00	2026-03-10 17:45:00+00	\N	\N	\N	2026-03-10 15:30:00+00	2026-03-10 17:45:00+00	\N	\N	\N	2026-03-10 16:35:00+00
5	2	1	node-failure	A100	1	3600	python train.py #SIM fault=node-loss	\N	f	\N	FAILED	NODE_FAILURE	\N	\N	The node stopped answering.	\N	\N	0	3600	0	4	2026-03-10 16:40:00+00	1	\N	8e81bbe1-9f0c-4a83-9fd3-3a9bea719c9f	simulated	\N	2026-03-10 16:40:00+00	2026-03-10 16:40:00+00	2026-03-10 17:00:04.570145+00	\N	\N	\N	2026-03-10 16:40:00+00	2026-03-10 17:45:00+00	\N	\N	\N	\N
8	2	2	rejected	A100	1	3600	python train.py #SIM duration=30m	\N	f	\N	REJECTED	REJECTED_BY_ADMIN	\N	\N	\N	\N	\N	\N	3600	0	2	2026-04-10 19:00:00+00	1	not now	\N	\N	\N	\N	\N	2026-04-10 19:00:00+00	\N	\N	\N	2026-04-10 19:00:00+00	2026-04-10 19:00:00+00	\N	\N	\N	\N
9	2	2	cancelled	A100	1	3600	python train.py #SIM duration=30m	\N	f	\N	CANCELLED	CANCELLED_BY_USER	\N	\N	\N	\N	\N	\N	3600	0	2	\N	\N	\N	\N	\N	\N	\N	\N	2026-04-10 19:00:00+00	\N	\N	\N	2026-04-10 19:00:00+00	2026-04-10 19:00:00+00	\N	\N	\N	\N
10	2	2	approved	A100	1	3600	python train.py #SIM duration=30m	\N	f	\N	APPROVED	\N	AWAITING_START	\N	\N	\N	\N	\N	3600	0	2	2026-04-10 19:00:00+00	1	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	2026-04-10 19:00:00+00	2026-04-10 19:00:00+00	\N	\N	\N	\N
11	2	2	running	A100	1	3600	python train.py #SIM duration=30m	\N	f	\N	RUNNING	\N	\N	\N	\N	\N	\N	0.033	3600	0	3	2026-04-10 19:00:00+00	1	\N	2859104f-e03e-46d0-a312-940291796e50	simulated	\N	2026-04-10 19:00:00+00	2026-04-10 19:00:00+00	\N	\N	\N	\N	2026-04-10 19:00:00+00	2026-04-10 19:01:00+00	\N	\N	\N	\N
12	2	2	running-cancelled	A100	1	3600	python train.py #SIM duration=30m	\N	f	\N	CANCELLED	CANCELLED_BY_USER	\N	\N	\N	\N	15	0	3600	60	5	2026-04-10 19:00:00+00	1	\N	2cc07494-afa2-4b3d-98dc-378c4a37cd09	simulated	\N	2026-04-10 19:00:00+00	2026-04-10 19:00:00+00	2026-04-10 19:01:00+00	2026-04-10 19:00:00+00	2	\N	2026-04-10 19:00:00+00	2026-04-10 19:01:00+00	\N	\N	\N	\N
\.
COPY public.login_failures (id, subject, failed_at) FROM stdin;
\.
COPY public.personal_access_tokens (id, user_id, name, token_sha256, scopes, created_at, expires_at, last_used_at, revoked_at) FROM stdin;
39f56ec2-b6c8-4103-b138-5d144e70885e	2	nightly runs	\\x61dd2243f0a0667769ce205ec80c1dc6ddc42b68fd11de3c024d5bd42cec762b	{jobs:read}	2026-04-10 19:01:00+00	2026-05-10 19:01:00+00	\N	\N
a5f438df-9dad-4b0c-858a-de2937408344	1	nightly runs	\\x8850f8b37d4b8edf871f8e5a33a4ff20c60049e9a7222eae4cba1f5f2b3a7cd6	{jobs:read,jobs:write,admin}	2026-04-10 19:01:00+00	2026-05-10 19:01:00+00	\N	\N
\.
COPY public.quota_entries (id, quota_id, user_id, job_id, kind, limit_delta, reserved_delta, used_delta, note, actor_user_id, actor_process, xid, created_at) FROM stdin;
1	1	2	\N	GRANT	360000	0	0	\N	\N	calendar	767	2026-03-10 12:00:00+00
2	1	2	\N	LIMIT	360000	0	0	as asked	1	\N	767	2026-03-10 12:00:00+00
3	1	2	1	RESERVE	0	3600	0	\N	2	\N	768	2026-03-10 12:00:00+00
8	1	2	1	SETTLE	0	-3600	1800	\N	\N	dispatcher:1	774	2026-03-10 13:05:00+00
9	1	2	2	RESERVE	0	3600	0	\N	2	\N	776	2026-03-10 13:10:00+00
14	1	2	2	SETTLE	0	-3600	600	\N	\N	dispatcher:1	782	2026-03-10 14:15:00+00
15	1	2	3	RESERVE	0	3600	0	\N	2	\N	784	2026-03-10 14:20:00+00
20	1	2	3	SETTLE	0	-3600	1701	\N	\N	dispatcher:1	790	2026-03-10 15:25:00+00
21	1	2	4	RESERVE	0	3600	0	\N	2	\N	792	2026-03-10 15:30:00+00
25	1	2	5	RESERVE	0	3600	0	\N	2	\N	800	2026-03-10 16:40:00+00
31	1	2	4	SETTLE	0	-3600	0	\N	\N	dispatcher:1	806	2026-03-10 17:45:00+00
32	1	2	5	SETTLE	0	-3600	0	\N	\N	dispatcher:1	806	2026-03-10 17:45:00+00
33	1	2	6	RESERVE	0	3600	0	\N	2	\N	809	2026-03-10 17:50:00+00
38	1	2	6	SETTLE	0	-3600	3600	\N	\N	dispatcher:1	816	2026-03-10 18:55:00+00
39	1	2	\N	ADJUST	0	0	-600	a correction	1	\N	819	2026-03-10 19:00:00+00
40	1	2	7	RESERVE	0	7200	0	\N	2	\N	820	2026-03-10 19:00:00+00
42	2	2	\N	GRANT	720000	0	0	\N	\N	calendar	821	2026-04-10 19:00:00+00
43	2	2	8	RESERVE	0	3600	0	\N	2	\N	822	2026-04-10 19:00:00+00
46	2	2	8	RELEASE	0	-3600	0	\N	1	\N	823	2026-04-10 19:00:00+00
47	2	2	9	RESERVE	0	3600	0	\N	2	\N	824	2026-04-10 19:00:00+00
50	2	2	9	RELEASE	0	-3600	0	\N	2	\N	825	2026-04-10 19:00:00+00
51	2	2	10	RESERVE	0	3600	0	\N	2	\N	826	2026-04-10 19:00:00+00
54	2	2	11	RESERVE	0	3600	0	\N	2	\N	828	2026-04-10 19:00:00+00
58	2	2	12	RESERVE	0	3600	0	\N	2	\N	837	2026-04-10 19:00:00+00
64	2	2	12	SETTLE	0	-3600	60	\N	\N	dispatcher:1	846	2026-04-10 19:01:00+00
65	2	2	13	RESERVE	0	3600	0	\N	2	\N	847	2026-04-10 19:01:00+00
\.
COPY public.sessions (id, user_id, token_sha256, rotated_at, created_at, expires_at, revoked_at, address, user_agent) FROM stdin;
cde1a3e2-1e0a-4ecc-a113-d0e3a4c28165	2	\\x008af08b03bd37b66c2901e1eceeb179d07e151687d2f3d38d82f023990a6116	2026-04-10 19:01:00+00	2026-04-10 19:01:00+00	2026-04-17 19:01:00+00	\N	192.0.2.10	pytest
\.
COPY public.user_quotas (id, user_id, starts_at, ends_at, limit_seconds, reserved_seconds, used_seconds, updated_at) FROM stdin;
1	2	2026-03-01 00:00:00+00	2026-04-01 00:00:00+00	720000	7200	7101	2026-03-10 19:00:00+00
2	2	2026-04-01 00:00:00+00	2026-05-01 00:00:00+00	720000	10800	60	2026-04-10 19:01:00+00
\.
COPY public.users (id, email, full_name, password_hash, is_admin, is_active, token_version, locale, created_at, updated_at) FROM stdin;
1	admin@example.org	Mina Rad	$2b$04$6za4DTaJAR7H.4l2WO3n7O96HfbIiR/dR4ETvQUciBvzRsoXHSvOq	t	t	1	\N	2026-03-10 12:00:00+00	2026-03-10 12:00:00+00
2	sara@example.org	سارا احمدی	$2b$04$J8OdtgxajNQzDOpnPI1lAuGsLHwXyrW0XadiZNOKPTqDgfvZ5NFnO	f	t	1	\N	2026-03-10 12:00:00+00	2026-03-10 12:00:00+00
3	gone@example.org	\N	$2b$04$7wEHVMwjXutPkl9f8bjhSOCUvbNdEunIbgj7BPM77fgrvMt6eCghi	f	f	2	\N	2026-03-10 12:00:00+00	2026-12-01 05:52:45.394796+00
\.
SELECT pg_catalog.setval('public.audit_entries_id_seq', 30, true);
SELECT pg_catalog.setval('public.event_id_seq', 66, true);
SELECT pg_catalog.setval('public.gpu_allocations_id_seq', 8, true);
SELECT pg_catalog.setval('public.gpus_id_seq', 180, true);
SELECT pg_catalog.setval('public.jobs_id_seq', 13, true);
SELECT pg_catalog.setval('public.login_failures_id_seq', 1, false);
SELECT pg_catalog.setval('public.user_quotas_id_seq', 2, true);
SELECT pg_catalog.setval('public.users_id_seq', 3, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.user_quotas
    ADD CONSTRAINT ex_user_quotas_no_overlap EXCLUDE USING gist (int8range(user_id, user_id, '[]'::text) WITH &&, tstzrange(starts_at, ends_at) WITH &&);
ALTER TABLE ONLY public.audit_entries
    ADD CONSTRAINT pk_audit_entries PRIMARY KEY (id);
ALTER TABLE ONLY public.dispatcher_lease
    ADD CONSTRAINT pk_dispatcher_lease PRIMARY KEY (singleton);
ALTER TABLE ONLY public.gpu_allocations
    ADD CONSTRAINT pk_gpu_allocations PRIMARY KEY (id);
ALTER TABLE ONLY public.gpus
    ADD CONSTRAINT pk_gpus PRIMARY KEY (id);
ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT pk_idempotency_keys PRIMARY KEY (user_id, key);
ALTER TABLE ONLY public.job_counts
    ADD CONSTRAINT pk_job_counts PRIMARY KEY (user_id, status);
ALTER TABLE ONLY public.job_events
    ADD CONSTRAINT pk_job_events PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT pk_jobs PRIMARY KEY (id);
ALTER TABLE ONLY public.login_failures
    ADD CONSTRAINT pk_login_failures PRIMARY KEY (id);
ALTER TABLE ONLY public.personal_access_tokens
    ADD CONSTRAINT pk_personal_access_tokens PRIMARY KEY (id);
ALTER TABLE ONLY public.quota_entries
    ADD CONSTRAINT pk_quota_entries PRIMARY KEY (id);
ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT pk_sessions PRIMARY KEY (id);
ALTER TABLE ONLY public.user_quotas
    ADD CONSTRAINT pk_user_quotas PRIMARY KEY (id);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT pk_users PRIMARY KEY (id);
ALTER TABLE ONLY public.gpus
    ADD CONSTRAINT uq_gpus_executor_node_gpu_index UNIQUE (executor, node, gpu_index);
ALTER TABLE ONLY public.job_events
    ADD CONSTRAINT uq_job_events_job_id_seq UNIQUE (job_id, seq);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT uq_jobs_run_id UNIQUE (run_id);
ALTER TABLE ONLY public.user_quotas
    ADD CONSTRAINT uq_user_quotas_user_id_starts_at UNIQUE (user_id, starts_at);
CREATE INDEX ix_audit_entries_action_created_at_id ON public.audit_entries USING btree (action, created_at, id);
CREATE INDEX ix_audit_entries_actor_user_id_created_at_id ON public.audit_entries USING btree (actor_user_id, created_at, id);
CREATE INDEX ix_audit_entries_created_at_id ON public.audit_entries USING btree (created_at, id);
CREATE INDEX ix_audit_entries_target ON public.audit_entries USING btree (target_id, target_type, created_at, id);
CREATE INDEX ix_audit_entries_target_type_created_at_id ON public.audit_entries USING btree (target_type, created_at, id);
CREATE INDEX ix_gpu_allocations_job_id ON public.gpu_allocations USING btree (job_id);
CREATE INDEX ix_gpus_gpu_type ON public.gpus USING btree (gpu_type) WHERE (retired_at IS NULL);
CREATE INDEX ix_idempotency_keys_created_at ON public.idempotency_keys USING btree (created_at);
CREATE INDEX ix_job_events_stream ON public.job_events USING btree (xid, id);
CREATE INDEX ix_jobs_created_at ON public.jobs USING brin (created_at) WITH (autosummarize='true');
CREATE INDEX ix_jobs_gpu_type_status_id ON public.jobs USING btree (gpu_type, status, id);
CREATE INDEX ix_jobs_lost ON public.jobs USING btree (id) WHERE (reason = 'LOST'::text);
CREATE INDEX ix_jobs_name_words ON public.jobs USING gin (to_tsvector('simple'::regconfig, translate(name, '._-/,@+=#~'::text, '          '::text)));
CREATE INDEX ix_jobs_queue ON public.jobs USING btree (gpu_type, decided_at, id, num_gpus) WHERE ((status = 'APPROVED'::text) AND (run_id IS NULL));
CREATE INDEX ix_jobs_status_id ON public.jobs USING btree (status, id);
CREATE INDEX ix_jobs_to_launch ON public.jobs USING btree (id) WHERE ((run_id IS NOT NULL) AND (launched_at IS NULL) AND (finished_at IS NULL));
CREATE INDEX ix_jobs_to_stop ON public.jobs USING btree (id) WHERE ((cancel_requested_at IS NOT NULL) AND (finished_at IS NULL));
CREATE INDEX ix_jobs_user_id_id ON public.jobs USING btree (user_id, id);
CREATE INDEX ix_jobs_user_id_status_id ON public.jobs USING btree (user_id, status, id);
CREATE INDEX ix_login_failures_subject_failed_at ON public.login_failures USING btree (subject, failed_at);
CREATE INDEX ix_personal_access_tokens_user_id ON public.personal_access_tokens USING btree (user_id) WHERE (revoked_at IS NULL);
CREATE INDEX ix_quota_entries_stream ON public.quota_entries USING btree (xid, id) WHERE (kind = ANY (ARRAY['LIMIT'::text, 'ADJUST'::text]));
CREATE INDEX ix_quota_entries_user_id_id ON public.quota_entries USING btree (user_id, id);
CREATE INDEX ix_sessions_expires_at ON public.sessions USING btree (expires_at);
CREATE INDEX ix_sessions_user_id ON public.sessions USING btree (user_id) WHERE (revoked_at IS NULL);
CREATE INDEX ix_users_active_admins ON public.users USING btree (id) WHERE (is_admin AND is_active);
CREATE UNIQUE INDEX uq_gpu_allocations_one_open ON public.gpu_allocations USING btree (gpu_id) WHERE (released_at IS NULL);
CREATE UNIQUE INDEX uq_job_events_one_end ON public.job_events USING btree (job_id) WHERE ((kind = 'TRANSITION'::text) AND (to_status = ANY (ARRAY['CANCELLED'::text, 'COMPLETED'::text, 'FAILED'::text, 'REJECTED'::text])));
CREATE UNIQUE INDEX uq_personal_access_tokens_token_sha256 ON public.personal_access_tokens USING btree (token_sha256);
CREATE UNIQUE INDEX uq_quota_entries_one_reserve ON public.quota_entries USING btree (job_id) WHERE (kind = 'RESERVE'::text);
CREATE UNIQUE INDEX uq_quota_entries_one_settlement ON public.quota_entries USING btree (job_id) WHERE (kind = ANY (ARRAY['SETTLE'::text, 'RELEASE'::text]));
CREATE UNIQUE INDEX uq_users_lower_email ON public.users USING btree (lower(email));
CREATE TRIGGER audit_user_rights AFTER UPDATE ON public.users FOR EACH ROW WHEN (((old.is_admin <> new.is_admin) OR (old.is_active <> new.is_active) OR (old.password_hash <> new.password_hash))) EXECUTE FUNCTION public.audit_user_rights();
CREATE TRIGGER born_pending BEFORE INSERT ON public.jobs FOR EACH ROW WHEN (((new.status <> 'PENDING'::text) OR (new.event_seq <> 1))) EXECUTE FUNCTION public.refuse('a job begins PENDING');
CREATE TRIGGER guard_job_transition BEFORE UPDATE ON public.jobs FOR EACH ROW WHEN (((old.status <> new.status) OR (old.finished_at IS NOT NULL))) EXECUTE FUNCTION public.guard_job_transition();
CREATE TRIGGER guard_user BEFORE UPDATE ON public.users FOR EACH ROW WHEN (((old.is_admin <> new.is_admin) OR (old.is_active <> new.is_active) OR (old.password_hash <> new.password_hash))) EXECUTE FUNCTION public.guard_user();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON public.jobs FOR EACH STATEMENT EXECUTE FUNCTION public.refuse('jobs are kept');
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON public.users FOR EACH STATEMENT EXECUTE FUNCTION public.refuse('users are deactivated, never deleted');
CREATE TRIGGER only_grows BEFORE DELETE OR UPDATE OR TRUNCATE ON public.audit_entries FOR EACH STATEMENT EXECUTE FUNCTION public.refuse('its rows are never changed');
CREATE TRIGGER only_grows BEFORE DELETE OR UPDATE OR TRUNCATE ON public.job_events FOR EACH STATEMENT EXECUTE FUNCTION public.refuse('its rows are never changed');
CREATE TRIGGER only_grows BEFORE DELETE OR UPDATE OR TRUNCATE ON public.quota_entries FOR EACH STATEMENT EXECUTE FUNCTION public.refuse('its rows are never changed');
CREATE TRIGGER revoke_personal_access_tokens AFTER UPDATE ON public.users FOR EACH ROW WHEN (((old.is_admin AND (NOT new.is_admin)) OR (old.is_active AND (NOT new.is_active)) OR ((old.password_hash <> new.password_hash) AND (public.current_actor_process() IS DISTINCT FROM 'login:rehash'::text)))) EXECUTE FUNCTION public.revoke_personal_access_tokens();
ALTER TABLE ONLY public.audit_entries
    ADD CONSTRAINT fk_audit_entries_actor_user_id FOREIGN KEY (actor_user_id) REFERENCES public.users(id);
ALTER TABLE ONLY public.gpu_allocations
    ADD CONSTRAINT fk_gpu_allocations_gpu_id FOREIGN KEY (gpu_id) REFERENCES public.gpus(id);
ALTER TABLE ONLY public.gpu_allocations
    ADD CONSTRAINT fk_gpu_allocations_job_id FOREIGN KEY (job_id) REFERENCES public.jobs(id);
ALTER TABLE ONLY public.gpus
    ADD CONSTRAINT fk_gpus_drained_by FOREIGN KEY (drained_by) REFERENCES public.users(id);
ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT fk_idempotency_keys_job_id FOREIGN KEY (job_id) REFERENCES public.jobs(id);
ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT fk_idempotency_keys_user_id FOREIGN KEY (user_id) REFERENCES public.users(id);
ALTER TABLE ONLY public.job_counts
    ADD CONSTRAINT fk_job_counts_user_id FOREIGN KEY (user_id) REFERENCES public.users(id);
ALTER TABLE ONLY public.job_events
    ADD CONSTRAINT fk_job_events_actor_user_id FOREIGN KEY (actor_user_id) REFERENCES public.users(id);
ALTER TABLE ONLY public.job_events
    ADD CONSTRAINT fk_job_events_job_id FOREIGN KEY (job_id) REFERENCES public.jobs(id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT fk_jobs_cancel_requested_by FOREIGN KEY (cancel_requested_by) REFERENCES public.users(id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT fk_jobs_decided_by FOREIGN KEY (decided_by) REFERENCES public.users(id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT fk_jobs_quota_id FOREIGN KEY (quota_id) REFERENCES public.user_quotas(id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT fk_jobs_user_id FOREIGN KEY (user_id) REFERENCES public.users(id);
ALTER TABLE ONLY public.personal_access_tokens
    ADD CONSTRAINT fk_personal_access_tokens_user_id FOREIGN KEY (user_id) REFERENCES public.users(id);
ALTER TABLE ONLY public.quota_entries
    ADD CONSTRAINT fk_quota_entries_actor_user_id FOREIGN KEY (actor_user_id) REFERENCES public.users(id);
ALTER TABLE ONLY public.quota_entries
    ADD CONSTRAINT fk_quota_entries_job_id FOREIGN KEY (job_id) REFERENCES public.jobs(id);
ALTER TABLE ONLY public.quota_entries
    ADD CONSTRAINT fk_quota_entries_quota_id FOREIGN KEY (quota_id) REFERENCES public.user_quotas(id);
ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT fk_sessions_user_id FOREIGN KEY (user_id) REFERENCES public.users(id);
ALTER TABLE ONLY public.user_quotas
    ADD CONSTRAINT fk_user_quotas_user_id FOREIGN KEY (user_id) REFERENCES public.users(id);
