"""The numbers of a world model: the presets of DreamerV3, and one small enough for two cores."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Size = Literal["demo", "1m", "12m", "25m", "50m", "100m", "200m", "400m"]

_NUMBERS = ("deter", "hidden", "groups", "classes", "depth", "units")

SIZES: dict[str, dict[str, int]] = {
    name: dict(zip(_NUMBERS, numbers, strict=True))
    for name, numbers in {
        "demo": (256, 64, 16, 8, 4, 64),
        "1m": (512, 64, 32, 4, 4, 64),
        "12m": (2048, 256, 32, 16, 16, 256),
        "25m": (3072, 384, 32, 24, 24, 384),
        "50m": (4096, 512, 32, 32, 32, 512),
        "100m": (6144, 768, 32, 48, 48, 768),
        "200m": (8192, 1024, 32, 64, 64, 1024),
        "400m": (12288, 1536, 32, 96, 96, 1536),
    }.items()
}


class LossScales(BaseModel):
    """How much each term of the world model's loss counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: float = Field(default=1.0, ge=0)
    vector: float = Field(default=1.0, ge=0)
    dyn: float = Field(default=1.0, ge=0)
    rep: float = Field(default=0.1, ge=0)


class WorldSettings(BaseModel):
    """A preset `size`; every number it sets may be given on its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Size = "1m"
    deter: int = Field(default=512, ge=8, description="recurrent state D")
    hidden: int = Field(default=64, ge=1, description="width of the recurrent model's layers")
    groups: int = Field(default=32, ge=1, description="variables G of the latent")
    classes: int = Field(default=4, ge=1, description="classes C of each; 1 where the latent is gaussian")
    depth: int = Field(default=4, ge=1, description="channels of the image networks, times `mults` a stage")
    units: int = Field(default=64, ge=1, description="width of encoder, decoder and heads")
    blocks: int = Field(default=8, ge=1, description="blocks of the recurrent cell")
    kernel: int = Field(default=5, ge=1, description="side of the convolutions, odd")
    mults: tuple[int, ...] = Field(default=(2, 3, 4, 4), min_length=1, description="stages of images")
    unimix: float = Field(default=0.01, ge=0, lt=1, description="share of uniform mass in the latents")
    free_nats: float = Field(default=1.0, ge=0, description="KL below which nothing is learned from it")
    latent: Literal["categorical", "gaussian"] = "categorical"
    latent_prior: Literal["learned", "standard"] = Field(
        default="learned", description="what a gaussian posterior is held to"
    )
    vectors: Literal["natural", "standardised", "standardised_all"] = Field(
        default="standardised",
        description="what symlog takes: entries less their mean, over their deviation, or in their units "
        "(DreamerV3's); standardised_all, of earlier versions: those that an environment lacks, too, which else are 0",
    )
    vector_entries: Literal["by_environment", "shared"] = Field(
        default="by_environment",
        description="shared: vector entries of one name, as several bodies' `position[0]`, are one entry of the world",
    )
    reconstruction: Literal["squared", "absolute"] = Field(default="squared", description="error")
    scales: LossScales = Field(default_factory=LossScales)
    loss_weights: Literal["fixed", "harmonised"] = Field(
        default="fixed", description="harmonised: each loss has a learned weight, times its scale"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        preset = dict(SIZES.get(values.get("size", "1m"), {}))
        if preset and values.get("latent") == "gaussian":
            preset |= {"groups": min(256, preset["groups"] * preset["classes"]), "classes": 1}
        return preset | values

    @model_validator(mode="after")
    def _fits(self) -> WorldSettings:
        if self.deter % self.blocks:
            raise ValueError(f"deter={self.deter} is not a multiple of blocks={self.blocks}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel={self.kernel} is even; images keep their size under odd kernels only")
        if self.latent == "gaussian" and self.classes != 1:
            raise ValueError(f"a gaussian latent has classes=1, not {self.classes}")
        if self.latent == "categorical" and (self.classes == 1 or self.latent_prior != "learned"):
            raise ValueError("a categorical latent needs classes of at least 2 and latent_prior=learned")
        return self

    @property
    def feature_size(self) -> int:
        """Length of a latent's feature: deter and the flattened stoch."""
        return self.deter + self.groups * self.classes
