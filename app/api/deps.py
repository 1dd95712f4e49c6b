"""What a route may ask for in its signature.

Declare the person before the connection: `user: JobsReader, connection: Transaction`. The identity query uses a
connection of its own for a moment, and no request ever holds two.

Who may ask is one of `JobsReader`, `JobsWriter` and `AdminUser`, whom personal tokens with that scope stand for, or
`SignedInUser`, whom no token stands for, or `AnyUser`; `AnybodyOrUser` is None for whoever shows nothing.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.keys import CALLER, REQUEST_ID
from app.api.problems import language_of
from app.api.state import AppState, state_of
from app.core.config import Settings
from app.domain.errors import AdminRequired, NotAuthenticated, ScopeMissing, SignInRequired
from app.domain.identity import Caller, Scope
from app.schemas.messages import Language as LanguageCode
from app.services import auth

UNKNOWN_ADDRESS = "0.0.0.0"  # noqa: S104 - the peer of a Unix socket has no address

SCOPES = {
    Scope.JOBS_READ: "Read your jobs, their logs and your quota.",
    Scope.JOBS_WRITE: "Submit and cancel your jobs.",
    Scope.ADMIN: "All that admins may do, if you are one.",
}
"""What personal tokens are limited to. A sign-in has them all."""

bearer_token = OAuth2PasswordBearer(
    tokenUrl="/api/v1/auth/login",
    scopes={scope.value: meaning for scope, meaning in SCOPES.items()},
    description="The access token of a sign-in, or a personal access token (`gtm_…`) with the scopes named.",
    auto_error=False,
)


async def get_state(request: Request) -> AppState:
    return state_of(request.scope)


State = Annotated[AppState, Depends(get_state)]


async def get_settings(state: State) -> Settings:
    return state.settings


async def get_now(state: State) -> datetime:
    return state.clock()


AppSettings = Annotated[Settings, Depends(get_settings)]
Now = Annotated[datetime, Depends(get_now)]


async def get_caller(
    request: Request, state: State, now: Now, token: Annotated[str | None, Depends(bearer_token)]
) -> Caller:
    if token is None:
        raise NotAuthenticated
    async with state.database.autocommit() as connection:
        caller = await auth.identify(connection, token, settings=state.settings, now=now)
    request.scope[CALLER] = caller
    structlog.contextvars.bind_contextvars(user_id=caller.user_id, **_job_in(request))
    return caller


def _job_in(request: Request) -> dict[str, int]:
    """The job that the path names, for the log."""
    job_id: str = request.path_params.get("job_id", "")
    return {"job_id": int(job_id)} if job_id.isdecimal() and len(job_id) < 20 else {}


AnyUser = Annotated[Caller, Depends(get_caller)]


async def get_caller_if_any(
    request: Request, state: State, now: Now, token: Annotated[str | None, Depends(bearer_token)]
) -> Caller | None:
    """Nobody, where no token comes; one that is no good is refused as everywhere."""
    return None if token is None else await get_caller(request, state, now, token)


AnybodyOrUser = Annotated[Caller | None, Depends(get_caller_if_any)]


async def get_signed_in(user: AnyUser) -> Caller:
    if user.scopes is not None:
        raise SignInRequired
    return user


async def get_permitted(user: AnyUser, needed: SecurityScopes) -> Caller:
    for scope in map(Scope, needed.scopes):
        if not user.has(scope):
            raise ScopeMissing(scope)
    return user


async def get_admin(user: Annotated[Caller, Security(get_permitted, scopes=[Scope.ADMIN.value])]) -> Caller:
    if not user.is_admin:
        raise AdminRequired
    return user


SignedInUser = Annotated[Caller, Depends(get_signed_in)]
JobsReader = Annotated[Caller, Security(get_permitted, scopes=[Scope.JOBS_READ.value])]
JobsWriter = Annotated[Caller, Security(get_permitted, scopes=[Scope.JOBS_WRITE.value])]
AdminUser = Annotated[Caller, Depends(get_admin)]


async def get_transaction(state: State) -> AsyncIterator[AsyncConnection]:
    async with state.database.transaction() as connection:
        yield connection


async def get_autocommit(state: State) -> AsyncIterator[AsyncConnection]:
    async with state.database.autocommit() as connection:
        yield connection


Transaction = Annotated[AsyncConnection, Depends(get_transaction, scope="function")]
"""One request, one transaction: committed before the answer leaves, rolled back on any exception."""

Autocommit = Annotated[AsyncConnection, Depends(get_autocommit, scope="function")]
"""Single statements, each committed alone: for reads, and for writes that are one statement."""


async def get_client_address(request: Request, settings: AppSettings) -> str:
    """The peer; behind trusted proxies, the last address that none of them vouches for."""
    address = _parsed(request.client.host) if request.client else None
    hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    while address is not None and hops and any(address in network for network in settings.trusted_proxies):
        forwarded = _parsed(hops.pop())
        if forwarded is None:
            break
        address = forwarded
    return UNKNOWN_ADDRESS if address is None else str(address)


ClientAddress = Annotated[str, Depends(get_client_address)]


async def get_language(request: Request) -> LanguageCode:
    return language_of(request.scope)


Language = Annotated[LanguageCode, Depends(get_language)]


async def get_request_id(request: Request) -> str:
    request_id: str = request.scope[REQUEST_ID]
    return request_id


RequestId = Annotated[str, Depends(get_request_id)]


def _parsed(host: str) -> IPv4Address | IPv6Address | None:
    """Without the zone of a link-local address (`fe80::1%eth0`), which means nothing elsewhere."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
