"""Settings of the serving process.

Adds to `feedback.settings.Settings` what only serving needs; built once in ``python -m serve`` and handed down.
"""

import socket
from pathlib import Path
from typing import Literal

from pydantic import Field

from feedback.settings import Settings


class ServeSettings(Settings):
    """What the serving process needs to know."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8000, ge=1, le=65535)
    """TCP port to listen on; taken means refuse to start."""
    replica: str = Field(default_factory=socket.gethostname, min_length=1, max_length=100)
    """Name of this serving process in swap events and heartbeats; must differ between replicas."""
    engine: Literal["vllm", "none"] = "vllm"
    """``none`` starts only the pages and the ledger's routes, on a machine without a model."""

    max_model_len: int | None = Field(default=None, ge=16)
    """Longest prompt plus answer, tokens; by default as many as the policy has positions."""
    max_num_seqs: int = Field(default=64, ge=1, le=4096)
    """Most sequences that one slot decodes together; more wait inside the engine."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """Precision of weights and activations; float32 makes greedy answers equal to transformers' on CPU."""
    kv_cache_gib: float | None = Field(default=1.0, gt=0)
    """Memory for keys and values per slot, GiB; null lets vLLM divide ``gpu_memory_utilization``, on a GPU."""
    gpu_memory_utilization: float = Field(default=0.42, gt=0, lt=1)
    """Share of one GPU's memory per slot; two slots fit below 0.5 each."""
    enforce_eager: bool = True
    """Skip compilation: measured to cost 22 s of start for 2-5 % of speed on CPU. Turn off on a GPU."""
    cpu_cores: str = Field(default="nobind", pattern=r"^(auto|nobind|[0-9,\-|]+)$")
    """Cores that engine threads are bound to, as vLLM's VLLM_CPU_OMP_THREADS_BIND."""
    engine_start_s: float = Field(default=600.0, gt=0)
    """Seconds until an engine that does not come up counts as failed."""

    max_body_bytes: int = Field(default=1 << 20, ge=1024)
    """Largest request body; larger is refused with 413."""
    max_tokens: int = Field(default=256, ge=1)
    """Most tokens that one answer may have; also used when the request names none."""
    max_prompt_bytes: int = Field(default=1 << 16, ge=256)
    """Largest prompt of a request, bytes of UTF-8; larger is refused before it is tokenised."""
    structured_output: bool = False
    """Allow ``response_format`` json_object and json_schema, each schema tried out in a process of its own first."""
    tools: bool = False
    """Allow ``tools`` in chats; the functions' parameters are schemas that are tried out likewise."""
    tool_parser: str = Field(default="hermes", pattern=r"^[a-z0-9_]+$")
    """vLLM's name for the form in which the policy calls tools; ``required`` calls are held to it."""
    structured_check_s: float = Field(default=2.0, gt=0, le=30)
    """Seconds that trying out one schema may take; then the process that does it is killed and the schema refused."""
    api_reference: bool = True
    """Serve /docs and /openapi.json, to everybody."""
    allowed_hosts: str = ""
    """Names that a request's header Host may have, separated by commas; empty for any that is well-formed."""
    trusted_proxies: str = ""
    """Addresses, separated by commas, whose X-Forwarded-For and X-Forwarded-Proto are believed; by default nobody's."""
    max_connections: int = Field(default=800, ge=2)
    """Most open connections; a new one ends the one that has been idle longest, or is refused where none is idle."""
    head_timeout_s: float = Field(default=15.0, gt=0, le=30)
    """Seconds in which the head of a request must arrive."""
    body_timeout_s: float = Field(default=60.0, gt=0)
    """Seconds in which the body of a request must arrive."""
    idle_timeout_s: int = Field(default=30, ge=1)
    """Seconds after an answer until a connection without a new request is closed."""
    wrong_keys_per_minute: int = Field(default=60, ge=1)
    """Wrong keys that one address may try in a minute; beyond this it is told to wait."""
    session_idle_s: float = Field(default=7200.0, gt=0)
    """Seconds without a request after which a browser's session ends."""
    session_longest_s: float = Field(default=43_200.0, gt=0)
    """Seconds after which a browser's session ends in any case."""
    key_cache_s: float = Field(default=5.0, ge=0, le=15)
    """Seconds for which a looked-up API key is trusted; a revoked key still works for at most twice as long."""
    metrics_key_required: bool = False
    """Require a key of role ``metrics`` for /metrics."""
    ready_cache_s: float = Field(default=5.0, ge=0)
    """Seconds for which the answer of /readyz is reused."""

    revise_s: float = Field(default=900.0, ge=0, le=86_400)
    """Seconds from its submission in which a labeler may correct an answer."""
    when_not_durable: Literal["refuse", "warn"] = "refuse"
    """When the ledger may lose what it acknowledges: ``refuse`` takes no answers of labelers (503); ``warn`` does."""
    practice_pass_percent: int = Field(default=70, ge=0, le=100)
    """Share of the practice items that a labeler must get right to pass, percent."""
    feedback_per_minute: int = Field(default=60, ge=1)
    """Ratings, comments, edits and comparisons that one key may send a minute; more are refused with 429."""
    most_leases: int = Field(default=3, ge=1, le=100)
    """Most items that one labeler holds at a time; the page holds one and fetches one ahead."""
    practice_required: bool = False
    """Give labelers nothing before they have passed the practice items."""
    skips_per_day: int = Field(default=200, ge=1)
    """Items that one labeler may skip a day (UTC); more are refused with 429."""
    skips_flagged: int = Field(default=30, ge=1)
    """Skips of one labeler in a day (UTC) from which on operators are told."""
    reports_per_day: int = Field(default=20, ge=1)
    """Items that one labeler may report a day (UTC), which holds them for everybody; more are refused with 429."""
    battles_per_day: int = Field(default=50, ge=0)
    """Blind battles that one customer may begin a day (UTC); more are refused with 429."""
    share_days: int = Field(default=30, ge=1, le=365)
    """Longest that a shared chat can be read, days."""

    max_running: int | None = Field(default=None, ge=1)
    """Most sequences that are decoded at a time over all slots; by default ``max_num_seqs``."""
    max_waiting: int | None = Field(default=None, ge=0)
    """Most sequences that wait for their turn; beyond this requests get 503. By default as many as may run."""
    token_budget: int = Field(default=262_144, ge=16)
    """Most tokens, prompts and longest answers together, of the requests that run; others wait for their turn."""
    deadline_s: float = Field(default=120.0, gt=0)
    """Seconds that a request may take in all when its header ``X-Deadline-S`` does not say."""
    max_deadline_s: float = Field(default=600.0, gt=0)
    """Longest deadline that a request may ask for; a longer one is cut to this."""
    requests_per_minute: int = Field(default=0, ge=0)
    """Requests a minute that one key may send to one replica, unless its record says; 0 for no limit."""
    tokens_per_day: int = Field(default=0, ge=0)
    """Tokens a day (UTC) that one key may use on all replicas, unless its record says; 0 for no limit."""

    slots: int = Field(default=2, ge=1, le=4)
    """Engines of one replica. Two: new weights load beside the live ones, which stay warm to roll back to. Three: the
    candidate is warm too. One, where memory holds one copy: callers wait while it takes new weights."""
    poll_s: float = Field(default=0.25, gt=0, le=60)
    """Seconds between two looks at the registry; an operator's move is seen at once, this is for when that fails."""
    drain_deadline_s: float = Field(default=120.0, gt=0)
    """Seconds that a slot may take to finish its last requests before a load; then the swap is deferred."""
    load_deadline_s: float = Field(default=600.0, gt=0)
    """Seconds that new weights may take to load, and again to be probed; then the engine is ended."""
    gate_wait_s: float = Field(default=30.0, gt=0)
    """Seconds that a request may wait while the only slot takes new weights; then it is refused with 503."""
    swap_retry_s: float = Field(default=30.0, gt=0)
    """Seconds until a deferred swap, or an engine that failed to start or load, is tried again."""
    stall_s: float = Field(default=30.0, ge=1)
    """Seconds without any token after which an engine that has work counts as hanging and is killed."""
    probe_tolerance: float = Field(default=0.02, gt=0)
    """Largest difference, nats per token, between a stored probe's log-probabilities and the engine's."""
    shutdown_deadline_s: float = Field(default=30.0, ge=0)
    """Seconds that requests in flight get to finish after SIGTERM."""

    spool_root: Path = Path("var/spool")
    """Directory of the write-ahead spool, on a disk that keeps fsync's promise; one directory per replica."""
    spool_max_bytes: int = Field(default=256 << 20, ge=1 << 16)
    """Most bytes that wait for the ledger; beyond this new interactions are answered but not logged, and counted."""
    spool_segment_bytes: int = Field(default=4 << 20, ge=1 << 12)
    """Bytes after which the spool begins a new file."""
    spool_max_age_s: float = Field(default=7 * 86_400.0, gt=0)
    """Seconds after which an interaction that still waits for the ledger is dropped, and counted."""
    spool_when_full: Literal["drop", "refuse"] = "drop"
    """When interactions cannot be logged: ``drop`` answers and drops them, counted; ``refuse`` answers 503 instead."""
    spool_wait_s: float = Field(default=0.25, ge=0, le=10)
    """Longest that the end of an answer waits until its interaction is on disk; slower ones are counted as late."""
    without_ledger_s: float = Field(default=86_400.0, ge=0)
    """Seconds for which a restart while the ledger is down trusts what it said last of policy and keys; 0 for never."""
