"""Settings to a StackConfig: every rule applied, every problem collected (pure)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from stack.config.combinations import Finding, check_combinations, warn_combinations
from stack.config.engine_args import check_engine_args, warn_engine_args
from stack.config.engine_env import check_engine_env, warn_engine_env
from stack.config.engine_limits import check_engine_limits, warn_engine_limits
from stack.config.layers import Setting
from stack.config.maps import check_mirrors, check_mounts, check_sources
from stack.config.schema import StackConfig
from stack.config.toml_text import show_path
from stack.config.translate import show_location, translate_error
from stack.config.values import show_value
from stack.errors import Problem

KeyPath = tuple[str, ...]


@dataclass(frozen=True)
class Validation:
    """What came of validating settings.

    Attributes:
        config: The configuration, or None if there are problems.
        problems: What is wrong, each with where it was set.
        warnings: What will have no effect, or another one than was probably meant.
    """

    config: StackConfig | None
    problems: list[Problem]
    warnings: list[Problem]


def validate_settings(settings: Sequence[Setting], *, wrong: Collection[str] = ()) -> Validation:
    """Give the configuration that the settings make, or everything that is wrong with them.

    A setting that is wrong by itself is taken out before rules that span keys are applied, and no such rule
    is applied to it, so that one mistake is one problem.

    Args:
        settings: What was given, one a key, and defaults that depend on the environment.
        wrong: Dotted keys that somebody tried to set and that could not be read.
    """
    by_path = {setting.path: setting for setting in _spell_numbers(settings)}
    problems = _check_maps(by_path)
    bad = {problem.path for problem in problems}
    good = {path: setting for path, setting in by_path.items() if setting.dotted not in bad}
    config, found = _validate(good)
    problems += found
    bad = {*wrong, *(problem.path for problem in problems)}
    given = {setting.dotted for setting in settings if setting.source != "default"}
    engine = config.engine
    problems += check_engine_limits(engine.args, device=engine.device, devices=engine.devices)
    problems += _keep(check_combinations(config, given), bad)
    problems = [_locate(problem, by_path.values()) for problem in problems]
    if problems:
        return Validation(None, problems, [])
    return Validation(config, [], [_locate(warning, by_path.values()) for warning in _warn(config, given)])


def _warn(config: StackConfig, given: set[str]) -> list[Problem]:
    engine = config.engine
    return [
        *warn_engine_args(engine.args),
        *warn_engine_limits(engine.args, engine.mounts),
        *warn_engine_env(engine.env),
        *(finding.problem for finding in warn_combinations(config, given)),
    ]


def _spell_numbers(settings: Iterable[Setting]) -> list[Setting]:
    """Turn whole numbers in [engine.env] into text: `OMP_NUM_THREADS = 4` says what is meant."""
    return [
        replace(setting, value=str(setting.value))
        if setting.path[:2] == ("engine", "env") and type(setting.value) is int
        else setting
        for setting in settings
    ]


def _check_maps(settings: Mapping[KeyPath, Setting]) -> list[Problem]:
    def entries(*owner: str) -> dict[str, Any]:
        return {path[-1]: found.value for path, found in settings.items() if path[:-1] == owner}

    acknowledged = settings.get(("engine", "allow-remote-code"))
    args = entries("engine", "args")
    env = entries("engine", "env")
    problems = [
        Problem(show_path(("engine", "env", name)), f"must be text, not {show_value(value)}; write it in quotes")
        for name, value in env.items()
        if not isinstance(value, str)
    ]
    texts = {name: value for name, value in env.items() if isinstance(value, str)}
    return [
        *problems,
        *check_engine_args(args, allow_remote_code=acknowledged is not None and acknowledged.value is True),
        *check_engine_env(texts, arg_names=frozenset(args)),
        *check_mounts(entries("engine", "mounts")),
        *check_mirrors(entries("images", "mirror")),
        *check_sources(entries("images", "sources")),
    ]


def _validate(settings: Mapping[KeyPath, Setting]) -> tuple[StackConfig, list[Problem]]:
    """Validate, take out what is wrong, and again, until the rest is a configuration."""
    left = dict(settings)
    problems: list[Problem] = []
    while True:
        try:
            return StackConfig.model_validate(_nest(left)), problems
        except ValidationError as err:
            errors = err.errors(include_url=False)
            for error in errors:
                problems.append(Problem(_show_error_path(error["loc"], left), translate_error(error)))
            wrong = {path for error in errors for path in left if tuple(error["loc"])[: len(path)] == path}
            if not wrong:
                raise
            left = {path: setting for path, setting in left.items() if path not in wrong}


def _show_error_path(location: tuple[str | int, ...], settings: Mapping[KeyPath, Setting]) -> str:
    # Entries of maps need quotes where TOML needs them, list items do not occur below them.
    for path in settings:
        if location == path:
            return show_path(path)
    return show_location(location)


def _nest(settings: Mapping[KeyPath, Setting]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, setting in settings.items():
        table = tree
        for name in path[:-1]:
            table = table.setdefault(name, {})
        table[path[-1]] = setting.value
    return tree


def _keep(findings: Iterable[Finding], bad: Collection[str]) -> list[Problem]:
    """Give the findings none of whose keys, nor a table above them, is wrong by itself."""
    return [
        finding.problem
        for finding in findings
        if not any(f"{key}.".startswith(f"{path}.") for key in finding.keys for path in bad)
    ]


def _locate(problem: Problem, settings: Iterable[Setting]) -> Problem:
    """Add where the key of a problem was set."""
    for setting in settings:
        rest = problem.path.removeprefix(setting.dotted)
        if problem.path.startswith(setting.dotted) and rest[:1] in {"", ".", "["}:
            return Problem(problem.path, f"{problem.message} ({setting.where})")
    return problem
