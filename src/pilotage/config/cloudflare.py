"""Reads the section ``cloudflare``: where Cloudflare publishes its networks. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

from pilotage.config.serve import Section
from pilotage.config.validation import list_of_one
from pilotage.xds.captcha import url_problem
from pilotage.xds.cloudflare import CLOUDFLARE_LISTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.config.substitute import Path as DocumentPath

__all__ = ["CloudflareSection", "cloudflare_lists"]


class CloudflareSection(Section):
    """The section ``cloudflare``."""

    lists: Annotated[tuple[str, ...], BeforeValidator(list_of_one)] = CLOUDFLARE_LISTS


def cloudflare_lists(
    section: CloudflareSection | None, add_problem: Callable[[DocumentPath, str, str], None]
) -> tuple[str, ...]:
    """Return the URLs of the lists; empty if they are not to be read.

    Args:
        section: the section; ``None`` if the file has none.
        add_problem: takes the document path of an error, a message and a hint, and reports the error.

    """
    if section is None:
        return CLOUDFLARE_LISTS
    for number, url in enumerate(section.lists):
        if (problem := url_problem(url)) is not None:
            add_problem(("cloudflare", "lists", number), *problem)
    return section.lists
