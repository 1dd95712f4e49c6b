"""Alerts, for those who look after the fleet."""

from fastapi import APIRouter

from app.api.deps import AdminUser, Autocommit, Now
from app.api.errors import problems
from app.schemas.alerts import AlertsRead
from app.services import alerts

router = APIRouter(prefix="/admin/alerts", tags=["admin"])


@router.get("", responses=problems(401, 403, 503))
async def list_alerts(_admin: AdminUser, connection: Autocommit, now: Now) -> AlertsRead:
    """Jobs that go on though they should have ended, and jobs of the engine that the service did not submit."""
    seen = await alerts.read(connection, now=now)
    return AlertsRead.of(overstaying=seen.overstaying, foreign_jobs=seen.foreign_jobs)
