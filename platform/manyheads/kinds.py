"""What a plugin registers with its own settings: a name, checked settings, the modules that it needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from manyheads.errors import ManyheadsError, unknown
from manyheads.imports import install_command, missing_modules
from manyheads.yamlfile import read_setting


class NoSettings(BaseModel):
    """Nothing to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The base of runners and loggers. `settings` checks the options that `--set NAME.option=value` gives."""

    name: str
    settings: type[BaseModel] = NoSettings
    requires: tuple[str, ...] = ()
    """importable modules without which it does not work"""
    extra: str = ""
    """the extra of manyheads that installs them"""
    description: str = ""

    def missing(self) -> list[str]:
        """The modules in `requires` that this Python can't import."""
        return missing_modules(self.requires)

    def read_settings(self, given: Mapping[str, Any] | None = None) -> BaseModel:
        """Checked settings; raises ManyheadsError for a wrong option, or where a required module is missing."""
        if missing := self.missing():
            install = f" Install with `{install_command(self.extra, missing)}`." if self.extra else ""
            raise ManyheadsError(f"{self.name} needs {' and '.join(missing)}, not installed here.{install}")
        for option in given or {}:
            if option not in self.settings.model_fields:
                raise unknown(f"option of {self.name}", option, self.settings.model_fields)
        try:
            return self.settings.model_validate(dict(given or {}))
        except ValidationError as error:
            problem = error.errors()[0]
            option = ".".join(map(str, problem["loc"]))
            value = "" if problem["type"] == "missing" else f"={problem['input']!r}"
            raise ManyheadsError(f"--set {self.name}.{option}{value}: {problem['msg']}.") from None


def split_overrides(overrides: Iterable[str], names: Iterable[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Separates `NAME.option=value` of these kinds from all other overrides, which come first."""
    others: list[str] = []
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for override in overrides:
        name = next((name for name in found if override.startswith(f"{name}.")), None)
        if name is None:
            others.append(override)
        else:
            option, value = read_setting(override.removeprefix(f"{name}."), f"{name}.option=value")
            found[name][option] = value
    return others, found
