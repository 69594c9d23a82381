"""Every setting of a run, checked: one file plus `--set key=value`, unknown keys refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from manyheads import yamlfile
from manyheads.errors import ManyheadsError, unknown
from manyheads.registry import registry
from manyheads.renamed_settings import current_name, with_current_names
from manyheads.world.sizes import WorldSettings

MACHINE = tuple(
    f"training.{name}"
    for name in ("device", "precision", "compile", "workers", "threads", "step_timeout", "checkpoint_minutes")
)
"""Settings of the machine, not of what is learned: any command takes other values for its own time."""
FIXED = ("seed", "world.")
"""Settings, or the beginnings of their names, that a world keeps from its making."""


class OptimizerSettings(BaseModel):
    """LaProp with adaptive gradient clipping: DreamerV3's numbers, but for a learning rate that suits small worlds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lr: float = Field(default=1.6e-4, gt=0, description="learning rate after the warmup; DreamerV3 has 4e-5")
    warmup: int = Field(default=1000, ge=0, description="updates until the full learning rate; the first has rate 0")
    agc: float = Field(default=0.3, gt=0, description="largest norm of a gradient, relative to its tensor's norm")
    agc_pmin: float = Field(default=1e-3, gt=0, description="the norm that a smaller tensor counts as")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="of the momentum")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="of the squared gradient's running average")
    eps: float = Field(default=1e-20, gt=0)


class TrainingSettings(BaseModel):
    """The training loop: how much is collected, replayed and kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(16, ge=1, description="sequences a batch")
    batch_length: int = Field(64, ge=2, description="rows a sequence")
    train_ratio: float = Field(512.0, gt=0, description="replayed rows per environment row")
    environment_shares: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="weight of each environment's rows in a batch, by its name; 1 where none is given",
    )
    starts_per_head: int | None = Field(
        None,
        ge=1,
        description="sequences of a batch that each head imagines from; unset: all where one head trains or the world "
        "is frozen, else the batch is dealt out among the heads",
    )
    stack_room: int = Field(
        0, ge=0, description="places that heads trained as one batch are computed with: up to so many join uncompiled"
    )
    num_envs: int = Field(16, ge=1, description="environments stepped together")
    workers: int = Field(0, ge=0, description="worker processes that step them; 0: this process")
    threads: int = Field(0, ge=0, description="CPU threads of an update; 0: as many as are fastest, measured")
    step_timeout: float = Field(
        600.0, gt=0, description="seconds that one reset or step may take in a worker process before it is replaced"
    )
    capacity_rows: int = Field(1_000_000, ge=1024, description="rows kept in replay")
    capacity_bytes: int | None = Field(None, ge=1_000_000, description="bytes kept in replay")
    checkpoint_minutes: float = Field(5.0, gt=0)
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where this machine has one")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of large matrix products; auto: bfloat16 where the device has instructions for it"
    )
    compile: bool = Field(True, description="compile updates, which takes a minute once")

    @model_validator(mode="after")
    def _room(self) -> TrainingSettings:
        if problem := self.lacks_room(self.num_envs, self.capacity_rows):
            raise ValueError(problem)
        return self

    def lacks_room(self, envs: int, rows: int) -> str:
        """Why no sequence would ever be drawn from `rows` rows of that many environments; empty where one would.

        Whole files of rows are dropped, of 16 rows or a 64th of what is kept.
        """
        needed = envs * (self.batch_length + max(16, rows // 64))
        if rows >= needed:
            return ""
        return (
            f"{envs} environments with sequences of training.batch_length={self.batch_length} rows need room for "
            f"{needed} rows, and training.capacity_rows or capacity_bytes keep {rows}"
        )


class Settings(BaseModel):
    """All settings of a world, written into its folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, ge=0)
    world: WorldSettings = Field(default_factory=WorldSettings)
    heads: dict[str, dict[str, Any]] = Field(default_factory=dict, description="settings by kind of head")
    optimizer: OptimizerSettings = OptimizerSettings()
    training: TrainingSettings = TrainingSettings()


def load_settings(source: str | Path | None = None, overrides: Iterable[str] = ()) -> Settings:
    """Settings from a packaged preset's name or a YAML file, then `key=value` overrides with dotted keys.

    Raises ManyheadsError that names the key, the value and what was expected.
    """
    values: dict[str, Any] = {}
    if source is not None:
        values = _read(source)
        check_settings(values, where=str(source))
    for override in overrides:
        _override(values, override)
    settings = check_settings(values, where="--set")
    for kind in settings.heads:
        head_settings(settings, kind)
    for name in settings.training.environment_shares:
        registry().environments[name]  # an unknown one is refused
    return settings


