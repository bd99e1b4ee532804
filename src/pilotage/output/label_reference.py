"""Describes every label: type, default, meaning and an example, for ``pilotage labels`` and the documentation. Pure.

Fields of routes come from :mod:`pilotage.routes.schema` and :mod:`pilotage.routes.access_log`, the only places that
define them.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.suggest import did_you_mean
from pilotage.core.text import format_duration
from pilotage.labels.container_options import STOP_METHODS, STOP_SIGNALS, STOP_TIMEOUT, WAKE_TIMEOUT
from pilotage.labels.key_schema import fold
from pilotage.labels.keys import SHORTCUTS
from pilotage.routes.fields import Duration
from pilotage.routes.mappings import StructKind
from pilotage.routes.middlewares import MIDDLEWARES
from pilotage.routes.schema import ROUTE, UNSUPPORTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["CONTAINER", "LabelEntry", "entries", "markdown", "matching"]


class LabelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One label.

    Attributes:
        label: its key, e.g. ``proxy.<alias>.healthcheck.path``.
        scope: ``container``, ``route`` or ``shortcut``.
        type: the kind of value.
        default: the default, as text; ``""`` for none.
        meaning: what the label means, in one sentence.
        example: a value, as written in a Compose file; ``""`` if the label has no example.
        spellings: other names of the field.
        protective: whether an error in the field takes the route out of service.
        works: ``yes``, ``partly`` or ``no``, followed by a colon and the reason; ``""`` if unknown.

    """

    label: str
    scope: str
    type: str
    default: str
    meaning: str
    example: str = ""
    spellings: tuple[str, ...] = ()
    protective: bool = False
    works: str = ""


def _container(name: str, kind: str, default: str, meaning: str, example: str) -> LabelEntry:
    return LabelEntry(
        label=f"proxy.{name}",
        scope="container",
        type=kind,
        default=default,
        meaning=meaning,
        example=f"proxy.{name}: {example}",
    )


CONTAINER: Final = (
    _container("aliases", "list", "the container's name", "Names under which the container answers.", "shop, admin"),
    _container("exclude", "boolean", "false", "Do not serve the container.", '"true"'),
    _container(
        "network",
        "text",
        "the Compose project's default network, or else the first by name",
        "Network whose address is used; the Compose project's prefix is optional.",
        "frontend",
    ),
    _container(
        "idle_timeout",
        "duration",
        "never",
        "Idle time until the container sleeps; the next request wakes it.",
        "30m",
    ),
    _container(
        "wake_timeout",
        "duration",
        format_duration(WAKE_TIMEOUT),
        "Time limit for waking the container.",
        "1m",
    ),
    _container(
        "stop_method",
        f"one of {', '.join(STOP_METHODS)}",
        STOP_METHODS[0],
        "How the container is put to sleep.",
        "pause",
    ),
    _container(
        "stop_timeout",
        "duration",
        format_duration(STOP_TIMEOUT),
        "How long the container may take to stop.",
        "30s",
    ),
    _container(
        "stop_signal",
        f"one of {', '.join(STOP_SIGNALS)}",
        "the container's own",
        "Signal that stops the container.",
        "SIGINT",
    ),
    _container(
        "start_endpoint",
        "request path",
        "any path",
        "The only path that wakes the container.",
        "/wake",
    ),
    _container(
        "depends_on",
        "list",
        "Compose's depends_on",
        "Containers to wake first: service or service:condition.",
        "db:service_healthy",
    ),
    _container(
        "no_loading_page",
        "boolean",
        "false",
        "Make browsers wait, too, instead of showing a loading page.",
        '"true"',
    ),
)
"""The labels of a container as a whole (LABELS II.1.2, II.5)."""


def entries() -> tuple[LabelEntry, ...]:
    """Return the entries of all labels: those for containers, those for routes, and shortcuts."""
    return (*CONTAINER, *_fields(ROUTE, ""), *_shortcuts())


