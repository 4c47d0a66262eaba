"""Which errors may pass by themselves, and how long to wait for that."""

from __future__ import annotations

from collections.abc import Callable

THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "KMSThrottlingException",
        "LimitExceededException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
    }
)

# What no retry mends. Expired credentials are not among them: the AWS SDK fetches new ones.
PERMANENT = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "IncompleteSignature",
        "InvalidArgumentException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "KMSInvalidStateException",
        "KMSNotFoundException",
        "KMSOptInRequired",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NoCredentialsError",
        "NoRegionError",
        "NotAuthorized",
        "OptInRequired",
        "ParamValidationError",
        "ResourceNotFoundException",
        "SerializationException",
        "SignatureDoesNotMatch",
        "UnknownOperationException",
        "UnrecognizedClientException",
        "ValidationError",
        "ValidationException",
    }
)

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0


def backoff(failures: int, random: Callable[[], float]) -> float:
    """Seconds to wait after so many failures: exponential, with full jitter.

    "Exponential Backoff And Jitter", AWS Architecture Blog: full jitter takes the fewest calls.
    """
    return random() * min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(failures - 1, 16))
