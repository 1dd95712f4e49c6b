"""How busy the GPUs of a simulated run are."""

from datetime import timedelta

from app.domain.execution import GpuSlot, JobSpec, UtilisationSample
from app.executors.simulated.fleet import gpu_model
from app.executors.simulated.plan import LINES_PER_EPOCH, RunPlan, draw
from app.executors.simulated.timeline import Timeline

SAMPLE_INTERVAL = timedelta(seconds=10)
FEWEST_SAMPLES = 50
LONGEST_RAMP = timedelta(minutes=1)
IDLE_SHARE_OF_POWER = 0.12
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
    return [
        _sample(spec, plan, timeline, slot, index * interval) for index in range(0, available, stride) for slot in slots
    ]


def _sample(spec: JobSpec, plan: RunPlan, timeline: Timeline, slot: GpuSlot, elapsed: timedelta) -> UtilisationSample:
    model = gpu_model(spec.gpu_type)
    ramp = _ramp(plan, elapsed)
    busy = round(ramp * _plateau(spec, plan, slot, elapsed), 3)
    held = ramp * (0.55 + 0.4 * draw(spec.run_id, "memory"))
    return UtilisationSample(
        at=timeline.moment(elapsed),
        slot=slot,
        utilisation=busy,
        memory_used_bytes=IDLE_MEMORY_BYTES + int(held * (model.memory_bytes - IDLE_MEMORY_BYTES)),
        power_watts=round(model.power_watts * (IDLE_SHARE_OF_POWER + (0.95 - IDLE_SHARE_OF_POWER) * busy), 1),
        temperature_celsius=round(IDLE_CELSIUS + (BUSY_CELSIUS - IDLE_CELSIUS) * busy, 1),
    )


def _ramp(plan: RunPlan, elapsed: timedelta) -> float:
    """From 0 to 1 while the first data is loaded; 0 for a command that uses no GPU."""
    return min(1.0, plan.worked(elapsed) / min(LONGEST_RAMP, plan.work / 20)) if plan.lines else 0.0


def _plateau(spec: JobSpec, plan: RunPlan, slot: GpuSlot, elapsed: timedelta) -> float:
    """The load of steady training: a little different on each GPU, a little noisy, low during validation."""
    if plan.hangs_after is not None and elapsed >= plan.hangs_after:
        return 0.0
    line = plan.worked(elapsed) * plan.lines // plan.work
    share = 0.35 if line % LINES_PER_EPOCH == LINES_PER_EPOCH - 1 else 1.0
    place = f"{slot.node}:{slot.index}"
    level = (
        0.8 + 0.15 * draw(spec.run_id, f"load of {place}") + 0.05 * draw(spec.run_id, f"load of {place} at {elapsed}")
    )
    return share * level
