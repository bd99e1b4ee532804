"""Reads the fields of one alias into typed settings. Pure.

Rules: LABELS II.6.6, decision 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.budget import container_budget
from pilotage.core.problems import Problem
from pilotage.core.yaml import Located
from pilotage.routes.fields import FieldContext
from pilotage.routes.paths import named_paths
from pilotage.routes.schema import ROUTE, RouteSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.core.budget import Budget
    from pilotage.labels.merge import AliasFields
    from pilotage.routes.fields import KnownFields

__all__ = ["NO_SETTINGS", "AliasSettings", "read_all_settings", "read_settings"]


class AliasSettings(msgspec.Struct, frozen=True):
    """The settings of one alias. Other aliases and containers with the same fields can share this object.

    Attributes:
        settings: every field, with defaults.
        labelled: names of the fields that are set.
        problems: problems with the alias's labels.
        refused: whether a problem takes the route out of service.
        judged_later: fields, as written, that can be checked only once the target is known.

    """

    settings: RouteSettings = RouteSettings()
    labelled: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    refused: bool = False
    judged_later: dict[str, Located] = {}

    @property
    def is_plain(self) -> bool:
        """Whether the settings have no problems, and the target cannot cause any."""
        return not (self.problems or self.refused or self.judged_later)


NO_SETTINGS: Final = AliasSettings()


def read_all_settings(routes: Sequence[AliasFields], budget: Budget) -> tuple[AliasSettings, ...]:
    """Read the fields of all aliases of one container. Aliases with the same fields share their settings."""
    if len(routes) == 1:
        return (read_settings(routes[0], budget),)
    known: KnownFields = {}
    # Aliases without labels of their own share one mapping of fields and its errors.
    read: dict[tuple[int, int], AliasSettings] = {}
    found = []
    for fields in routes:
        key = (id(fields.fields), id(fields.errors))
        if key not in read:
            read[key] = read_settings(fields, budget, known)
        found.append(read[key])
    return tuple(found)


def read_settings(fields: AliasFields, budget: Budget | None = None, known: KnownFields | None = None) -> AliasSettings:
    """Read the fields of one alias.

    Args:
        fields: decoded labels of the alias, or its mapping in a file of routes.
        budget: limits the work that the labels can cause; by default, the budget of one container (decision 36).
        known: fields already read for another alias of the container.

    """
    if not fields.fields and not fields.errors:
        return NO_SETTINGS
    context = FieldContext(
        budget=budget or container_budget(),
        problems=[error.problem for error in fields.errors],
        refused=any(error.protective for error in fields.errors),
        visible=ROUTE.visible,
        known=known,
    )
    if not fields.fields:
        return AliasSettings(problems=tuple(context.problems), refused=context.refused)
    found = ROUTE.read_fields(fields.fields, context)
    settings = RouteSettings(**found)
    _check_combinations(settings, fields.fields, context)
    return AliasSettings(
        settings, tuple(found), tuple(context.problems), context.refused, _judged_later(settings, fields.fields)
    )


def _check_combinations(settings: RouteSettings, fields: dict[str, Located], context: FieldContext) -> None:
    """Refuse fields that exclude each other, and fields that need another field that is missing (LABELS II.6.6)."""

    def refuse(field: str, message: str, hint: str = "") -> None:
        context.error(fields[field], message, hint, path=field)
        context.refused = True

    if settings.rules and settings.rule_file:
        refuse("rule_file", "rules and rule_file exclude each other", "keep one of them")
    if bool(settings.ssl_certificate) is not bool(settings.ssl_certificate_key):
        given, missing = "ssl_certificate", "ssl_certificate_key"
        if not settings.ssl_certificate:
            given, missing = missing, given
        refuse(given, f"{missing} is required when {given} is specified")


def _judged_later(settings: RouteSettings, fields: dict[str, Located]) -> dict[str, Located]:
    """Return the fields that :mod:`pilotage.routes.build` may have to refuse once it knows the route's target."""
    names = [names[0] for names, _ in named_paths(settings)]
    names += [name for name in ("relay_proxy_protocol_header", "tls_termination") if getattr(settings, name)]
    if settings.scheme == "fileserver":
        names += ["scheme", "root"]
    if settings.healthcheck.disable:
        names.append("healthcheck")
    return {name: fields[name] for name in names if name in fields}
