"""What every refusal looks like on the wire: a problem document as in RFC 9457."""

from pydantic import ConfigDict, Field

from app.schemas.text import ResponseModel

PROBLEM_TYPE = "urn:gpu-task-manager:problem:"


class FieldProblem(ResponseModel):
    """One field that cannot be accepted. It never repeats what was sent."""

    pointer: str = Field(
        description="JSON pointer into the body; parameters stand under `/query`, `/path` and `/header`.",
        examples=["/num_gpus"],
    )
    message: str = Field(examples=["This must be at least 1."])


class Problem(ResponseModel):
    """Further members carry the facts of the refusal, such as `needed_hours` and `available_hours`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "type": f"{PROBLEM_TYPE}not-found",
                "title": "Not found",
                "status": 404,
                "detail": "There is nothing under this address that you may see. Check the id.",
                "code": "not-found",
                "request_id": "0f8fad5bd9cb469fa16570867728950e",
            }
        },
    )

    type: str = Field(description="Names the kind of problem, for ever.")
    title: str = Field(description="The kind of problem, in a few words.")
    status: int = Field(description="The HTTP status, repeated.")
    detail: str = Field(description="What happened and what to do, in the language of `Accept-Language`.")
    code: str = Field(description="The last part of `type`: what a program should look at.")
    request_id: str = Field(description="Names this request in the service's logs.")
    errors: list[FieldProblem] | None = Field(default=None, description="The fields, where fields are the problem.")
