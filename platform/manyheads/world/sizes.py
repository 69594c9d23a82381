"""The numbers of a world model: the presets of DreamerV3, and one small enough for two cores."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Size = Literal["demo", "1m", "12m", "25m", "50m", "100m", "200m", "400m"]


def _official(deter: int, hidden: int, classes: int, depth: int, units: int) -> dict[str, int]:
    return {
        "deter": deter,
        "hidden": hidden,
        "groups": 32,
        "classes": classes,
        "depth": depth,
        "units": units,
    }


SIZES: dict[str, dict[str, int]] = {
    "demo": {"deter": 256, "hidden": 64, "groups": 16, "classes": 8, "depth": 4, "units": 64},
    "1m": _official(512, 64, 4, 4, 64),
    "12m": _official(2048, 256, 16, 16, 256),
    "25m": _official(3072, 384, 24, 24, 384),
    "50m": _official(4096, 512, 32, 32, 512),
    "100m": _official(6144, 768, 48, 48, 768),
    "200m": _official(8192, 1024, 64, 64, 1024),
    "400m": _official(12288, 1536, 96, 96, 1536),
}


class LossScales(BaseModel):
    """How much each term of the world model's loss counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: float = Field(1.0, ge=0)
    vector: float = Field(1.0, ge=0)
    dyn: float = Field(1.0, ge=0)
    rep: float = Field(0.1, ge=0)


class WorldSettings(BaseModel):
    """A preset `size`; every number it sets may be given on its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Size = "1m"
    deter: int = Field(ge=8, description="recurrent state D")
    hidden: int = Field(ge=1, description="width of the recurrent model's layers")
    groups: int = Field(ge=1, description="categorical variables G of the latent (gaussian: its dimensions)")
    classes: int = Field(ge=1, description="classes C of each (gaussian: 1)")
    depth: int = Field(ge=1, description="channels of the image networks, times `mults` a stage")
    units: int = Field(ge=1, description="width of the encoder, the decoder and the heads")
    blocks: int = Field(8, ge=1, description="blocks of the recurrent cell")
    kernel: int = Field(5, ge=1, description="side of the convolutions, odd")
    mults: tuple[int, ...] = Field((2, 3, 4, 4), min_length=1, description="stages of the image networks")
    unimix: float = Field(0.01, ge=0, lt=1, description="share of uniform mass in categorical latents")
    free_nats: float = Field(1.0, ge=0, description="KL below which nothing is learned from it")
    scales: LossScales = LossScales()

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {**SIZES.get(values.get("size", "1m"), SIZES["1m"]), **values}

    @model_validator(mode="after")
    def _fits(self) -> WorldSettings:
        if self.deter % self.blocks:
            raise ValueError(f"deter={self.deter} is not a multiple of blocks={self.blocks}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel={self.kernel} is even; images keep their size under odd kernels only")
        return self

    @property
    def feature_size(self) -> int:
        """Length of a latent's feature: deter and the flattened stoch."""
        return self.deter + self.groups * self.classes
