"""What a page may send, checked once: every field by type and bound, extras refused."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from manyheads_web.problems import Refused

T = TypeVar("T", bound="Sent")
Name = Annotated[str, Field(min_length=1, max_length=500)]
Values = Annotated[dict[int, Annotated[float, Field(allow_inf_nan=False)]], Field(max_length=100)]
Updates = Annotated[int, Field(ge=0, le=10_000_000)]
Steps = Annotated[int, Field(ge=0, le=1_000_000_000)]


class Sent(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Goal(Sent):
    """A sentence to be read back."""

    world: Name
    sentence: Annotated[str, Field(min_length=1, max_length=500)]
    environment: Name | None = None


class Judge(Sent):
    """Numbers of a draft, by their index."""

    draft: int
    values: Values = {}


class Train(Sent):
    """A draft that a person agreed to, and how its head is to learn."""

    draft: int
    values: Values = {}
    way: Literal["imagined", "online", "jointly"]
    updates: Updates = 2000
    steps: Steps = 0


class Run(Sent):
    """A command on a world that is there."""

    world: Name
    command: Literal["evaluate", "watch", "finetune", "train", "report"]
    head: Name | None = None
    updates: Updates = 2000
    steps: Steps = 0


class Stop(Sent):
    """A job to be stopped."""

    job: int


def read(model: type[T], body: bytes) -> T:
    """The body as that model; raises Refused that names the field."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise Refused(f"{f'{where}: ' if where else ''}{problem['msg']}.") from None
