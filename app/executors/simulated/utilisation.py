"""How busy the GPUs of a simulated run are."""

from datetime import datetime, timedelta

from app.domain.execution import GpuSlot, JobSpec, UtilisationSample
from app.executors.simulated.fleet import gpu_model
from app.executors.simulated.plan import LINES_PER_EPOCH, RunPlan, draw
from app.executors.simulated.timeline import Timeline

SAMPLE_INTERVAL = timedelta(seconds=10)
FEWEST_SAMPLES = 50
LONGEST_LOADING = timedelta(minutes=1)
IDLE_SHARE_OF_POWER, BUSY_SHARE_OF_POWER = 0.12, 0.83
IDLE_MEMORY_BYTES = 450 * 2**20
IDLE_CELSIUS, BUSY_CELSIUS = 31, 74


def sample_run(
    spec: JobSpec, plan: RunPlan, timeline: Timeline, elapsed: timedelta, limit: int
) -> list[UtilisationSample]:
    """At most `limit` samples of the first `elapsed` time, in order of time, as many for each GPU and evenly spaced.

    A sample never changes: with time there are more of them, until every second one is left out.
    """
    slots = spec.slots[:limit]
    if not slots:
        return []
    interval = min(SAMPLE_INTERVAL, plan.work / FEWEST_SAMPLES)
    available = elapsed // interval + 1
    stride = 1
    while -(-available // stride) > limit // len(slots):
        stride *= 2
    curves = [_Curve(spec, plan, slot) for slot in slots]
    return [
        curve.sample(index * interval, timeline.moment(index * interval))
        for index in range(0, available, stride)
        for curve in curves
    ]


class _Curve:
    """The course of one GPU: loading, steady training, a little noise, and pauses for validation."""

    def __init__(self, spec: JobSpec, plan: RunPlan, slot: GpuSlot) -> None:
        self._plan = plan
        self._slot = slot
        self._noise_source = f"load of {slot.node}:{slot.index}"
        self._run_id = spec.run_id
        self._model = gpu_model(spec.gpu_type)
        self._load = 0.8 + 0.15 * draw(spec.run_id, self._noise_source)
        self._memory_share = 0.55 + 0.4 * draw(spec.run_id, "memory")

    def sample(self, elapsed: timedelta, at: datetime) -> UtilisationSample:
        loaded = self._loaded(elapsed)
        busy = loaded * self._busy(elapsed)
        free_memory = self._model.memory_bytes - IDLE_MEMORY_BYTES
        return UtilisationSample(
            at=at,
            slot=self._slot,
            utilisation=round(busy, 3),
            memory_used_bytes=IDLE_MEMORY_BYTES + int(loaded * self._memory_share * free_memory),
            power_watts=round(self._model.power_watts * (IDLE_SHARE_OF_POWER + BUSY_SHARE_OF_POWER * busy), 1),
            temperature_celsius=round(IDLE_CELSIUS + (BUSY_CELSIUS - IDLE_CELSIUS) * busy, 1),
        )

    def _loaded(self, elapsed: timedelta) -> float:
        """From 0 to 1 while the first data comes into memory; 0 for a command that uses no GPU."""
        plan = self._plan
        return min(1.0, plan.worked(elapsed) / min(LONGEST_LOADING, plan.work / 20)) if plan.lines else 0.0

    def _busy(self, elapsed: timedelta) -> float:
        plan = self._plan
        if plan.hangs_after is not None and elapsed >= plan.hangs_after:
            return 0.0
        line = plan.worked(elapsed) * plan.lines // plan.work
        share = 0.35 if line % LINES_PER_EPOCH == LINES_PER_EPOCH - 1 else 1.0
        return share * (self._load + 0.05 * draw(self._run_id, f"{self._noise_source} at {elapsed}"))