def differences(saved: Settings, source: str | Path | None, overrides: Iterable[str]) -> tuple[list[str], list[str]]:
    """Dotted names of settings that differ from the saved ones: those the user set, and those set by a preset or
    default.

    A user sets what is in their own settings file and in overrides; a packaged preset or a default may have changed
    since the settings were saved.
    """
    set_by_user = _set_by_user(source, overrides := list(overrides))
    asked, current = (_flat(each.model_dump(mode="json")) for each in (load_settings(source, overrides), saved))
    differing = [name for name in {**current, **asked} if asked.get(name) != current.get(name)]
    own = [name for name in differing if any(f"{name}.".startswith(f"{each}.") for each in set_by_user)]
    return own, [name for name in differing if name not in own]


def machine_settings(source: str | Path | None, overrides: Iterable[str]) -> dict[str, Any]:
    """Values of the machine's settings that a user set, by dotted name; also where they are what was saved."""
    set_by_user = _set_by_user(source, overrides := list(overrides))
    asked = _flat(load_settings(source, overrides).model_dump(mode="json"))
    return {name: asked[name] for name in MACHINE if name in set_by_user}


def changed_settings(saved: Settings, values: Mapping[str, Any]) -> Settings:
    """The settings with other values, by dotted name; raises ManyheadsError for one that is wrong."""
    data = saved.model_dump(mode="json")
    for name, value in values.items():
        *groups, last = name.split(".")
        target = data
        for group in groups:
            target = target.setdefault(group, {})
        target[last] = value
    return check_settings(data, where="--set")


def flat_settings(settings: Settings) -> dict[str, Any]:
    """All values by their dotted names."""
    return _flat(settings.model_dump(mode="json"))


def for_any_machine(settings: Settings) -> Settings:
    """The settings without what one machine was told."""
    usual = flat_settings(Settings())
    return changed_settings(settings, {name: usual[name] for name in MACHINE})


def _set_by_user(source: str | Path | None, overrides: Iterable[str]) -> list[str]:
    names = [current_name(text.partition("=")[0], "--set") for text in overrides]
    if source is not None and str(source) not in presets():
        names += _flat(_read(source))
    return names


def check_settings(values: Mapping[str, Any], where: str) -> Settings:
    """Checks a mapping; the error is the first problem, by its dotted key."""
    try:
        return Settings.model_validate(with_current_names(values, where))
    except ValidationError as error:
        raise _mistake(error, Settings, where) from None


def head_settings(settings: Settings, kind: str) -> Any:
    """The checked settings of a kind of head, as its own model; ManyheadsError for unknown kinds and keys."""
    model = registry().heads[kind].load().settings
    try:
        return model.model_validate(settings.heads.get(kind, {}))
    except ValidationError as error:
        raise _mistake(error, model, "settings", f"heads.{kind}.") from None


def _mistake(error: ValidationError, model: type[BaseModel], where: str, prefix: str = "") -> ManyheadsError:
    """The first problem, by its dotted key."""
    problem = error.errors()[0]
    name = prefix + ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return unknown("setting", name, setting_names(model, prefix))
    value = "" if problem["type"] == "value_error" else f"={problem['input']!r}"
    return ManyheadsError(f"{where}: setting {name.rstrip('.')}{value}: {problem['msg']}.")


def setting_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted names of all settings below a model."""
    names = []
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += setting_names(kind, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def presets() -> dict[str, Path]:
    """Packaged presets by name."""
    folder = Path(str(files("manyheads"))) / "presets"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _read(source: str | Path) -> dict[str, Any]:
    known = presets()
    path = known.get(str(source), Path(source))
    if not path.exists():
        raise unknown("preset or settings file", str(source), known)
    values = yamlfile.read(path).data or {}
    if not isinstance(values, dict):
        raise ManyheadsError(f"{path} must hold a mapping of settings, not {type(values).__name__}.")
    return with_current_names(values, str(source))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _override(values: dict[str, Any], override: str) -> None:
    key, value = yamlfile.read_setting(override, "training.batch_size=16")
    *groups, name = current_name(key, "--set").split(".")
    target = values
    for group in groups:
        target = target.setdefault(group, {})
        if not isinstance(target, dict):
            raise ManyheadsError(f"--set {override}: {group!r} is a value, not a group of settings.")
    target[name] = value
