"""Checks requests and changes pages for Envoy, for middlewares and rules that Envoy itself cannot apply.

Its inputs are Envoy's checks, which name the middleware and the backend, and the responses of targets. Its outputs are
decisions (the request passes, or the client gets a response) and changed pages. It must not read labels, build Envoy's
configuration or contact engines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.request_service.asked import Asked
    from pilotage.request_service.bodies import BodyService
    from pilotage.request_service.captcha import CaptchaCheck, Guarded
    from pilotage.request_service.keys import SHORTEST_SECRET, SessionKeys
    from pilotage.request_service.outside import outside_session
    from pilotage.request_service.pages import error_page
    from pilotage.request_service.providers import Providers
    from pilotage.request_service.rule_checks import RuleChecks
    from pilotage.request_service.service import RequestService
    from pilotage.request_service.sign_in import Protected, SignIn

__all__ = [
    "SHORTEST_SECRET",
    "Asked",
    "BodyService",
    "CaptchaCheck",
    "Guarded",
    "Protected",
    "Providers",
    "RequestService",
    "RuleChecks",
    "SessionKeys",
    "SignIn",
    "error_page",
    "outside_session",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "error_page": "pages",
        "SignIn": "sign_in",
        "SessionKeys": "keys",
        "SHORTEST_SECRET": "keys",
        "Providers": "providers",
        "Protected": "sign_in",
        "Asked": "asked",
        "BodyService": "bodies",
        "RequestService": "service",
        "RuleChecks": "rule_checks",
        "CaptchaCheck": "captcha",
        "Guarded": "captcha",
        "outside_session": "outside",
    },
)
