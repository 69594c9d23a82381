"""Everything that plugins registered, by name.

Plugins are entry points of the group `manyheads`; the core's own things come through the same hooks
(`manyheads.builtins`). A plugin that fails is named with its package, its error and the switch that leaves it
out, while every other plugin works. Each table is filled on first use, and none imports torch.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import pluggy

from manyheads import hookspecs, trust
from manyheads.environment.contract import Environment
from manyheads.errors import ManyheadsError, unknown
from manyheads.heads.kind import HeadKind, LazyHeadKind
from manyheads.loggers import LoggerKind
from manyheads.models import LanguageModelKind
from manyheads.rewards.contract import RewardKind
from manyheads.runners import RunnerKind

if TYPE_CHECKING:
    import click
    import gymnasium

GROUP = "manyheads"
CORE = "core"
SWITCH = "MANYHEADS_DISABLE_PLUGINS"

logger = logging.getLogger("manyheads")
T = TypeVar("T")

TABLES = ("environments", "tasks", "heads", "rewards", "models", "runners", "suites", "loggers", "commands")
"""The tables of the registry; each is filled by the hook `register_<name>`."""

_NAME = re.compile(r"[a-z][a-z0-9_]*(/[A-Za-z0-9_][A-Za-z0-9_.:+-]*)+")
_PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]*")
_HOOKS = tuple(name for name, value in vars(hookspecs).items() if hasattr(value, f"{GROUP}_spec"))


@dataclass
class Plugin:
    """One entry point: where it comes from and how it fared."""

    name: str
    package: str
    """the distribution and its version"""
    module: str
    disabled: bool = False
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.name} (package {self.package})"


class Table(dict[str, T], Generic[T]):
    """Things by name, sorted; `table[name]` explains a name that is misspelt, contested or left out.

    `find` knows things that are not listed; it gives None for a name that it does not know, and `rule` says how such
    names are made.
    """

    def __init__(
        self,
        kind: str,
        listing: str,
        plugins: dict[str, Plugin],
        find: Callable[[str], T | None] | None = None,
        rule: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.listing = listing
        self.owners: dict[str, str] = {}
        """the plugin that registered each name"""
        self.contested: dict[str, str] = {}
        self._plugins = plugins
        self._find = find
        self._rule = rule

    def rule(self, name: str) -> str:
        """A sentence about names like this one that are not listed, "" where there are none."""
        return self._rule(name) if self._rule else ""

    def find(self, name: str) -> T | None:
        """The thing of that name where it is not listed, None where it is unknown."""
        return self._find(name) if self._find else None

    def __missing__(self, name: str) -> T:
        if name in self.contested:
            raise ManyheadsError(self.contested[name])
        found = self.find(name)
        if found is not None:
            return found
        error = unknown(self.kind, name, self, self.listing)
        failed = [plugin.name for plugin in self._plugins.values() if plugin.problems]
        disabled = [plugin.name for plugin in self._plugins.values() if plugin.disabled]
        hints = [str(error), *filter(None, [self.rule(name)])]
        if failed:
            hints.append(f"Plugins that failed: {', '.join(failed)} (`manyheads list plugins` says why).")
        if disabled:
            hints.append(f"Plugins left out by {SWITCH}: {', '.join(disabled)}.")
        raise ManyheadsError(" ".join(hints))


class Registry:
    """What the given entry points register. `registry()` is the one of this Python's installed packages."""

    def __init__(self, entries: Iterable[EntryPoint], disabled: Iterable[str] = ()) -> None:
        self.plugins: dict[str, Plugin] = {}
        self._disabled = sorted(set(disabled))
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        for entry in sorted(entries, key=lambda entry: (entry.name != CORE, entry.name, entry.value)):
            self._load(entry)
        for name in self._disabled:
            if name not in self.plugins:
                logger.warning("%s: %s", SWITCH, unknown("plugin", name, self.plugins, "manyheads list plugins"))

    @cached_property
    def environments(self) -> Table[Environment]:
        unlisted = {"find": self._find_environment, "rule": self._environment_rule}
        return self._things("register_environments", "environment", Environment, **unlisted)

    @cached_property
    def heads(self) -> Table[HeadKind | LazyHeadKind]:
        """Kinds of heads; `heads[name].load()` is the `HeadKind` and may import torch."""
        return self._things("register_heads", "head", HeadKind, LazyHeadKind)

    @cached_property
    def rewards(self) -> Table[RewardKind]:
        return self._things("register_rewards", "reward", RewardKind)

    @cached_property
    def models(self) -> Table[LanguageModelKind]:
        return self._things("register_models", "model", LanguageModelKind)

    @cached_property
    def runners(self) -> Table[RunnerKind]:
        return self._things("register_runners", "runner", RunnerKind)

    @cached_property
    def loggers(self) -> Table[LoggerKind]:
        return self._things("register_loggers", "logger", LoggerKind)

    @cached_property
    def tasks(self) -> Table[Path]:
        """Task files, found by name and not read."""
        return self._files("register_tasks", "task", ".yaml")

    @cached_property
    def suites(self) -> Table[Path]:
        """Files of published scores, found by name and not read."""
        return self._files("register_suites", "suite", ".json")

    @cached_property
    def commands(self) -> Table[click.Command]:
        """Commands of the command line; those added by their place are imported on use."""
        from manyheads.commands import Commands

        table: Table[click.Command] = self._table("command", "manyheads --help")

        def group(staged: list[Any]) -> dict[str, Any]:
            staged.append(Commands())
            return {"commands": staged[0]}

        for plugin, (commands,) in self._call("register_commands", group):
            self._add(table, plugin, commands.commands.items())
        return table

    def load_all(self) -> dict[str, Table[Any]]:
        """Every table by its name, filled, so that every plugin's problems are known."""
        return {name: getattr(self, name) for name in TABLES}

    def report(self, plugin: Plugin, problem: str) -> None:
        """Names a plugin that failed on stderr (through logging), with the switch that leaves it out."""
        problem = problem if problem.endswith("?") else f"{problem.rstrip('.')}."
        text = f"Plugin {plugin} {problem} {self._switch(plugin)} leaves it out."
        self._say(plugin, text)

    def _load(self, entry: EntryPoint) -> None:
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown"
        plugin = Plugin(entry.name, package, entry.value, disabled=entry.name in self._disabled)
        if entry.name in self.plugins:
            other = self.plugins[entry.name]
            self.report(other, f"has a name that package {package} takes too, whose plugin is not loaded")
            return
        self.plugins[entry.name] = plugin
        if plugin.disabled:
            return
        module = None
        try:
            module = entry.load()
            if misspelt := self._unknown_hook(module):
                self.report(plugin, f"did not load: {misspelt}")
                return
            self._manager.register(module, entry.name)
            trust.allow_package(entry.value)
        except (Exception, SystemExit) as error:  # whatever a plugin raises, the others continue
            if module is not None and self._manager.has_plugin(entry.name):
                self._manager.unregister(name=entry.name)
            self.report(plugin, f"did not load: {_brief(error)}")
        else:
            for problem in self._unmarked_hooks(module):
                self.report(plugin, problem)

    def _unknown_hook(self, module: Any) -> str:
        """What is wrong with a function that is marked as a hook which does not exist; empty without one."""
        for name in vars(module):
            if name not in _HOOKS and self._manager.parse_hookimpl_opts(module, name) is not None:
                near = get_close_matches(name, _HOOKS, n=1)
                return f"there is no hook {name}; " + (
                    f"did you mean {near[0]}?" if near else f"there are {', '.join(_HOOKS)}"
                )
        return ""

    def _unmarked_hooks(self, module: Any) -> Iterator[str]:
        """Functions of the module that look like hooks and lack the decorator, and what to do about each."""
        for name, function in vars(module).items():
            near = get_close_matches(name, _HOOKS, n=1, cutoff=0.85)
            own = inspect.isfunction(function) and function.__module__ == module.__name__ and name[0] != "_"
            if near and own and self._manager.parse_hookimpl_opts(module, name) is None:
                spelt = "" if near[0] == name else f", spelt {near[0]}"
                yield f"has a function {name} that is not used: decorate it with @hookimpl{spelt}"

    def _call(self, hook: str, arguments: Callable[[list[Any]], dict[str, Any]]) -> Iterator[tuple[Plugin, list[Any]]]:
        """Calls each plugin's hook by itself; yields what it registered, and nothing of one that raised."""
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            plugin = self.plugins[implementation.plugin_name]
            staged: list[Any] = []
            given = arguments(staged)
            try:
                implementation.function(*(given[name] for name in implementation.argnames))
            except (Exception, SystemExit) as error:  # whatever a plugin raises, the others continue
                self.report(plugin, f"failed in {hook}: {_brief(error)}")
            else:
                yield plugin, staged

    def ask(self, hook: str, question: Any) -> Any:
        """The first answer of any plugin to a hook of one argument that is not None."""
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            answer = implementation.function(question)
            if answer is not None:
                return answer
        return None

    def _finder(self, name: str) -> Callable[[str], Environment | None] | None:
        """The hook of the plugin that a name begins with."""
        for implementation in self._manager.hook.find_environment.get_hookimpls():
            if implementation.plugin_name == name.partition("/")[0]:
                return cast("Callable[[str], Environment | None]", implementation.function)
        return None

    def _find_environment(self, name: str) -> Environment | None:
        find = self._finder(name)
        return find(name) if find else None

    def _environment_rule(self, name: str) -> str:
        find = self._finder(name)
        return (inspect.getdoc(find) if find else None) or ""

    def _things(self, hook: str, kind: str, *types: type[Any], **unlisted: Callable[[str], Any]) -> Table[Any]:
        table: Table[Any] = Table(kind, f"manyheads list {kind}s", self.plugins, **unlisted)
        for plugin, things in self._call(hook, lambda staged: {"register": staged.append}):
            wrong = [thing for thing in things if not isinstance(thing, types)]
            if wrong:
                self.report(plugin, f"failed in {hook}: expected {types[0].__name__}, got {wrong[0]!r}")
                continue
            self._add(table, plugin, [(thing.name, thing) for thing in things])
        return table

    def _files(self, hook: str, kind: str, suffix: str) -> Table[Path]:
        table: Table[Path] = self._table(kind, f"manyheads list {kind}s")
        for plugin, paths in self._call(hook, lambda staged: {"register": staged.append}):
            try:
                files = [named for path in paths for named in _named_files(Path(path), kind, suffix)]
            except (OSError, TypeError, ValueError) as error:
                self.report(plugin, f"failed in {hook}: {error}")
                continue
            self._add(table, plugin, files)
        return table

    def _table(self, kind: str, listing: str) -> Table[Any]:
        return Table(kind, listing, self.plugins)

    def _add(self, table: Table[T], plugin: Plugin, things: Iterable[tuple[str, T]]) -> None:
        for name, thing in things:
            plain = table.kind == "command" or plugin.name in (CORE, name)
            if not (_NAME.fullmatch(name) or (plain and _PLAIN_NAME.fullmatch(name))):
                self.report(plugin, f"registers the {table.kind} {name!r}; expected a name like {plugin.name}/thing")
            elif name in table.owners:
                self._contest(table, name, plugin)
            else:
                table[name] = thing
                table.owners[name] = plugin.name
        ordered = sorted(table.items())
        table.clear()
        table.update(ordered)

    def _contest(self, table: Table[Any], name: str, plugin: Plugin) -> None:
        """A name taken twice belongs to nobody until one of the two is left out."""
        owner = self.plugins[table.owners[name]]
        both = f"{owner} and {plugin} both register" if owner is not plugin else f"{plugin} registers twice"
        text = f"Plugins {both} the {table.kind} {name!r}. {self._switch(plugin)} leaves out the second."
        table.pop(name, None)
        table.contested[name] = text
        self._say(plugin, text)

    def _say(self, plugin: Plugin, text: str) -> None:
        if text not in plugin.problems:
            plugin.problems.append(text)
            logger.warning("%s", text)

    def _switch(self, plugin: Plugin) -> str:
        return f"{SWITCH}={','.join([*self._disabled, plugin.name])}"


@cache
def registry() -> Registry:
    """The registry of the installed packages, made once."""
    disabled = (name.strip() for name in os.environ.get(SWITCH, "").split(","))
    return Registry(entry_points(group=GROUP), [name for name in disabled if name])


def make(name: str, /, **options: Any) -> gymnasium.Env[Any, Any]:
    """A registered environment as a Gymnasium environment with its signals in `info["signals"]`."""
    return registry().environments[name].instance(options).make()


def _named_files(path: Path, kind: str, suffix: str) -> Iterator[tuple[str, Path]]:
    """A folder's files by their paths below it; a single file by its folder's name and its own."""
    if path.is_dir():
        for file in sorted(path.rglob(f"*{suffix}")):
            yield file.relative_to(path).with_suffix("").as_posix(), file
    elif path.is_file():
        yield f"{path.parent.name}/{path.stem}", path
    else:
        raise FileNotFoundError(f"there is no {kind} file or folder {path}")


def _brief(error: BaseException) -> str:
    """The error in one line, with the file and line that raised it."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and "importlib" not in frame.filename
    ]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"
