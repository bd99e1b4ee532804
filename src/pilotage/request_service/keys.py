"""Derives two keys from one secret: one signs sessions, the other encrypts what browsers keep for the gateway."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from typing import TYPE_CHECKING, Any, Final

from pilotage.core.errors import PilotageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["SHORTEST_SECRET", "SessionKeys"]

SHORTEST_SECRET: Final = 32
"""Minimum number of bytes of a secret."""

# The order of the group of the curve P-256 (SEC 2, section 2.4.2).
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_NONCE: Final = 12  # bytes, as usual for AES-GCM
_LONGEST: Final = 8192  # characters of a sealed text


class SessionKeys:
    """The keys of all gateways that accept one another's sessions.

    Args:
        secret: at least :data:`SHORTEST_SECRET` random bytes, the same for all these gateways.

    Attributes:
        public: the public keys of sessions, as a JSON Web Key Set.
        key_id: the name of the key that signs sessions.

    Raises:
        PilotageError: the package ``cryptography`` or ``PyJWT`` is not installed.

    """

    def __init__(self, secret: bytes) -> None:
        try:
            import jwt  # noqa: F401, PLC0415  # an optional package
            from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415  # likewise
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
        except ImportError as error:
            message = "users cannot sign in, because packages for OpenID Connect are not installed"
            raise PilotageError(f"{message}; run pip install 'pilotage[oidc]'") from error
        number = int.from_bytes(_derived(secret, b"pilotage session signature", 48)) % (_ORDER - 1) + 1
        self._signing: ec.EllipticCurvePrivateKey = ec.derive_private_key(number, ec.SECP256R1())
        self._sealing = AESGCM(_derived(secret, b"pilotage sealed texts", 32))
        point = self._signing.public_key().public_numbers()
        x, y = (_text(value.to_bytes(32)) for value in (point.x, point.y))
        self.key_id = hashlib.sha256(f"{x}.{y}".encode()).hexdigest()[:16]
        key = {"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256", "kid": self.key_id}
        self.public = json.dumps({"keys": [key]})

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a JSON Web Token with these claims."""
        import jwt  # noqa: PLC0415

        token: str = jwt.encode(claims, self._signing, algorithm="ES256", headers={"kid": self.key_id})
        return token

    def verify(self, token: str, issuer: str) -> dict[str, Any] | None:
        """Return the claims of a token; ``None`` if it has expired or :meth:`sign` did not make it for this issuer."""
        import jwt  # noqa: PLC0415

        if len(token) > _LONGEST:
            return None
        options: Any = {"require": ["exp", "iss"], "verify_aud": False}
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._signing.public_key(), algorithms=["ES256"], issuer=issuer, options=options
            )
        except (jwt.PyJWTError, ValueError):
            return None
        return claims

    def seal(self, purpose: str, text: str) -> str:
        """Encrypt a text, so that the browser that keeps it can neither read nor change it.

        Args:
            purpose: what the text is for. :meth:`open` needs the same purpose.
            text: the text.

        """
        nonce = os.urandom(_NONCE)
        return _text(nonce + self._sealing.encrypt(nonce, text.encode(), purpose.encode()))

    def open(self, purpose: str, sealed: str) -> str | None:
        """Return the text that :meth:`seal` encrypted for this purpose; ``None`` if ``sealed`` is anything else."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        if len(sealed) > _LONGEST or not sealed.isascii():
            return None
        try:
            data = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
            return self._sealing.decrypt(data[:_NONCE], data[_NONCE:], purpose.encode()).decode()
        except (ValueError, InvalidTag):
            return None


def _derived(secret: bytes, purpose: bytes, length: int) -> bytes:
    """Derive a key from a secret with HKDF, using SHA-256 and no salt (RFC 5869)."""
    key = hmac.digest(bytes(32), secret, "sha256")
    block, found = b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + purpose + bytes((number,)), "sha256")
        found += block
    return found[:length]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
