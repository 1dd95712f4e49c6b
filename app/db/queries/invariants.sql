-- Every rule of the books that one look at the database can check. A row that comes back is a broken rule.
-- Columns: the rule, what broke it, and how. Rules that constraints already enforce are checked all the same:
-- a constraint can be dropped, and a restored backup can come from anywhere.

SELECT 'I1 a month never holds more than its limit' AS rule, 'month ' || id AS subject,
       format('limit %s, reserved %s, used %s', limit_seconds, reserved_seconds, used_seconds) AS finding
FROM user_quotas
WHERE reserved_seconds < 0 OR used_seconds < 0 OR reserved_seconds + used_seconds > limit_seconds

UNION ALL
SELECT 'I2 reserved is the sum of its unfinished jobs', 'month ' || q.id,
       format('reserved %s, jobs %s', q.reserved_seconds, coalesce(j.reserved, 0))
FROM user_quotas q
LEFT JOIN (
    SELECT quota_id, sum(reserved_seconds) AS reserved FROM jobs WHERE finished_at IS NULL GROUP BY quota_id
) j ON j.quota_id = q.id
WHERE q.reserved_seconds <> coalesce(j.reserved, 0)

UNION ALL
SELECT 'I3 used is the sum of its finished jobs and corrections', 'month ' || q.id,
       format('used %s, jobs %s, corrections %s', q.used_seconds, coalesce(j.charged, 0), coalesce(a.adjusted, 0))
FROM user_quotas q
LEFT JOIN (
    SELECT quota_id, sum(charged_seconds) AS charged FROM jobs WHERE finished_at IS NOT NULL GROUP BY quota_id
) j ON j.quota_id = q.id
LEFT JOIN (
    SELECT quota_id, sum(used_delta) AS adjusted FROM quota_entries WHERE kind IN ('ADJUST', 'REFUND') GROUP BY quota_id
) a ON a.quota_id = q.id
WHERE q.used_seconds <> coalesce(j.charged, 0) + coalesce(a.adjusted, 0)

UNION ALL
SELECT 'I4 the ledger adds up to the month', 'month ' || q.id,
       format('limit %s/%s, reserved %s/%s, used %s/%s', q.limit_seconds, e.granted, q.reserved_seconds, e.reserved,
              q.used_seconds, e.used)
FROM user_quotas q
LEFT JOIN (
    SELECT quota_id, sum(limit_delta) AS granted, sum(reserved_delta) AS reserved, sum(used_delta) AS used
    FROM quota_entries GROUP BY quota_id
) e ON e.quota_id = q.id
WHERE (q.limit_seconds, q.reserved_seconds, q.used_seconds)
      IS DISTINCT FROM (coalesce(e.granted, 0), coalesce(e.reserved, 0), coalesce(e.used, 0))

UNION ALL
SELECT 'I4 one reservation, and one settlement once it is final', 'job ' || j.id,
       format('status %s, reservations %s, settlements %s, moves balance %s', j.status, coalesce(e.reservations, 0),
              coalesce(e.settlements, 0), coalesce(e.moved, 0))
FROM jobs j
LEFT JOIN (
    SELECT job_id, count(*) FILTER (WHERE kind = 'RESERVE') AS reservations,
           count(*) FILTER (WHERE kind IN ('SETTLE', 'RELEASE')) AS settlements,
           sum(reserved_delta) FILTER (WHERE kind IN ('MOVE_IN', 'MOVE_OUT')) AS moved
    FROM quota_entries WHERE job_id IS NOT NULL GROUP BY job_id
) e ON e.job_id = j.id
WHERE coalesce(e.reservations, 0) <> 1
   OR coalesce(e.settlements, 0) <> (j.finished_at IS NOT NULL)::int
   OR coalesce(e.moved, 0) <> 0

UNION ALL
SELECT 'I5 a charge lies within the reservation, and is nothing where nothing ran', 'job ' || id,
       format('charged %s of %s, started %s', charged_seconds, reserved_seconds, started_at)
FROM jobs
WHERE charged_seconds NOT BETWEEN 0 AND reserved_seconds OR (charged_seconds > 0 AND started_at IS NULL)

UNION ALL
SELECT 'I5 a lost run pays for the time that its engine had told of', 'job ' || id,
       format('charged %s of %s for %s s on %s GPUs', charged_seconds, reserved_seconds, measured_seconds, num_gpus)
FROM jobs
WHERE reason = 'LOST' AND charged_seconds < least(reserved_seconds, num_gpus * measured_seconds)

UNION ALL
SELECT 'I5 no more is given back than was charged, and a node''s failure gives back all', 'job ' || j.id,
       format('charged %s, given back %s, reason %s', j.charged_seconds, coalesce(r.refunded, 0), j.reason)
FROM jobs j
LEFT JOIN (
    SELECT job_id, -sum(used_delta) AS refunded FROM quota_entries WHERE kind = 'REFUND' GROUP BY job_id
) r ON r.job_id = j.id
WHERE coalesce(r.refunded, 0) NOT BETWEEN 0 AND j.charged_seconds
   OR (j.reason = 'NODE_FAILURE' AND coalesce(r.refunded, 0) <> j.charged_seconds)

UNION ALL
SELECT 'I7 months of a user neither overlap nor leave a gap', 'month ' || id,
       format('begins %s, the one before ends %s', starts_at, previous_end)
FROM (
    SELECT id, starts_at, lag(ends_at) OVER (PARTITION BY user_id ORDER BY starts_at) AS previous_end FROM user_quotas
) month
WHERE previous_end IS NOT NULL AND starts_at <> previous_end

UNION ALL
SELECT 'I9 every step is one that the state machine knows', 'job ' || job_id,
       format('step %s: %s from %s to %s', seq, kind, from_status, to_status)
