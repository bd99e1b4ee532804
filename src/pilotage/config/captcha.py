"""Reads the section ``captcha``: the provider of captchas, if it is not hCaptcha itself. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilotage.config.serve import Section
from pilotage.xds.captcha import CaptchaService, url_problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.config.substitute import Path as DocumentPath

__all__ = ["CaptchaSection", "captcha_service"]


class CaptchaSection(Section):
    """The section ``captcha``."""

    script_url: str = ""
    verify_url: str = ""


def captcha_service(
    section: CaptchaSection | None, add_problem: Callable[[DocumentPath, str, str], None]
) -> CaptchaService:
    """Return the URLs of the provider.

    Args:
        section: the section; ``None`` if the file has none.
        add_problem: takes the document path of an error, a message and a hint, and reports the error.

    """
    found = CaptchaService()
    for name in ("script_url", "verify_url"):
        url = getattr(section, name, "").strip()
        if url and (problem := url_problem(url)) is not None:
            add_problem(("captcha", name), *problem)
        elif url:
            found = msgspec.structs.replace(found, **{name: url})
    return found
