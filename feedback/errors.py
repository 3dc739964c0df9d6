"""Every error that Whetstone raises on purpose, in one tree.

::

    WhetstoneError
    +-- ConfigError            a setting is missing, malformed or contradicts another
    +-- AccessError
    |   +-- InvalidKey         no such API key, or it is revoked or expired
    |   +-- Forbidden          the key's role may not do this
    |   +-- Paused             the labeler is given nothing until an operator resumes them
    +-- DataError
    |   +-- InvalidRow         a row of a data file is unusable; names file, line and reason
    |   +-- InvalidRecord      a record breaks its own rules (a ranking that is no permutation, say)
    +-- LedgerError
    |   +-- LedgerUnavailable  Redis cannot be reached or refuses to write
    |   +-- NotDurable         Redis may lose what it acknowledges
    |   +-- NotFound           no record under that id
    |   +-- Conflict           the move is not legal in the present state
    |       +-- LeaseLost      the lease expired or went to somebody else
    |       +-- MustAcknowledge  the labeler has not agreed to the guidelines as they are now
    |       +-- MustPractise   the labeler has not passed the practice items
    +-- ArtifactError
    |   +-- ArtifactMissing    a file or directory that a record names is not there
    |   +-- ArtifactCorrupt    a file does not match its manifest
    |   +-- RunFinished        this very run has ended and published its output
    +-- ServingError
    |   +-- EngineError        the inference engine failed or never started
    |   +-- SwapFailed         new weights were not put into service; the old ones answer
    |   |   +-- SwapDeferred   not now: the slot did not finish its requests in time
    |   +-- UnknownModel       the request names a model that no slot holds
    |   +-- Overloaded         the system is out of capacity for now
    |   +-- RateLimited        the caller is over a limit of its own
    |   |   +-- TooManyLeases    the labeler holds as many items as they may
    |   |   +-- DailyCapReached  the labeler had as many items today as they may
    |   +-- DeadlinePassed     the answer was not complete when the caller's deadline passed
    +-- TrainingError
        +-- Diverged           loss or KL left the allowed range
        +-- DiskFull           there is no room for a run's files; it can go on when there is
        +-- StageFailed        a training stage ended with an error
            +-- PeerLost       another process of the same run ended or does not answer
"""


class WhetstoneError(Exception):
    """Root of the tree; the message is one line that a person can act on."""


class ConfigError(WhetstoneError):
    """A setting is missing, malformed or contradicts another."""


class AccessError(WhetstoneError):
    """The caller may not do this."""


class InvalidKey(AccessError):
    """No such API key, or it is revoked or expired."""


class Forbidden(AccessError):
    """The key's role may not do this."""


class Paused(AccessError):
    """The labeler is given nothing until an operator resumes them; the message says why."""


class DataError(WhetstoneError):
    """Data from outside is unusable."""


class InvalidRow(DataError):
    """A row of a data file is unusable; names file, line and reason."""


class InvalidRecord(DataError):
    """A record breaks its own rules."""


class LedgerError(WhetstoneError):
    """The ledger refused or could not be reached."""


class LedgerUnavailable(LedgerError):
    """Redis cannot be reached or refuses to write."""


class NotDurable(LedgerError):
    """Redis is reachable and may lose what it acknowledges."""


class NotFound(LedgerError):
    """No record under that id."""


class Conflict(LedgerError):
    """The move is not legal in the present state."""


class LeaseLost(Conflict):
    """The lease expired or went to somebody else."""


class MustAcknowledge(Conflict):
    """The labeler has not agreed to the guidelines as they are now."""


class MustPractise(Conflict):
    """The labeler has not passed the practice items."""


class ArtifactError(WhetstoneError):
    """A stored file is not what its record says."""


class ArtifactMissing(ArtifactError):
    """A file or directory that a record names is not there."""


class ArtifactCorrupt(ArtifactError):
    """A file does not match its manifest."""


class RunFinished(ArtifactError):
    """This very run has ended and published its output; ``metrics`` are its metrics."""

    def __init__(self, message: str, metrics: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.metrics = metrics or {}


class ServingError(WhetstoneError):
    """The serving side failed."""


class EngineError(ServingError):
    """The inference engine failed or never started."""


class SwapFailed(ServingError):
    """New weights were not put into service; the old ones answer."""


class SwapDeferred(SwapFailed):
    """The slot did not finish its requests in time; worth another try later."""


class UnknownModel(ServingError):
    """The request names a model that no slot holds."""


class Overloaded(ServingError):
    """The system is out of capacity for now; ``retry_after_s`` says when to ask again."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(ServingError):
    """The caller is over a limit of its own; ``retry_after_s`` says when to ask again."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyLeases(RateLimited):
    """The labeler holds as many items as they may."""


class DailyCapReached(RateLimited):
    """The labeler had as many items today as they may."""


class DeadlinePassed(ServingError):
    """The answer was not complete when the caller's deadline passed."""


class TrainingError(WhetstoneError):
    """A training run cannot go on."""


class Diverged(TrainingError):
    """Loss or KL left the allowed range."""


class DiskFull(TrainingError):
    """There is no room for a run's files; the run can go on when there is."""


class StageFailed(TrainingError):
    """A training stage ended with an error."""


class PeerLost(StageFailed):
    """Another process of the same run ended or does not answer; its own message says why."""