FROM job_events
WHERE CASE WHEN seq = 1 THEN from_status IS NOT NULL OR to_status <> 'PENDING'
           WHEN kind <> 'TRANSITION' THEN from_status IS DISTINCT FROM to_status
           ELSE (from_status, to_status) NOT IN (
               ('PENDING', 'APPROVED'), ('PENDING', 'REJECTED'), ('PENDING', 'CANCELLED'),
               ('APPROVED', 'RUNNING'), ('APPROVED', 'CANCELLED'),
               ('RUNNING', 'COMPLETED'), ('RUNNING', 'FAILED'), ('RUNNING', 'CANCELLED')) END

UNION ALL
SELECT 'I10 one end, if and only if the job is final', 'job ' || j.id,
       format('status %s, ends %s', j.status, coalesce(e.ends, 0))
FROM jobs j
LEFT JOIN (
    SELECT job_id, count(*) AS ends FROM job_events
    WHERE kind = 'TRANSITION' AND to_status IN ('REJECTED', 'COMPLETED', 'FAILED', 'CANCELLED') GROUP BY job_id
) e ON e.job_id = j.id
WHERE coalesce(e.ends, 0) <> (j.finished_at IS NOT NULL)::int

UNION ALL
SELECT 'I11 events are numbered without a gap and each begins where the last ended', 'job ' || job_id,
       format('step %s is the %s., from %s after %s', seq, position, from_status, previous)
FROM (
    SELECT job_id, seq, from_status, row_number() OVER steps AS position, lag(to_status) OVER steps AS previous
    FROM job_events WINDOW steps AS (PARTITION BY job_id ORDER BY seq)
) step
WHERE seq <> position OR from_status IS DISTINCT FROM previous

UNION ALL
SELECT 'I11 the last event is the job''s status', 'job ' || j.id,
       format('status %s at %s, last event %s at %s', j.status, j.event_seq, e.to_status, e.seq)
FROM jobs j
LEFT JOIN LATERAL (
    SELECT seq, to_status FROM job_events WHERE job_id = j.id ORDER BY seq DESC LIMIT 1
) e ON true
WHERE (j.event_seq, j.status) IS DISTINCT FROM (e.seq, e.to_status)

UNION ALL
SELECT 'I12 times are set when they are due, and grow', 'job ' || id,
       format('%s: created %s, decided %s, started %s, finished %s', status, created_at, decided_at, started_at,
              finished_at)
FROM jobs
WHERE (finished_at IS NOT NULL) <> (status IN ('REJECTED', 'COMPLETED', 'FAILED', 'CANCELLED'))
   OR (started_at IS NULL AND status IN ('RUNNING', 'COMPLETED', 'FAILED'))
   OR (started_at IS NOT NULL AND status IN ('PENDING', 'APPROVED', 'REJECTED'))
   OR decided_at < created_at OR started_at < decided_at OR finished_at < coalesce(started_at, decided_at, created_at)

UNION ALL
SELECT 'I12 a job has started if and only if its history says so', 'job ' || j.id, format('started %s', j.started_at)
FROM jobs j
WHERE (j.started_at IS NOT NULL)
      <> EXISTS (SELECT FROM job_events e WHERE e.job_id = j.id AND e.kind = 'TRANSITION' AND e.to_status = 'RUNNING')

UNION ALL
SELECT 'I13 every event names one actor', 'job ' || job_id, format('step %s', seq)
FROM job_events
WHERE num_nonnulls(actor_user_id, actor_process) <> 1

UNION ALL
SELECT 'I16 a GPU is held once', 'GPU ' || gpu_id, format('%s open allocations', count(*))
FROM gpu_allocations WHERE released_at IS NULL GROUP BY gpu_id HAVING count(*) > 1

UNION ALL
SELECT 'I17 a job that runs holds its GPUs, any other holds none', 'job ' || j.id,
       format('%s asks for %s and holds %s', j.status, j.num_gpus, coalesce(a.held, 0))
FROM jobs j
LEFT JOIN (
    SELECT job_id, count(*) AS held FROM gpu_allocations WHERE released_at IS NULL GROUP BY job_id
) a ON a.job_id = j.id
WHERE coalesce(a.held, 0) <> CASE WHEN j.status = 'RUNNING' AND j.dispatched_at IS NULL THEN j.num_gpus ELSE 0 END

UNION ALL
SELECT 'I23 there is one lease', 'lease', format('%s rows', count(*))
FROM dispatcher_lease HAVING count(*) <> 1

UNION ALL
SELECT 'I31 a token ends with the rights it was made under', 'user ' || u.id, format('token %s', t.id)
FROM personal_access_tokens t JOIN users u ON u.id = t.user_id
WHERE t.revoked_at IS NULL AND (NOT u.is_active OR ('admin' = ANY(t.scopes) AND NOT u.is_admin))

UNION ALL
SELECT 'I33 an active admin exists once one did', 'users', 'nobody can administer'
WHERE EXISTS (SELECT FROM audit_entries WHERE action = 'user.promoted'
              OR (action = 'user.registered' AND details @> '{"is_admin": true}'))
  AND NOT EXISTS (SELECT FROM users WHERE is_admin AND is_active)

UNION ALL
SELECT 'the kept counts are the true counts', 'user ' || coalesce(c.user_id, t.user_id) || ' ' || coalesce(c.status, t.status),
       format('kept %s, counted %s', coalesce(c.jobs, 0), coalesce(t.jobs, 0))
FROM job_counts c
FULL JOIN (SELECT user_id, status, count(*) AS jobs FROM jobs GROUP BY user_id, status) t
    ON t.user_id = c.user_id AND t.status = c.status
WHERE coalesce(c.jobs, 0) <> coalesce(t.jobs, 0)

ORDER BY 1, 2
