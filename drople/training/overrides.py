"""Settings by dotted name: `dropout.p_max=0.7` onto a configuration, and back from one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from drople.errors import SettingsError
from drople.ranges import flattened
from drople.training.config import METHODS, TrainConfig


def override(config: TrainConfig, assignments: Sequence[str]) -> TrainConfig:
    """A configuration with some values changed.

    Args:
        assignments: each `name=value`; a dot leads into a part, such as `losses.alignment=10` or
            `dropout.weights.s_cls=2`. Values are JSON, or bare words.

    Raises:
        SettingsError: no such setting, or a value of the wrong kind.
    """
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign:
            raise SettingsError(f"“{assignment}” is no setting; write NAME=VALUE, e.g. epochs=4.")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        config = _replaced(config, name.split("."), value, name=name)
    return config


def flat(config: TrainConfig) -> dict[str, Any]:
    """Every setting by dotted name, as JSON holds it; not the method's name nor the seed."""
    settings = flattened(asdict(config))
    return {name: value for name, value in settings.items() if name not in ("method", "seed")}


def named(config: TrainConfig) -> dict[str, Any]:
    """What a run's name is made from: all that is not at its class's default, by dotted name.

    So a setting that is added later renames no run.
    """
    defaults = flattened(asdict(TrainConfig()))
    settings = flattened(asdict(config))
    return {name: value for name, value in settings.items() if value != defaults[name]}


def contradictions(stored: Mapping[str, Any], config: TrainConfig) -> list[str]:
    """Where a stored configuration, as `flat` gives it, is not the one asked for.

    A setting that it does not hold was added later, and was at its default then.
    """
    defaults = flat(TrainConfig())
    return [
        f"{name} {was!r} instead of {asked!r}"
        for name, asked in flat(config).items()
        if (was := stored.get(name, defaults[name])) != asked
    ]


def changes(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What of a method's settings, as `flat` gives them, differs from its declaration today."""
    declared = flat(METHODS[method]) if method in METHODS else {}
    return {k: v for k, v in settings.items() if k not in declared or v != declared[k]}


def _replaced(part: Any, path: Sequence[str], value: Any, *, name: str) -> Any:
    names = [f.name for f in fields(part) if f.name != "method"]
    if path[0] not in names:
        raise SettingsError(f"There is no setting “{name}”; known here: {', '.join(names)}.")
    old = getattr(part, path[0])
    if len(path) > 1 and is_dataclass(old):
        return replace(part, **{path[0]: _replaced(old, path[1:], value, name=name)})
    hint = get_type_hints(type(part))[path[0]]
    if isinstance(value, list):
        value = tuple(value)
    if type(old) is float and type(value) is int:
        value = float(value)
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    fits = value in choices if choices else _fits(value, hint)
    if len(path) > 1 or not fits or is_dataclass(old):
        expected = " or ".join(map(repr, choices)) or f"a value like {old!r}"
        raise SettingsError(f"{name} is {value!r}; expected {expected}.")
    return replace(part, **{path[0]: value})


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a field's type, or of one of those it may have."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return any(type(value) is (get_origin(kind) or kind) for kind in kinds)
