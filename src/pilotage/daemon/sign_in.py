"""Lets users sign in (middleware ``oidc``) and visitors solve captchas (``hcaptcha``).

This module keeps the session secret and answers Envoys' checks.

If no route needs this, it imports nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.errors import PilotageError
from pilotage.core.sockets import permissions
from pilotage.request_service.keys import SHORTEST_SECRET, SessionKeys
from pilotage.request_service.pages import error_page
from pilotage.request_service.service import RequestService
from pilotage.routes.oidc import audience
from pilotage.xds.captcha import captcha_audience
from pilotage.xds.login import BOTH, CAPTCHA, OIDC, options_of
from pilotage.xds.middlewares import route_policy
from pilotage.xds.rule_checks import RULES
from pilotage.xds.rule_outcomes import route_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from contextlib import AsyncExitStack

    from pilotage.request_service.asked import Asked
    from pilotage.request_service.bodies import BodyService
    from pilotage.request_service.captcha import CaptchaCheck, Guarded
    from pilotage.request_service.providers import Providers
    from pilotage.request_service.rule_checks import RuleChecks
    from pilotage.request_service.sign_in import Protected, SignIn
    from pilotage.routes.oidc import OidcDefaults
    from pilotage.routes.rules import Check
    from pilotage.table.table import Table
    from pilotage.xds.html_changes import HtmlChange
    from pilotage.xds.options import GatewayOptions
    from pilotage.xds.server import AdsServer

__all__ = ["SignInKeeper", "start_sign_in"]

log = logging.getLogger(__name__)

_FILE: Final = "session.key"
_LARGEST: Final = 64 * 1024  # bytes of a file with a secret


class SignInKeeper:
    """Starts signing users in as soon as a route needs it.

    Args:
        ads: the xDS server, whose Envoys get the public keys of sessions.
        env: the environment. ``STATE_DIRECTORY``, which systemd sets, names the folder for the session secret.
        folder: folder to use if this variable is not set; ``""`` if there is none.

    """

    def __init__(self, ads: AdsServer, env: Mapping[str, str], folder: str) -> None:
        self._ads = ads
        self._folder = env.get("STATE_DIRECTORY", "").partition(":")[0] or folder
        self._keys: SessionKeys | None = None
        self._secret = b""
        self._failure = ""
        self._providers: Providers | None = None
        self._sign_in: SignIn | None = None
        self._captcha: CaptchaCheck | None = None

    def complete(self, options: GatewayOptions) -> GatewayOptions:
        """Return the gateway's settings with the public keys of sessions added, if sessions are in use."""
        if self._keys is None and not self._failure:
            return options
        try:
            self._begin(options)
        except PilotageError as error:
            self._report(error)
        else:
            self._failure = ""
        return msgspec.structs.replace(options, session_keys=self._keys.public) if self._keys is not None else options

    def follow(self, table: Table, aliases: Iterable[str]) -> None:
        """Start the sign-in soon, if one of these routes needs it."""
        if self._keys is not None or self._failure:
            return
        routes = (table.routes.get(alias) for alias in aliases)
        if any(it is not None and (route_policy(it.middlewares).signs_in or route_rules(it).signs_in) for it in routes):
            asyncio.get_running_loop().call_soon(self._begin_now)  # the table is being published

    def resume(self) -> None:
        """Start at once if a secret already exists, so that a restart does not change Envoys' listeners."""
        kept = bool(self._folder) and (Path(self._folder) / _FILE).exists()
        if kept or self._ads.snapshot.options.oidc.session_key_file:
            self._begin_now()

    def _begin_now(self) -> None:
        options = self._ads.snapshot.options
        try:
            self._begin(options)
        except PilotageError as error:
            self._report(error)
        else:
            self._ads.configure(self.complete(options))

    def _report(self, error: PilotageError) -> None:
        """Report that the secret cannot be read. The previous secret, if any, stays in use."""
        self._failure = str(error)
        if self._keys is None:
            log.error("%s; requests to routes with the middleware oidc or hcaptcha are refused", error)
        else:
            log.error("%s; the previous session secret stays in use", error)

    async def check(self, asked: Asked) -> Any:
        """Answer an Envoy's check of a request."""
        if self._sign_in is None:
            return error_page(asked, 503, "Signing in does not work at the moment.", "Try again in a moment.")
        return await self._sign_in.check(asked)

    async def check_captcha(self, asked: Asked) -> Any:
        """Answer an Envoy's check of a request to a route whose visitors must solve a captcha."""
        if self._captcha is None:
            return error_page(asked, 503, "Captchas do not work at the moment.", "Try again in a moment.")
        return await self._captcha.check(asked)

    async def check_both(self, asked: Asked) -> Any:
        """Answer a check of a request that needs a solved captcha before the user may sign in."""
        answer = await self.check_captcha(asked)
        return await self.check(asked) if answer.HasField("ok_response") else answer

    async def close(self) -> None:
        """Close the connections to providers."""
        if self._providers is not None:
            await self._providers.close()
        if self._captcha is not None:
            await self._captcha.close()

    def _begin(self, options: GatewayOptions) -> None:
        from pilotage.request_service.captcha import CaptchaCheck  # noqa: PLC0415  # not needed without such a route
        from pilotage.request_service.providers import Providers  # noqa: PLC0415
        from pilotage.request_service.sign_in import SignIn  # noqa: PLC0415

        defaults = options.oidc
        secret = self._read_secret(defaults)
        if self._keys is None or secret != self._secret:
            self._keys, self._secret = SessionKeys(secret), secret
        self._providers = self._providers or Providers()
        self._sign_in = SignIn(self._keys, self._providers, self._find, session_seconds=int(defaults.session_seconds))
        self._captcha = (
            self._captcha.with_settings(self._keys, options.captcha)
            if self._captcha is not None
            else CaptchaCheck(self._keys, options.captcha, self._guarded)
        )

    def _guarded(self, key: str) -> Guarded | None:
        from pilotage.request_service.captcha import Guarded  # noqa: PLC0415

        backend = self._ads.snapshot.backend(key)
        captcha = backend.route_policy.captcha if backend is not None else None
        if backend is None or captcha is None:
            return None
        return Guarded(
            captcha=captcha,
            valid_for=captcha_audience(backend.key, captcha),
            name=backend.name,
            sends_address=backend.route_policy.address_from is None,
        )

    def _find(self, key: str) -> Protected | None:
        from pilotage.request_service.sign_in import Protected  # noqa: PLC0415

        snapshot = self._ads.snapshot
        backend = snapshot.backend(key)
        options = options_of(backend, snapshot.options) if backend is not None else None
        if backend is None or options is None:
            return None
        named = options.issuer_url.rstrip("/") == snapshot.options.oidc.issuer_url.rstrip("/")
        return Protected(
            options=options,
            valid_for=audience(backend.key, options),
            name=backend.name,
            trusted=backend.route.is_static or named,
        )

    # ---- the session secret

    def _read_secret(self, defaults: OidcDefaults) -> bytes:
        """Return the configured secret, or else the one in the folder. Create that one if it does not exist yet.

        Raises:
            PilotageError: a file cannot be read, or its secret is too short.

        """
        if defaults.session_key_file:
            return _secret_in(Path(defaults.session_key_file))
        if defaults.session_key:
            return defaults.session_key.encode()
        if not self._folder:
            return self._secret or self._temporary("there is no state folder")
        path = Path(self._folder) / _FILE
        try:
            return _made_secret(path)
        except OSError as error:
            return self._secret or self._temporary(f"{path}: {error.strerror or type(error).__name__}")

    @staticmethod
    def _temporary(why: str) -> bytes:
        log.warning(
            "users have to sign in again after each restart, because the session secret cannot be saved (%s); "
            "set oidc.session_key_file",
            why,
        )
        return secrets.token_bytes(SHORTEST_SECRET)


