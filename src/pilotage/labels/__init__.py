"""Turns the labels of one container into its options and, for each alias, the fields that the labels set.

Plain label text goes in; :class:`OwnLabels`, :class:`ContainerOptions` and :class:`DecodedLabels` come out. The results
record the position of each value and error. This package knows nothing about containers, routes or the meaning of
fields. It learns the spelling of keys from a :class:`KeySchema`.
"""

from __future__ import annotations

from pilotage.labels.container_options import (
    ALIASES,
    DEPENDS_ON,
    IDLE_LABELS,
    IDLE_TIMEOUT,
    MAX_NAMES,
    NETWORK,
    STOP_METHODS,
    STOP_SIGNALS,
    STOP_TIMEOUT,
    WAKE_TIMEOUT,
    ContainerOptions,
    IdleConfig,
    decode_options,
    parse_idle,
    split_names,
    too_many,
)
from pilotage.labels.decode import DecodedLabels, decode
from pilotage.labels.key_schema import FREE_KEYS, Key, KeySchema, fold
from pilotage.labels.keys import (
    CONTAINER_OPTIONS,
    NO_OWN_LABELS,
    SHORTCUTS,
    OwnLabels,
    filter_labels,
    fingerprint,
    is_own,
    split_key,
)
from pilotage.labels.merge import AliasFields, FieldError

__all__ = [
    "ALIASES",
    "CONTAINER_OPTIONS",
    "DEPENDS_ON",
    "FREE_KEYS",
    "IDLE_LABELS",
    "IDLE_TIMEOUT",
    "MAX_NAMES",
    "NETWORK",
    "NO_OWN_LABELS",
    "SHORTCUTS",
    "STOP_METHODS",
    "STOP_SIGNALS",
    "STOP_TIMEOUT",
    "WAKE_TIMEOUT",
    "AliasFields",
    "ContainerOptions",
    "DecodedLabels",
    "FieldError",
    "IdleConfig",
    "Key",
    "KeySchema",
    "OwnLabels",
    "decode",
    "decode_options",
    "filter_labels",
    "fingerprint",
    "fold",
    "is_own",
    "parse_idle",
    "split_key",
    "split_names",
    "too_many",
]
