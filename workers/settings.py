"""Settings of the worker and beat processes.

Adds to `feedback.settings.Settings` what only workers need; built once in ``python -m workers`` and handed down.
"""

from typing import Self

from pydantic import Field, model_validator

from feedback.curation import Rules, rules_of
from feedback.settings import Settings


class WorkerSettings(Settings):
    """What the worker processes need to know."""

    serve_url: str = Field(default="http://127.0.0.1:8000", pattern=r"^https?://[^/]+")
    """Where the API answers; completions are sampled there, so what is judged is what is served."""
    sampler_key: str = ""
    """API key of role client whose consent is off, so that sampling is not logged as customers' prompts."""

    comparison_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the kept train and valid prompts that become comparisons."""
    demonstration_every: int = Field(default=3, ge=0)
    """About one in so many kept train and valid prompts gets a request for a demonstration; 0 for none."""
    max_open_comparisons: int = Field(default=2000, ge=1)
    """Comparisons being sampled or waiting for a labeler, beyond which prompts wait."""
    max_open_demonstrations: int = Field(default=2000, ge=1)
    """Requests for demonstrations waiting for a labeler, beyond which prompts wait."""

    sampling_temperature: float = Field(default=1.0, gt=0, le=2)
    """Temperature of completions for comparisons."""
    sampling_max_tokens: int = Field(default=128, ge=1)
    """Length cap of a completion, tokens."""
    sampling_in_flight: int = Field(default=16, ge=1, le=256)
    """Comparisons that one sampling task works on at a time; the engine batches them."""
    samplers: int = Field(default=1, ge=1, le=256)
    """Sampling tasks that run at a time over all workers."""
    sampling_run_s: float = Field(default=20.0, gt=0, le=40)
    """Seconds after which a sampling task starts nothing new, so that its process can be recycled."""
    sampling_attempt_s: float = Field(default=40.0, gt=0, le=40)
    """Seconds that one comparison may take to sample before it is tried again later."""
    claim_s: float = Field(default=2.0, ge=1, le=600)
    """Seconds without a heartbeat after which a claimed comparison goes to another sampler; fencing makes one that is
    taken from a sampler that was only slow cost time and nothing else."""

    curate_every_s: float = Field(default=1.0, gt=0)
    """Seconds between looks at the log of interactions."""
    sweep_every_s: float = Field(default=5.0, gt=0)
    """Seconds between repairs: overdue leases, lost messages, waiting prompts."""
    audit_every_s: float = Field(default=10.0, gt=0)
    """Seconds between two looks at the quality of new labels."""
    audit_labels: int = Field(default=5000, ge=100, le=100_000)
    """Latest labels that the audit looks at."""
    gold_bar_percent: int = Field(default=80, ge=0, le=100)
    """Share of hidden checks that a labeler has to pass; 0 pauses nobody."""
    review_below_percent: int = Field(default=35, ge=0, le=100)
    """Agreement of three or more labelers on a comparison below which a reviewer decides, percent of pairs; 0 never."""
    consensus_gold: int = Field(default=200, ge=0)
    """Checks with a known answer that the audit makes of what labelers agree on, until there are so many of all."""
    checked_days: int = Field(default=7, ge=1)
    """Days since their last label for which checks are prepared for a labeler."""
    archive_every_s: float = Field(default=30.0, gt=0)
    """Seconds between copies of new interactions into archive segments."""
    copy_every_s: float = Field(default=5.0, gt=0)
    """Seconds between copies of labels, demonstrations and adjudications into archive segments, their second copy."""
    reclaim_s: float = Field(default=30.0, gt=0)
    """Seconds after which interactions that a curator took and did not finish go to another."""
    interactions_kept: int = Field(default=100_000, ge=1000)
    """Archived and curated interactions that stay in the ledger's log."""
    retention_days: int = Field(default=365, ge=1, le=36_500)
    """Days after which archived interactions are deleted; what was curated or labelled of them stays until erased."""

    worker_concurrency: int = Field(default=2, ge=1, le=256)
    """Processes in one worker's pool."""
    workers_metrics_port: int = Field(default=0, ge=0, le=65535)
    """TCP port of the worker's /metrics; 0 for none."""

    @property
    def rules(self) -> Rules:
        """Return the rules of curation that these settings give."""
        return rules_of(self)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.prompt_min_chars > self.prompt_max_chars:
            raise ValueError(f"prompt_min_chars={self.prompt_min_chars} is above {self.prompt_max_chars}, the maximum")
        if self.broker_url == self.ledger_url:
            raise ValueError("broker_url and ledger_url are the same Redis; records and messages need one each")
        return self