def _secret_in(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            secret = file.read(_LARGEST).strip()
    except OSError as error:
        raise PilotageError(f"{path} cannot be read: {error.strerror}; give this user access to it") from error
    if len(secret) < SHORTEST_SECRET:
        message = f"the session secret in {path} is shorter than {SHORTEST_SECRET} characters"
        raise PilotageError(f"{message}; create one with: openssl rand -hex 32")
    return secret


def _made_secret(path: Path) -> bytes:
    """Return the secret in a file. If there is no file, create it atomically, readable only by this user."""
    if not path.exists():
        temporary = path.with_name(f".{path.name}-{os.getpid()}")
        with permissions(0o600):
            temporary.write_text(f"{secrets.token_hex(SHORTEST_SECRET)}\n")
        try:
            os.link(temporary, path)
        except FileExistsError:  # another process was first
            pass
        finally:
            temporary.unlink()
    return _secret_in(path)


def start_sign_in(ads: AdsServer, env: Mapping[str, str], folder: str, stack: AsyncExitStack) -> SignInKeeper:
    """Let the xDS server answer the checks of our middlewares.

    Args:
        ads: the xDS server.
        env: the environment.
        folder: as for :class:`SignInKeeper`.
        stack: closes the connections to providers.

    """
    keeper = SignInKeeper(ads, env, folder)
    handlers = {OIDC: keeper.check, CAPTCHA: keeper.check_captcha, BOTH: keeper.check_both}
    ads.on_check = RequestService({**handlers, RULES: _check_rules(ads, stack)}).check
    ads.on_body = _change_bodies(ads, stack)
    ads.targets.on_touched.append(keeper.follow)
    stack.push_async_callback(keeper.close)
    keeper.resume()
    return keeper


def _check_rules(ads: AdsServer, stack: AsyncExitStack) -> Callable[[Asked], Awaitable[Any]]:
    """Return the function that tests conditions of rules. Its parts are loaded when a route first needs them."""
    services: list[RuleChecks] = []

    def conditions(key: str) -> tuple[Check, ...] | None:
        backend = ads.snapshot.backend(key)
        return backend.rules.asked if backend is not None else None

    async def check(asked: Asked) -> Any:
        if not services:
            from pilotage.request_service.rule_checks import RuleChecks  # noqa: PLC0415

            services.append(RuleChecks(conditions))
            stack.callback(services[0].close)
        return await services[0].check(asked)

    return check


def _change_bodies(ads: AdsServer, stack: AsyncExitStack) -> Callable[[AsyncIterator[Any], str], AsyncIterator[Any]]:
    """Return the object that changes response bodies. Its parts are loaded when a route first needs them."""
    services: list[BodyService] = []

    def wanted(key: str) -> tuple[tuple[HtmlChange, ...], str]:
        backend = ads.snapshot.backend(key)
        if backend is None:
            return (), ""
        policy = backend.route_policy
        return policy.changes, ads.snapshot.options.error_pages if policy.error_page else ""

    def process(requests: AsyncIterator[Any], backend: str) -> AsyncIterator[Any]:
        if not services:
            from pilotage.request_service.bodies import BodyService  # noqa: PLC0415

            services.append(BodyService(wanted))
            stack.callback(services[0].close)
        return services[0].process(requests, backend)

    return process
