"""Accounts and sessions."""

from typing import Annotated

from fastapi import APIRouter, Depends, status
from fastapi.security import OAuth2PasswordRequestForm

from app.api.deps import AnyUser, Autocommit, Now, SignedInUser, State, Transaction
from app.api.errors import problems
from app.api.origin import RequestOrigin
from app.api.refresh_cookie import Cookie, FromOurPages
from app.api.state import AppState
from app.db.queries.users import UserChange
from app.schemas.auth import PasswordChange, ProfileUpdate, RegisterRequest, TokenRead
from app.schemas.users import UserRead
from app.services import auth, users
from app.services.auth import SignIn

router = APIRouter(prefix="/auth", tags=["auth"])

LoginForm = Annotated[OAuth2PasswordRequestForm, Depends()]


@router.post("/register", status_code=status.HTTP_201_CREATED, responses=problems(403, 409, 422, 503))
async def register(body: RegisterRequest, state: State, origin: RequestOrigin, now: Now) -> UserRead:
    """Make an account. Sign in next: no token comes with it."""
    user = await auth.register(
        state.database,
        state.passwords,
        email=body.email,
        password=body.password.get_secret_value(),
        full_name=body.full_name,
        settings=state.settings,
        now=now,
        origin=origin,
    )
    return UserRead.model_validate(user)


@router.post("/login", responses=problems(401, 422, 429, 503))
async def login(form: LoginForm, state: State, cookie: Cookie, origin: RequestOrigin, now: Now) -> TokenRead:
    """Sign in with the e-mail address as `username`.

    The answer carries a short-lived access token, and a cookie with which `POST /auth/refresh` gets the next one; pages
    in a browser get the cookie only with the header `X-GTM-Request: 1`. An unknown address, a wrong password and a
    disabled account are refused in the same words.
    """
    signed_in = await auth.login(
        state.database,
        state.passwords,
        email=form.username,
        password=form.password,
        settings=state.settings,
        now=now,
        origin=origin,
    )
    cookie.keep(signed_in, now=now)
    return _token_read(signed_in, state)


@router.post("/refresh", responses=problems(401, 422, 503))
async def refresh(state: State, cookie: Cookie, _header: FromOurPages, origin: RequestOrigin, now: Now) -> TokenRead:
    """Get the next access token with the cookie that `POST /auth/login` set. The cookie is replaced as well.

    Whoever shows a cookie that has just been replaced gets the new one again: another tab, or a page whose answer was
    lost. A cookie that was replaced before that ends the session: somebody has copied it.
    """
    signed_in = await auth.refresh(state.database, cookie.value, settings=state.settings, now=now, origin=origin)
    cookie.keep(signed_in, now=now)
    return _token_read(signed_in, state)


@router.post("/logout", status_code=status.HTTP_204_NO_CONTENT, responses=problems(422, 503))
async def logout(cookie: Cookie, _header: FromOurPages, connection: Autocommit, now: Now) -> None:
    """End the session of the cookie. Its access tokens are refused from now on."""
    await auth.logout(connection, cookie.value, now=now)
    cookie.clear()


@router.get("/me", responses=problems(401, 503))
async def get_me(user: AnyUser, connection: Autocommit) -> UserRead:
    """Your account."""
    return UserRead.model_validate(await users.read(connection, user.user_id))


@router.patch("/me", responses=problems(401, 403, 422, 503))
async def update_me(body: ProfileUpdate, user: SignedInUser, connection: Transaction, now: Now) -> UserRead:
    """Change your name or your language."""
    change = UserChange(full_name=body.full_name, locale=body.locale, fields=frozenset(body.model_fields_set))
    return UserRead.model_validate(await auth.update_me(connection, user, change, now=now))


@router.post("/password", status_code=status.HTTP_204_NO_CONTENT, responses=problems(401, 403, 422, 429, 503))
async def change_password(
    body: PasswordChange, user: SignedInUser, state: State, origin: RequestOrigin, now: Now
) -> None:
    """Change your password.

    All other sessions and all personal tokens end. This session goes on: its access token is refused from now on,
    but `POST /auth/refresh` gives the next one.
    """
    await auth.change_password(
        state.database,
        state.passwords,
        user,
        current_password=body.current_password.get_secret_value(),
        new_password=body.new_password.get_secret_value(),
        settings=state.settings,
        now=now,
        origin=origin,
    )


def _token_read(signed_in: SignIn, state: AppState) -> TokenRead:
    return TokenRead(
        access_token=signed_in.access_token,
        expires_in=signed_in.expires_in_seconds,
        user=UserRead.model_validate(signed_in.user),
        executor=state.settings.executor,
        places_gpus=state.engine.places_gpus,
        jobs_run_as_service=state.settings.jobs_run_as_service,
        jobs_share_a_user=state.settings.jobs_share_a_user,
        clock_rate=state.settings.clock_rate,
    )
