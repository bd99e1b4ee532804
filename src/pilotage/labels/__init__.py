"""Labels of one container -> options of the container and, for each alias, the fields that its labels set.

Plain label text goes in; :class:`OwnLabels`, :class:`ContainerOptions` and :class:`DecodedLabels` come out, each value
with its position and each error with its place.
It must not know containers, routes or what a field means: how keys are spelt comes in as a :class:`KeySchema`.
"""

from __future__ import annotations

from pilotage.labels.container_options import IdleConfig
from pilotage.labels.decode import DecodedLabels, decode
from pilotage.labels.key_schema import FREE_KEYS, Key, KeySchema, fold
from pilotage.labels.keys import CONTAINER_OPTIONS, SHORTCUTS, OwnLabels, filter_labels, is_own
from pilotage.labels.merge import AliasFields, FieldError

__all__ = [
    "CONTAINER_OPTIONS",
    "FREE_KEYS",
    "SHORTCUTS",
    "AliasFields",
    "DecodedLabels",
    "FieldError",
    "IdleConfig",
    "Key",
    "KeySchema",
    "OwnLabels",
    "decode",
    "filter_labels",
    "fold",
    "is_own",
]
