"""AWS credentials: those that botocore finds, and those of a role, which botocore renews in time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from anyrerank._core.runtime import import_optional

AWS_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


def resolved_aws_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with the credentials of their role, or those that botocore finds, and with its region."""
    for module in ("botocore.auth", "botocore.awsrequest", "botocore.credentials"):
        import_optional(module, "bedrock")
    has_keys, role = "aws_access_key_id" in settings, settings.get("aws_role_name")
    if has_keys and "aws_region_name" in settings and not role:
        return dict(settings)
    session = aws_session_for(settings.get("aws_profile_name"), settings.get("aws_region_name"))
    keys = {}
    if role:
        given = tuple(settings.get(name) for name in AWS_KEYS) if has_keys else None
        keys = _frozen(
            _of_role(
                session,
                given,
                role,
                name=settings.get("aws_session_name"),
                external_id=settings.get("aws_external_id"),
                web_identity=settings.get("aws_web_identity_token"),
            )
        )
    elif not has_keys:
        keys = _frozen(session.get_credentials())
    others = {name: value for name, value in settings.items() if name not in AWS_KEYS or not keys}
    region = settings.get("aws_region_name") or session.get_config_variable("region")
    return {**others, **keys, **({"aws_region_name": region} if region else {})}


def _frozen(credentials: Any) -> dict[str, str]:
    if credentials is None:
        raise import_optional("botocore.exceptions", "bedrock").NoCredentialsError
    frozen = credentials.get_frozen_credentials()
    found = zip(AWS_KEYS, (frozen.access_key, frozen.secret_key, frozen.token), strict=True)
    return {name: value for name, value in found if value}


@lru_cache(maxsize=8)
def aws_session_for(profile: str | None, region: str | None) -> Any:
    """A botocore session, which caches credentials and renews them, asking STS in the given region."""
    session = import_optional("botocore.session", "bedrock").Session(profile=profile)
    if region:
        session.set_config_variable("region", region)
    return session


@lru_cache(maxsize=64)
def _of_role(
    session: Any,
    keys: tuple[str | None, ...] | None,
    role: str,
    *,
    name: str | None,
    external_id: str | None,
    web_identity: str | None,
) -> Any:
    """The credentials of a role, which are fetched when they are first needed.

    Args:
        session: Asks STS.
        keys: Access key, secret and token that may assume the role; by default those that botocore finds.
        role: Its ARN.
        name: Of the role session, for the logs of AWS.
        external_id: What the role may require of third parties.
        web_identity: An OIDC token, or the path of a file that holds one, which replaces the keys.
    """
    credentials = import_optional("botocore.credentials", "bedrock")
    more = {"RoleSessionName": name or "anyrerank", **({"ExternalId": external_id} if external_id else {})}
    if web_identity:
        more.pop("ExternalId", None)  # which STS does not take with an identity
        fetcher = credentials.AssumeRoleWithWebIdentityCredentialFetcher(
            session.create_client, lambda: _token(web_identity), role, extra_args=more
        )
    else:
        source = credentials.Credentials(*keys) if keys else session.get_credentials()
        if source is None:
            raise import_optional("botocore.exceptions", "bedrock").NoCredentialsError
        fetcher = credentials.AssumeRoleCredentialFetcher(session.create_client, source, role, extra_args=more)
    return credentials.DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")


def _token(given: str) -> str:
    """An OIDC token; one in a file is read again each time, because it is replaced before it expires."""
    is_path = len(given) < 1000 and not given.startswith("ey")
    return Path(given).read_text(encoding="utf-8").strip() if is_path and Path(given).is_file() else given
