"""Collects the labels of a Compose service: from mappings, lists, label files and the services that it extends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.text import shorten_value
from pilotage.core.textfile import UnreadableFile, read_text
from pilotage.core.yaml import Located, kind_name
from pilotage.labels import is_own
from pilotage.lint.compose_variables import env_lines, fill_in

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Label", "Layer", "collect_deployed", "collect_labels", "in_file"]


class Label(msgspec.Struct, frozen=True):
    """A label of a service.

    Attributes:
        value: the label's text as written, with its position.
        file: the file that contains it.
        text: the label's text after Compose has substituted variables.
        unset: the name of the first variable in the text that is not set; ``""`` if all are set.
        variables: the variables in the text that are set, name -> value.

    """

    value: Located
    file: str
    text: str
    unset: str
    variables: dict[str, str]


class Layer(msgspec.Struct, frozen=True):
    """A service's own definition, or that of a service that it extends.

    Attributes:
        file: the file that contains it.
        definition: the keys of the service.
        env: the variables that are set for this file.

    """

    file: str
    definition: dict[str, Located]
    env: Mapping[str, str]


def in_file(problem: Problem, file: str, service: str, line: int, column: int) -> Problem:
    """Return a problem with its position in a Compose file."""
    place = {"file": file, "line": line, "column": column, "provider": "", "container": service}
    return msgspec.structs.replace(problem, **place)


def collect_labels(service: str, layers: list[Layer], labels: dict[str, Label]) -> Iterator[Problem]:
    """Add the labels of a service, of its label files and of the services that it extends; yield their problems.

    Args:
        service: name of the service.
        layers: the definitions that make up the service, its own one last.
        labels: receives key -> label.

    """
    for layer in layers:
        yield from _from_files(service, layer, labels)
    for layer in layers:
        yield from _written(service, layer, labels)
        yield from _deployed(service, layer)


def collect_deployed(service: str, layers: list[Layer], labels: dict[str, Label]) -> Iterator[Problem]:
    """Add the labels under ``deploy``, which ``docker stack deploy`` gives to a swarm service; yield their problems.

    The arguments are those of :func:`collect_labels`.
    """
    for layer in layers:
        deploy = layer.definition.get("deploy")
        if deploy is not None and isinstance(deploy.value, dict):
            below = msgspec.structs.replace(layer, definition=deploy.value)
            yield from _written(service, below, labels)


def _written(service: str, layer: Layer, labels: dict[str, Label]) -> Iterator[Problem]:
    """Collect labels from a mapping or a list of ``key=value``."""
    written = layer.definition.get("labels")
    value = written.value if written is not None else None
    if isinstance(value, dict):
        # Compose substitutes variables in the values of a mapping, but not in its keys.
        for key, item in value.items():
            if isinstance(item.value, dict | list):
                message = f"a label must be text, not {kind_name(item.value)}"
                hint = "write '|' after the colon, and the mapping on the lines below"
                problem = Problem(message=message, hint=hint, label=key)
                yield in_file(problem, layer.file, service, item.key_line, item.key_column)
                continue
            filled = fill_in(_as_text(item.value), layer.env)
            labels[key] = Label(item, layer.file, filled.text, filled.unset, filled.used)
            yield from _unsure(key, labels[key], service)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item.value, dict | list):
                yield in_file(_not_an_item(item), layer.file, service, item.line, item.column)
                continue
            # Compose substitutes variables in the whole item, before it looks for the equals sign.
            whole = fill_in(str(item.value), layer.env)
            key, _, text = whole.text.partition("=")
            if whole.unset and whole.at <= len(key):
                yield in_file(_unset_in_key(str(item.value), whole.unset), layer.file, service, item.line, item.column)
                continue
            located = msgspec.structs.replace(item, value=str(item.value).partition("=")[2])
            labels[key] = Label(located, layer.file, text, whole.unset, whole.used)
            yield from _unsure(key, labels[key], service)


def _unsure(key: str, label: Label, service: str) -> Iterator[Problem]:
    """Yield a warning if the value of a pilotage label depends on a variable that is not set."""
    if label.unset and is_own(key):
        message = f"only the name of this label is checked, because the variable {label.unset} is not set"
        hint = "set it in the environment, or in a file .env next to this one"
        problem = Problem(message=message, severity="warning", hint=hint, label=key)
        yield in_file(problem, label.file, service, label.value.key_line, label.value.key_column)


def _from_files(service: str, layer: Layer, labels: dict[str, Label]) -> Iterator[Problem]:
    """Collect the labels from label files. Compose does not substitute environment variables in these files."""
    written = layer.definition.get("label_file")
    if written is None:
        return
    for name in written.value if isinstance(written.value, list) else [written]:
        path = Path(layer.file).parent / fill_in(_as_text(name.value), layer.env).text
        try:
            lines = env_lines(read_text(path), {})
        except UnreadableFile as error:
            message = f"the label file {shorten_value(name.value)!r} {error.message}"
            problem = Problem(message=message, hint=error.hint)
            yield in_file(problem, layer.file, service, name.line, name.column)
            continue
        for number, key, text in lines:
            labels[key] = Label(Located(text, "", number, 1, number, 1), str(path), text, "", {})


def _deployed(service: str, layer: Layer) -> Iterator[Problem]:
    """Yield a warning if a swarm service has pilotage labels, because ``docker compose`` ignores them."""
    deploy = layer.definition.get("deploy")
    written = deploy.value.get("labels") if deploy is not None and isinstance(deploy.value, dict) else None
    if written is None or not isinstance(written.value, dict | list):
        return
    names = written.value if isinstance(written.value, dict) else map(str, (item.value for item in written.value))
    own = next((name.partition("=")[0] for name in names if is_own(name)), "")
    if own:
        message = "labels under 'deploy' are those of a swarm service; 'docker compose up' gives them to no container"
        hint = "move them to 'labels', unless you run 'docker stack deploy'"
        problem = Problem(message=message, severity="warning", hint=hint, label=own)
        yield in_file(problem, layer.file, service, written.key_line, written.key_column)


def _as_text(value: Any) -> str:
    """Return a single value as Compose passes it on."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _not_an_item(item: Located) -> Problem:
    example = ""
    if isinstance(item.value, dict) and len(item.value) == 1:
        ((key, value),) = item.value.items()
        if not isinstance(value.value, dict | list):
            example = f"; write - {key}={_as_text(value.value)}"
    message = f"a label in a list must be key=value, not {kind_name(item.value)}{example}"
    return Problem(message=message, hint="" if example else "write - key=value")


def _unset_in_key(item: str, name: str) -> Problem:
    message = f"this label is not checked, because the variable {name} is not set"
    return Problem(message=message, severity="warning", hint="set it in the environment", label=item.partition("=")[0])
