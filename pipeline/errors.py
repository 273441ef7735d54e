"""The exceptions of the pipeline, each with the exit code that a shell sees.

Bad data is never an exception: it is a `Finding`. An exception says that somebody asked for what cannot be done, that a part is missing or
broken, or that the record no longer agrees with itself. A message says what, where, and what to do; never a cell value.

    OpenOutcomesError
    ├── UsageError               2  the call's words are wrong
    ├── ConfigurationError       3  a setting is missing or unusable, or the workspace is not initialised
    ├── NotFoundError            4  there is no such project, submission, release, object
    ├── ConflictError            5  somebody else was there first
    │   ├── StaleStreamError        the stream has moved on since it was read
    │   └── ObjectConflictError     other bytes stand under that name
    ├── NotAllowedError          6  the state of the thing, or who you are, forbids it
    │   └── HeldError               a return that passed waits for what a person has to say
    ├── IntegrityError           7  the log, a release or a stored object is not what was recorded
    ├── UnavailableError         8  a store or the log cannot be reached, or is full
    ├── RuleError                9  a schema, suite, rule or table definition of ours is broken
    └── ErasedError             10  it was destroyed when a participant was erased, as it had to be: no alarm, and no way back
"""


class OpenOutcomesError(Exception):
    """Anything that the pipeline raises on purpose."""

    exit_code = 70


class UsageError(OpenOutcomesError):
    """The call's words are wrong."""

    exit_code = 2


class ConfigurationError(OpenOutcomesError):
    """A setting is missing or unusable, or the workspace is not initialised."""

    exit_code = 3


class NotFoundError(OpenOutcomesError):
    """There is no such project, submission, release or object."""

    exit_code = 4


class ConflictError(OpenOutcomesError):
    """Somebody else was there first."""

    exit_code = 5


class StaleStreamError(ConflictError):
    """The stream has moved on since it was read: read it again and decide again."""


class ObjectConflictError(ConflictError):
    """Other bytes already stand under that name, and stored objects are never overwritten."""


class NotAllowedError(OpenOutcomesError):
    """The state of the thing, or who is asking, forbids it."""

    exit_code = 6


class HeldError(NotAllowedError):
    """A return that passed waits for what a person has to say: a coded reason, or an explanation. `why` is the code of what it waits for."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class IntegrityError(OpenOutcomesError):
    """The log, a release or a stored object is not what was recorded."""

    exit_code = 7


class UnavailableError(OpenOutcomesError):
    """A store or the log cannot be reached, or is full; nothing was half done."""

    exit_code = 8


class RuleError(OpenOutcomesError):
    """A schema, suite, rule or table definition of ours is broken: the data was not judged."""

    exit_code = 9


class ErasedError(OpenOutcomesError):
    """It was destroyed when a participant was erased: what was published can be verified, but no longer rebuilt."""

    exit_code = 10
