"""Measurements that this process makes of itself, in Prometheus form. What the database knows is read at scrape."""

from prometheus_client import Counter, Histogram

TICK_SECONDS = Histogram(
    "gtm_dispatcher_tick_seconds",
    "Time that one round of the dispatcher took",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)

REQUEST_SECONDS = Histogram(
    "gtm_http_request_seconds",
    "Time from a request's arrival to the end of its response; streams are not timed",
    ("method", "route"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
REQUESTS = Counter("gtm_http_requests_total", "Requests answered", ("method", "route", "status"))
PROBLEMS = Counter("gtm_problems_total", "Refusals and failures by their code: `invalid-credentials`, …", ("code",))
