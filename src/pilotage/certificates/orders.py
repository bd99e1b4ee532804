"""Obtains one certificate from a CA: order, challenges, certificate (RFC 8555, section 7.4)."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from acme import errors, messages

from pilotage.certificates.challenges import challenge_for
from pilotage.certificates.errors import CertificateError
from pilotage.certificates.failures import failure_of_names
from pilotage.certificates.threads import in_thread
from pilotage.certificates.x509 import Leaf, make_key, make_request, pem_of_key, read_pair, renewal_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pilotage.certificates.account import Account
    from pilotage.certificates.challenges import Solver
    from pilotage.certificates.client import AcmeClient
    from pilotage.certificates.settings import KeyType, Method

__all__ = ["Issued", "connect", "obtain", "renewal_window"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_STEP: Final = 300.0  # seconds for one step, which may be several requests
_VALIDATION: Final = 180.0  # seconds for the CA to validate all names
_ISSUANCE: Final = 120.0  # seconds for the CA to issue the certificate
_POLL: Final = 1.0
_LONGEST_ARI: Final = 86_400.0
_LONGEST_POLL: Final = 30.0
"""Seconds between two checks of an authorization: the usual pause, and the longest one that a CA can request."""


class Issued(msgspec.Struct, frozen=True):
    """A new certificate: PEM chain, PEM key and the certificate's details. The ``repr`` hides the key."""

    chain: bytes
    key: bytes
    leaf: Leaf

    def __repr__(self) -> str:
        return f"Issued({self.leaf!r}, <hidden>)"


async def connect(account: Account) -> None:
    """Register an account, unless it is registered.

    Raises:
        CertificateError: the CA does not respond, or refuses.

    """
    try:
        await in_thread(account.connect, _STEP)
    except TimeoutError as error:
        raise _too_slow(account) from error


async def _step(account: Account, function: Callable[[], _T]) -> _T:
    try:
        return await in_thread(lambda: account.call(function), _STEP)
    except TimeoutError as error:
        raise _too_slow(account) from error


def _too_slow(account: Account) -> CertificateError:
    return CertificateError(f"{account.name} did not respond in time", "pilotage tries again")


async def obtain(
    account: Account,
    names: Sequence[str],
    method: Method,
    solver: Solver,
    key_type: KeyType,
    *,
    replaced: bytes = b"",
) -> Issued:
    """Obtain a certificate with a new key.

    Args:
        account: our account with the CA.
        names: the host names.
        method: how the CA validates the host names.
        solver: answers the challenges.
        key_type: type of the new key.
        replaced: PEM chain of the certificate from the same CA that it replaces; empty for none.

    Raises:
        CertificateError: the CA did not issue the certificate.

    """
    await connect(account)
    key = await in_thread(lambda: make_key(key_type), _STEP)  # RSA keys take seconds
    request = make_request(key, names)
    acme: AcmeClient = account.client
    try:
        order = await _ordered(account, acme, request, replaced)
    except CertificateError as error:
        if isinstance(error.__cause__, messages.Error) and error.__cause__.code == "accountDoesNotExist":
            account.forget()
        raise
    pending = [it for it in order.authorizations if it.body.status == messages.STATUS_PENDING]
    wanted = [(it.body.identifier.value, challenge_for(it, method)) for it in pending]
    async with solver.answering(wanted, account.key):
        for _, body in wanted:
            await _step(account, partial(acme.answer_challenge, body, body.chall.response(account.key)))
        await _validated(account, acme, order, method)
    until = dt.datetime.now() + dt.timedelta(seconds=_ISSUANCE)  # noqa: DTZ005  # the library compares local times
    order = await _step(account, lambda: acme.finalize_order(order, until))
    chain = order.fullchain_pem.encode()
    private = pem_of_key(key)
    try:
        leaf = read_pair(chain, private)
    except ValueError as error:
        raise CertificateError(f"{account.name} sent an unusable certificate: {error}") from error
    if missing := {name.lower() for name in names} - set(leaf.names):
        raise CertificateError(f"{account.name} sent a certificate without {', '.join(sorted(missing))}")
    return Issued(chain, private, leaf)


async def _ordered(account: Account, acme: AcmeClient, request: bytes, replaced: bytes) -> Any:
    """Begin an order. Name the certificate that it replaces, because limits are then higher, if the CA knows ARI."""
    profile = account.authority.profile or None
    replaces = renewal_id(replaced) if replaced and acme.offers_renewal_info else ""
    try:
        return await _step(account, lambda: acme.new_order(request, profile, replaces))
    except CertificateError as error:
        if not replaces or not _refuses_replacement(error.__cause__):
            raise
        log.info("%s; ordering without naming the certificate that is replaced", error.what)
    return await _step(account, lambda: acme.new_order(request, profile))


def _refuses_replacement(cause: BaseException | None) -> bool:
    """Return whether an order may succeed if it replaces no certificate, such as one that has been replaced already."""
    if isinstance(cause, errors.ConflictError):  # the library's form of alreadyReplaced
        return True
    return isinstance(cause, messages.Error) and cause.code not in {"rateLimited", "accountDoesNotExist"}


async def _validated(account: Account, acme: AcmeClient, order: Any, method: Method) -> None:
    """Wait until the CA has validated all names of an order."""
    waiting = list(order.authorizations)
    failed: dict[str, messages.Error] = {}
    deadline = asyncio.get_running_loop().time() + _VALIDATION
    pause = 0.2  # most CAs need a moment only
    while waiting:
        if asyncio.get_running_loop().time() > deadline:
            names = frozenset(it.body.identifier.value for it in waiting)
            message = f"{account.name} did not validate {', '.join(sorted(names))} in time"
            raise CertificateError(message, "pilotage tries again", names=names, validated=True)
        await asyncio.sleep(pause)
        pause = min(max(_POLL, account.retry_after), _LONGEST_POLL)
        still = []
        for known in waiting:
            found, _ = await _step(account, partial(acme.poll, known))
            status = found.body.status
            if status in (messages.STATUS_PENDING, messages.STATUS_PROCESSING):
                still.append(known)
            elif status != messages.STATUS_VALID:
                errors = [body.error for body in found.body.challenges if body.error is not None]
                failed[_name(found)] = errors[0] if errors else _unexplained(status)
        waiting = still
    if failed:
        raise failure_of_names(failed, account, method)


def _unexplained(status: Any) -> messages.Error:
    found: messages.Error = messages.Error.from_json({"detail": f"the CA reports the status {status.name}"})
    return found


def _name(authorization: Any) -> str:
    name = authorization.body.identifier.value.lower()
    return f"*.{name}" if authorization.body.wildcard else name


async def renewal_window(account: Account, chain: bytes) -> tuple[float | None, float]:
    """Ask a CA when to renew a certificate (RFC 9773).

    Returns:
        A random time in the window that the CA suggests, in seconds since 1970 (``None`` if it suggests none), and the
        number of seconds after which to ask again, at most a day.

    Raises:
        CertificateError: the CA cannot be reached.

    """
    await connect(account)
    acme: AcmeClient = account.client
    when, again = await _step(account, lambda: acme.renewal_time(chain))
    return (when.timestamp() if when is not None else None), min(again.timestamp() - time.time(), _LONGEST_ARI)
