"""Signing up and signing in, on the wire. Passwords are `SecretStr`: no log line and no error can show one."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from app.core.email_address import MAXIMUM_LENGTH, normalise_email
from app.core.password_rules import MAXIMUM_LENGTH as LONGEST_PASSWORD
from app.core.password_rules import MINIMUM_LENGTH as SHORTEST_PASSWORD
from app.schemas.about import EngineFacts
from app.schemas.messages import Language
from app.schemas.people import FullName
from app.schemas.text import RequestModel
from app.schemas.users import UserRead


def _normalised(email: str) -> str:
    normalised = normalise_email(email)
    if normalised is None:
        raise PydanticCustomError("email_invalid", "must be an e-mail address")
    return normalised


Email = Annotated[
    str,
    Field(max_length=MAXIMUM_LENGTH, examples=["sara@example.com"], json_schema_extra={"format": "email"}),
    AfterValidator(_normalised),
]


def _refuse_half_characters(password: SecretStr) -> SecretStr:
    """JSON can carry half a surrogate pair; the form with which people sign in cannot."""
    if any("\ud800" <= character <= "\udfff" for character in password.get_secret_value()):
        raise PydanticCustomError("string_unicode", "must be text")
    return password


NewPassword = Annotated[
    SecretStr,
    AfterValidator(_refuse_half_characters),
    Field(
        description=f"{SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters of any kind, and not a common one.",
        examples=["correct horse battery staple"],
        json_schema_extra={"minLength": SHORTEST_PASSWORD, "maxLength": LONGEST_PASSWORD},
    ),
]


class RegisterRequest(RequestModel):
    """A new account. It has no rights but to submit jobs."""

    email: Email
    password: NewPassword
    full_name: FullName | None = None


class TokenRead(EngineFacts):
    """Send the access token as `Authorization: Bearer …`. `expires_in` is in seconds; `user` is who is signed in.

    With it comes what every page asks about the engine.
    """

    access_token: str = Field(examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl"])
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = Field(examples=[900])
    user: UserRead


class ProfileUpdate(RequestModel):
    """What people may change about themselves. A field that is left out stays as it is; null clears it."""

    full_name: FullName | None = None
    locale: Language | None = Field(default=None, description="The language of messages.", examples=["fa"])


class PasswordChange(RequestModel):
    current_password: SecretStr = Field(examples=["the old one"])
    new_password: NewPassword
