"""Where a request came from, for the audit log."""

from typing import Annotated

from fastapi import Depends, Request

from app.api.deps import ClientAddress
from app.api.keys import REQUEST_ID
from app.services.audit import Origin


async def get_origin(request: Request, address: ClientAddress) -> Origin:
    return Origin(
        address=address, request_id=request.scope.get(REQUEST_ID), user_agent=request.headers.get("user-agent")
    )


RequestOrigin = Annotated[Origin, Depends(get_origin)]
