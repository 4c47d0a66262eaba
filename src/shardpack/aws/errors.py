"""What an error of a call is, whether it may pass by itself, and how long to wait for that."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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

REMEDIES = {
    "NoRegionError": "no AWS region is set: name one (--region, or region_name in Python), set AWS_DEFAULT_REGION, or"
    " choose a profile that has one",
    "NoCredentialsError": "no AWS credentials were found: choose a profile (--profile, or profile_name in Python), set"
    " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role",
}
"""Of what the AWS SDK says without saying what to do."""

_SDK = frozenset({"boto3", "botocore", "urllib3"})  # the last one's errors come through while an answer is read
_OLD_CREDENTIALS = "refreshed credentials are still expired"  # botocore's `RefreshableCredentials`, in a RuntimeError
_READ_ANSWERS = frozenset({"botocore.parsers", "botocore.endpoint"})
_NO_THREAD = "can't start new thread"  # Python's, while the system has none left

# Of what Python itself raises: connections and files, answers that are cut off or garbled, and a lack of memory.
_MAY_PASS = (OSError, EOFError, UnicodeError, MemoryError)

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0


def backoff(failures: int, random: Callable[[], float]) -> float:
    """Seconds to wait after so many failures: exponential, with full jitter.

    "Exponential Backoff And Jitter", AWS Architecture Blog: full jitter takes the fewest calls.
    """
    return random() * min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(failures - 1, 16))


def is_mistake(error: BaseException) -> bool:
    """Whether what a call raised is a mistake in a program for certain, such as TypeError, which no other try mends.

    For what runs for months, and must not end over a passing error of a library that `is_of_call` does not know.
    """
    is_of_python = type(error).__module__ == "builtins" and not isinstance(error, _MAY_PASS)
    return is_of_python and not (_tells_of_old_credentials(error) or _lacks_thread(error) or _was_no_answer(error))


def may_pass(error: BaseException, code: str) -> bool:
    """Whether what a call raised may pass by itself, so that another try is worth it; its code is `error_of`'s."""
    return code not in PERMANENT and not is_mistake(error)


def error_of(error: BaseException) -> tuple[str, str]:
    """Code and message of what a call raised: the service's own code, else the name of the exception's class."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping) and isinstance(response.get("Error"), Mapping):
        return str(response["Error"].get("Code", type(error).__name__)), str(response["Error"].get("Message", error))
    code = type(error).__name__
    return code, REMEDIES.get(code, str(error))


def is_of_sdk(error: BaseException) -> bool:
    """Whether the AWS SDK raised it: its errors have no class in common."""
    is_its_own = any(kind.__module__.partition(".")[0] in _SDK for kind in type(error).__mro__)
    return is_its_own or _tells_of_old_credentials(error) or _was_no_answer(error)


def _tells_of_old_credentials(error: BaseException) -> bool:
    """Whether a provider of credentials has handed out expired ones, which passes when it has new ones."""
    return isinstance(error, RuntimeError) and _OLD_CREDENTIALS in str(error)


def _was_no_answer(error: BaseException) -> bool:
    """Whether the AWS SDK could not read what came: over JSON of a proxy, its own code may stumble."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_globals.get("__name__") in _READ_ANSWERS


def _lacks_thread(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and str(error) == _NO_THREAD


def is_of_call(error: BaseException) -> bool:
    """Whether a call can raise it: the AWS SDK's errors, a connection's, and those that carry a service's answer.

    Anything else is a bug, of ours or of a client that an application has made. No retry mends that, and no message
    about the stream explains it.
    """
    is_answer = isinstance(getattr(error, "response", None), Mapping)
    return is_of_sdk(error) or is_answer or isinstance(error, OSError) or _lacks_thread(error)