def _fields(kind: StructKind, prefix: str) -> Iterator[LabelEntry]:
    defaults = {field.name: field.default for field in msgspec.structs.fields(kind.struct)}
    for name, field in kind.fields.items():
        path = f"{prefix}{name}"
        yield LabelEntry(
            label=f"proxy.<alias>.{path}",
            scope="route",
            type=field.kind.name.replace("list of one of", "list of"),
            default=field.default or _default(defaults[name], isinstance(field.kind, Duration)),
            meaning=field.meaning,
            example=f"proxy.app.{path}: {_quoted(field.example)}" if field.example else "",
            spellings=field.spellings,
            protective=field.protective,
        )
        if isinstance(field.kind, StructKind):
            yield from _fields(field.kind, f"{path}.")


def _default(value: Any, is_duration: bool) -> str:  # noqa: FBT001
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return format_duration(value) if is_duration else f"{value:g}"
    return value if isinstance(value, str) else ""


_NEEDS_QUOTES: Final = re.compile(r"[\[{@].*|true|false|[0-9.]*", re.DOTALL)


def _quoted(example: str) -> str:
    """Quote a value that YAML would not read as text, because labels in a Compose file must be text."""
    return f'"{example}"' if _NEEDS_QUOTES.fullmatch(example) else example


_EXAMPLES: Final = {"ports": '"8080, 9090"', "protos": "http, tcp", "hosts": "10.0.0.2, 10.0.0.3"}


def _shortcuts() -> Iterator[LabelEntry]:
    for name, field in SHORTCUTS.items():
        yield LabelEntry(
            label=f"proxy.{name}",
            scope="shortcut",
            type="list",
            default="",
            meaning=f"{field} of each alias in turn: the first item for the first alias, and so on.",
            example=f"proxy.{name}: {_EXAMPLES[name]}" if name in _EXAMPLES else "",
        )


def matching(word: str, works: Mapping[str, str] = MappingProxyType({})) -> tuple[tuple[LabelEntry, ...], str]:
    """Return the labels whose name contains a word, in any accepted spelling; if no label does, return a suggestion.

    Args:
        word: part of a name; ``""`` for all labels.
        works: label -> whether it has an effect, for :attr:`LabelEntry.works`.

    Returns:
        The entries and ``""``; or an empty tuple and ``"did you mean ...?"`` (``""`` if no label has a similar name).

    """
    wanted = fold(word).removeprefix("proxy.")
    found = tuple(entry for entry in entries() if any(wanted in fold(name) for name in _names(entry)))
    if found:
        return tuple(msgspec.structs.replace(entry, works=works.get(entry.label, "")) for entry in found), ""
    parts = {part for entry in entries() for part in entry.label.split(".")[1:]}
    return (), did_you_mean(word, sorted(parts - {"<alias>"}))


def _names(entry: LabelEntry) -> Iterable[str]:
    return (entry.label.removeprefix("proxy."), entry.label.removeprefix("proxy.<alias>."), *entry.spellings)


# ---- docs/reference/labels.md ------------------------------------------------------------------------------------

