"""Decides what a container may claim: hosts, targets, ports, files, middlewares and pools.

A :class:`Claimant` and one claim go in; a :class:`Verdict` comes out, with the operator's rule that decided and, if the
claim is refused, a reason and a hint. ``routes`` asks about all claims of a container when it builds its routes;
``table`` asks about pools. This package does not know routes, has no asynchronous code and opens no sockets. It uses
the file system only to resolve symbolic links and to read files to which labels may refer.
"""

from __future__ import annotations

from pilotage.policy.claims import Claimant, Kind, PolicyRule, Verdict, claimant_of
from pilotage.policy.engines import unknown_engines
from pilotage.policy.files import is_below, read_below
from pilotage.policy.globs import PLACEHOLDERS, placeholders
from pilotage.policy.policy import FILE_REFUSED, NO_POLICY, ROOT_REFUSED, GatewayCheck, Policy
from pilotage.policy.ports import parse_range
from pilotage.policy.target_addresses import (
    KIND_NAMES,
    Reach,
    hint_for,
    is_ordinary,
    is_target_glob,
    leads_here,
    parse_address,
    special_kind,
    spellings,
)

__all__ = [
    "FILE_REFUSED",
    "KIND_NAMES",
    "NO_POLICY",
    "PLACEHOLDERS",
    "ROOT_REFUSED",
    "Claimant",
    "GatewayCheck",
    "Kind",
    "Policy",
    "PolicyRule",
    "Reach",
    "Verdict",
    "claimant_of",
    "hint_for",
    "is_below",
    "is_ordinary",
    "is_target_glob",
    "leads_here",
    "parse_address",
    "parse_range",
    "placeholders",
    "read_below",
    "special_kind",
    "spellings",
    "unknown_engines",
]
