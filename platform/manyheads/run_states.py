"""What a checkpoint holds of replay and collector, checked when it is read back."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PCG64State(_State):
    """The two numbers of NumPy's default generator."""

    state: int = Field(ge=0, lt=1 << 128)
    inc: int = Field(ge=0, lt=1 << 128)


class GeneratorState(_State):
    """The state of the generator that draws batches."""

    bit_generator: Literal["PCG64"]
    state: PCG64State
    has_uint32: int = Field(ge=0, le=1)
    uinteger: int = Field(ge=0, lt=1 << 32)


class ReplayState(_State):
    """What sampling depends on beyond the rows and latents; streams are keyed by their numbers."""

    generator: GeneratorState
    served: dict[str, int]
    """the first row of each stream that no batch has held"""
    episode: int
    """the next episode's number"""
    stops: dict[str, int] = Field(default_factory=dict)
    """the number of each stream's next row: fewer rows than that were lost"""


class EnvState(_State):
    """Where one environment is: in which episode of which stream."""

    instance: str
    stream: int
    rows: int
    """the number of the stream's next row"""
    episode: int
    index: int
    """the next row's position in the episode"""


class CollectorState(_State):
    """Where every environment is."""

    envs: list[EnvState]