_INTRODUCTION: Final = """\
# Labels

<!-- Made by `pilotage labels --format markdown`. Do not edit this file: change output/label_reference.py,
routes/schema.py or routes/access_log.py. -->

Labels that begin with `proxy.` configure the routes of a container. `pilotage labels WORD` prints the entries below
that contain WORD. `pilotage explain NAME` shows which label sets which field.

```yaml
services:
  shop:
    labels:
      proxy.aliases: shop, admin      # for the whole container
      proxy.shop.port: "8080"         # one field of one alias
      proxy.admin: |                  # several fields, as YAML
        scheme: https
        port: 9090
      proxy.*.healthcheck.path: /up   # for all aliases
      proxy.#2.hold: 5s               # for the second alias
```

**Precedence.** If several labels set one field, the strongest applies. From weakest to strongest: `proxy.*`,
`proxy.*.field`, shortcuts such as `proxy.ports`, `proxy.#1`, `proxy.#1.field`, `proxy.name`, `proxy.name.field`.
Mappings are merged.

**Aliases.** Without `proxy.aliases`, a container answers under its own name. A label for an alias that is not listed
adds this alias. `#1` (or `$1`, written `$$1` in Compose) is the first alias, `#2` the second. Use these numbers for
aliases that contain dots.

**Values.** Field names ignore case and underscores. Booleans are `true` and `false`. Durations are `500ms`, `30s`,
`5m`, `1h30m`, `2d` or `1w`. A number without a unit is in seconds. YAML values follow YAML 1.2, so `no`, `on` and
`22:22` are text.

**Errors.** pilotage reports a value that it cannot parse, and the field keeps its default. If the field is marked 🛡,
the route is not served. A mistyped allow-list therefore never means "open to all".

**Files.** A label may name a file on pilotage's machine only below a folder in
[`gateway.label_files`](configuration.md#what-labels-may-claim-targets-stream_ports-label_files-label_roots). Otherwise
the route is not served.

**Containers without labels** are served, too. The exceptions are databases, backend services, and containers on engines
whose names end in `!`.

**Works** says whether a label has an effect. `pilotage check` and `pilotage serve` report a label that does not work.
If ignoring it could expose more than intended, the route is not served, and its status names the label.

**In Compose files**, Compose replaces variables such as `${PORT}` in the values of a mapping and in the items of a list
(`- proxy.${NAME}.port=80`), but not in the keys of a mapping. Write `$$` for a dollar sign.
"""


def markdown(works: Mapping[str, str]) -> str:
    """Return the text of ``docs/reference/labels.md``.

    Args:
        works: label, ``middlewares.NAME`` or ``middlewares.NAME.OPTION`` -> whether it has an effect, as in
            :attr:`LabelEntry.works`.

    """
    found, _ = matching("", works)
    parts = [_INTRODUCTION]
    for title, scope in (("Container labels", "container"), ("Route labels", "route"), ("Shortcuts", "shortcut")):
        parts.append(f"\n## {title}\n\n")
        if scope == "shortcut":
            parts.append("A list with one item for each alias, in order. No other label may set the same field.\n\n")
            parts.append("| Label | Field |\n| --- | --- |\n")
            parts += [f"| `proxy.{name}` | `{field}` |\n" for name, field in SHORTCUTS.items()]
            continue
        parts.append("| Label | Type | Default | Meaning | Example | Works |\n" + "| --- " * 6 + "|\n")
        parts += [_markdown_row(entry) for entry in found if entry.scope == scope]
    parts.append(
        "\n## Middlewares\n\nThese names go below `proxy.<alias>.middlewares`, each with a mapping of its options. "
        "[Middlewares](middlewares.md) describes them. All have the options `priority` and `bypass`, too.\n\n"
    )
    parts.append("| Middleware | Works | Options that work |\n| --- | --- | --- |\n")
    for name in sorted(set(MIDDLEWARES.values())):
        path = f"middlewares.{name}"
        options = [f"`{key[len(path) + 1 :]}`" for key in works if key.startswith(f"{path}.") and works[key] == "yes"]
        parts.append(f"| `{name}` | {works[path]} | {', '.join(options)} |\n")
    parts.append("\n## Not supported\n\npilotage reports these GoDoxy fields, because labels cannot set them:\n\n")
    parts += [f"- {message}\n" for message, _ in UNSUPPORTED.values()]
    return "".join(parts)


def _markdown_row(entry: LabelEntry) -> str:
    shield = " 🛡" if entry.protective else ""
    also = f" Also `{'`, `'.join(entry.spellings)}`." if entry.spellings else ""
    example = f"`{entry.example}`" if entry.example else ""
    cells = (f"`{entry.label}`{shield}", entry.type, entry.default, entry.meaning + also, example, entry.works)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"
