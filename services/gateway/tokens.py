"""JSON Web Tokens of an outside issuer: checked for signature, issuer, audience and time, and read for our claims.

Claims: `sub` (name of the caller), `exp`, `iss`, `aud`, `atelier_tenant` (GUID), `atelier_role` (viewer, runner,
editor or admin) and, to confine the token to one project, `atelier_project` (GUID).
"""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

import aiohttp
import jwt
import structlog

from services.gateway.model import Principal, Role
from services.gateway.settings import MIN_RSA_BITS, JwtSettings
from shared.errors import Unauthorized, Unavailable

log = structlog.get_logger(__name__)

LEEWAY_S = 30
"""How far the issuer's clock may be off, in seconds."""

KEYS_FRESH_S = 300.0
"""How long a fetched key set is used before it is fetched again, in seconds."""

KEYS_RETRY_S = 10.0
"""A key set is not fetched more often than this, in seconds: a flood of odd tokens must not reach the issuer."""

FETCH_TIMEOUT_S = 3.0
"""How long the issuer may take to hand out its keys, in seconds."""

TOKEN_TYPES = frozenset({"jwt", "at+jwt"})
"""Media types that a token's header may name, without `application/`."""

_NO_KEYS = "The token issuer's keys cannot be fetched; try again shortly."

_REFUSED = "The token is not valid, or has expired."


class TokenVerifier:
    """Believes tokens of one configured issuer."""

    def __init__(self, settings: JwtSettings) -> None:
        self._settings = settings
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def verify(self, token: str) -> Principal:
        """Who the token speaks for. Raises Unauthorized, or Unavailable when the issuer's keys cannot be had."""
        settings = self._settings
        if settings.issuer is None or not (settings.key or settings.jwks_url):
            raise Unauthorized("The credential is not valid.")
        try:
            check_type(token)
            key = await self._key_for(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=settings.algorithm_names,
                issuer=settings.issuer,
                audience=settings.audience,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "sub"], "verify_aud": settings.audience is not None},
            )
        except jwt.PyJWTError as error:
            raise Unauthorized(_REFUSED) from error
        return principal_of(claims)

    async def _key_for(self, token: str) -> jwt.PyJWK | str:
        if self._settings.jwks_url is None:
            assert self._settings.key is not None  # noqa: S101 - verify() has looked
            return self._settings.key.get_secret_value()
        identity = str(jwt.get_unverified_header(token).get("kid", ""))
        if identity not in self._keys or time.monotonic() - self._fetched_at > KEYS_FRESH_S:
            await self._fetch(self._settings.jwks_url)
        if identity not in self._keys:
            if self._tried_at > self._fetched_at:  # perhaps one of the keys that could not be fetched
                raise Unavailable(_NO_KEYS)
            raise Unauthorized(_REFUSED)
        return self._keys[identity]

    async def _fetch(self, url: str) -> None:
        async with self._fetching:
            if time.monotonic() - self._tried_at < KEYS_RETRY_S:
                return
            self._tried_at = time.monotonic()
            try:
                timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
                async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
                    response.raise_for_status()
                    found = jwt.PyJWKSet.from_dict(await response.json(content_type=None))
            except (aiohttp.ClientError, TimeoutError, ValueError, jwt.PyJWTError) as error:
                log.warning("the issuer's keys cannot be had", reason=type(error).__name__)
                if not self._keys:
                    raise Unavailable(_NO_KEYS) from error
                return
            self._keys = {key.key_id or "": key for key in found.keys if _is_strong(key)}
            self._fetched_at = time.monotonic()


def check_type(token: str) -> None:
    """Raise PyJWTError unless the header's `typ` is absent, or that of a JWT or an access token (RFC 7519 section 5.1,
    RFC 9068): a token made for something else, such as a logout token, is no credential."""
    kind = jwt.get_unverified_header(token).get("typ")
    if kind is not None and str(kind).lower().removeprefix("application/") not in TOKEN_TYPES:
        raise jwt.InvalidTokenError("the token is of another type")


def _is_strong(key: jwt.PyJWK) -> bool:
    """Whether a published key is long enough for what it signs."""
    size = getattr(key.key, "key_size", None)
    weak = isinstance(size, int) and key.algorithm_name.startswith(("RS", "PS")) and size < MIN_RSA_BITS
    if weak:
        log.warning("a key of the issuer is ignored: it is too short", key_id=key.key_id, bits=size)
    return not weak


def principal_of(claims: dict[str, object]) -> Principal:
    """The principal that checked claims describe. Raises Unauthorized when ours are missing or malformed."""
    subject = claims.get("sub")
    project = claims.get("atelier_project")
    try:
        tenant_id = UUID(str(claims.get("atelier_tenant")))
        project_id = None if project is None else UUID(str(project))
        role = Role[str(claims.get("atelier_role"))]
    except (ValueError, KeyError) as error:
        raise Unauthorized("The token lacks a valid atelier_tenant, atelier_project or atelier_role claim.") from error
    if not isinstance(subject, str) or not subject or len(subject) > 200 or "\x00" in subject:
        raise Unauthorized("The token's sub claim is not a name of at most 200 characters.")
    return Principal(
        credential=f"jwt:{claims.get('iss')}:{subject}",
        subject=subject,
        tenant_id=tenant_id,
        project_id=project_id,
        role=role,
    )
