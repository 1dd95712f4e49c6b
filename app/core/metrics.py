"""Measurements that this process makes of itself, in Prometheus form. What the database knows is read at scrape."""

from prometheus_client import Histogram

TICK_SECONDS = Histogram(
    "gtm_dispatcher_tick_seconds",
    "Time that one round of the dispatcher took",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)
