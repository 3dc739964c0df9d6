"""Every Prometheus metric that Whetstone defines: name, unit, labels, meaning.

Base units, unit as suffix, ``_total`` for counters. vLLM's own metrics are served beside these.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
LATENCY_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

requests_total = Counter(
    "whetstone_requests", "Requests answered by the API.", ["route", "status", "version"], registry=REGISTRY
)
request_seconds = Histogram(
    "whetstone_request_seconds",
    "Seconds from a request's arrival to its last byte.",
    ["route"],
    buckets=LATENCY_S,
    registry=REGISTRY,
)
first_byte_seconds = Histogram(
    "whetstone_first_byte_seconds",
    "Seconds from a request's arrival to the first byte of its body.",
    ["route"],
    buckets=LATENCY_S,
    registry=REGISTRY,
)
in_flight = Gauge("whetstone_requests_in_flight", "Requests being answered now.", ["slot"], registry=REGISTRY)
slot_version = Gauge(
    "whetstone_slot_info", "1 for the version that a slot holds.", ["slot", "version", "alias"], registry=REGISTRY
)
refused_total = Counter(
    "whetstone_refused",
    "Requests refused at the door, by reason (draining, background, share, full, deadline, requests, tokens).",
    ["reason"],
    registry=REGISTRY,
)
admission_places = Gauge(
    "whetstone_admission_places", "Places of admitted requests (running, waiting).", ["state"], registry=REGISTRY
)
admission_wait_seconds = Histogram(
    "whetstone_admission_wait_seconds",
    "Seconds that an admitted request waited for its turn.",
    buckets=(0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 30),
    registry=REGISTRY,
)
swaps_total = Counter("whetstone_swaps", "Swaps by outcome (live, deferred, failed).", ["state"], registry=REGISTRY)
swap_load_seconds = Histogram(
    "whetstone_swap_load_seconds",
    "Seconds to load and probe new weights.",
    buckets=(0.1, 0.5, 1, 5, 10, 30, 60, 300),
    registry=REGISTRY,
)
engine_restarts_total = Counter(
    "whetstone_engine_restarts",
    "Engines that ended without being told to and were started anew, by reason (died, stalled, load stalled, probe "
    "stalled).",
    ["slot", "reason"],
    registry=REGISTRY,
)
canary_share = Gauge(
    "whetstone_canary_share_percent", "Percent of callers routed to the canary.", ["version"], registry=REGISTRY
)
canary_breaches_total = Counter(
    "whetstone_canary_breaches", "Canaries that ended because they did markedly worse than live.", registry=REGISTRY
)
recorded_total = Counter(
    "whetstone_recorded",
    "Interactions by fate: found (left by an earlier process), spooled (on disk), late (answered before that), "
    "relayed, duplicate (the ledger had it), erased (its customer was), refused (the ledger cannot take it), dropped.",
    ["fate"],
    registry=REGISTRY,
)
recorded_dropped_total = Counter(
    "whetstone_recorded_dropped",
    "Interactions that were answered and not logged, by reason (full, disk, queue, invalid, old, closed).",
    ["reason"],
    registry=REGISTRY,
)
spool_repaired_bytes_total = Counter(
    "whetstone_spool_repaired_bytes",
    "Bytes of the spool that were no record: torn off its end by a crash, or damaged in the middle.",
    ["kind"],
    registry=REGISTRY,
)
spool_bytes = Gauge("whetstone_spool_bytes", "Bytes in the write-ahead spool.", registry=REGISTRY)
spool_max_bytes = Gauge(
    "whetstone_spool_max_bytes", "Bytes that the spool may hold; beyond this it drops or refuses.", registry=REGISTRY
)
labels_total = Counter(
    "whetstone_labels", "Answers taken from labelers, and customers' votes.", ["kind"], registry=REGISTRY
)
skips_total = Counter("whetstone_skips", "Items that labelers skipped, by reason.", ["reason"], registry=REGISTRY)
reports_total = Counter(
    "whetstone_reports", "Items that labelers reported, which holds them for everybody.", ["reason"], registry=REGISTRY
)
labelers_flagged_total = Counter(
    "whetstone_labelers_flagged",
    "Labelers of whom operators should know, by reason (skips: they skip many items).",
    ["reason"],
    registry=REGISTRY,
)
labelers = Gauge(
    "whetstone_labelers",
    "Labelers: seen (in the latest report on labels), flagged in it, paused.",
    ["state"],
    registry=REGISTRY,
)
labels_quarantined = Gauge(
    "whetstone_labels_quarantined", "Labels of the latest report that are in quarantine.", registry=REGISTRY
)
label_agreement = Gauge(
    "whetstone_label_agreement",
    "How far the labelers of a group agree: pairs (share ordered alike), alpha (Krippendorff's, of pairs with ties).",
    ["group", "metric"],
    registry=REGISTRY,
)
gold_passed = Gauge(
    "whetstone_gold_passed_ratio", "Share of the latest hidden checks that labelers passed.", registry=REGISTRY
)
ledger_size = Gauge("whetstone_ledger_records", "Records in the ledger.", ["kind"], registry=REGISTRY)
prompts_dropped = Gauge("whetstone_prompts_dropped", "Prompts refused by curation.", ["reason"], registry=REGISTRY)
ledger_up = Gauge("whetstone_ledger_up", "1 if the ledger answers.", registry=REGISTRY)

tasks_total = Counter("whetstone_tasks", "Celery tasks by name and outcome.", ["task", "outcome"], registry=REGISTRY)
task_seconds = Histogram(
    "whetstone_task_seconds", "Seconds that a task took.", ["task"], buckets=LATENCY_S, registry=REGISTRY
)
completions_sampled_total = Counter(
    "whetstone_completions_sampled", "Completions sampled for comparisons.", ["version"], registry=REGISTRY
)
completions_unused_total = Counter(
    "whetstone_completions_unused",
    "Completions sampled and not used, because they were empty, equal or similar to another of their comparison.",
    ["reason"],
    registry=REGISTRY,
)
sampling_fallbacks_total = Counter(
    "whetstone_sampling_fallbacks",
    "Requests for completions that live answered because no replica held the model (an alias, or version).",
    ["alias"],
    registry=REGISTRY,
)
comparisons_buried = Gauge(
    "whetstone_comparisons_buried", "Comparisons that could not be sampled, by reason.", ["reason"], registry=REGISTRY
)

rounds_total = Counter("whetstone_rounds", "Training rounds by outcome.", ["state"], registry=REGISTRY)
stage_seconds = Gauge(
    "whetstone_stage_seconds", "Seconds that the last run of a stage took.", ["stage"], registry=REGISTRY
)
stage_progress = Gauge(
    "whetstone_stage_progress", "Share of the running stage that is done, 0 to 1.", ["stage"], registry=REGISTRY
)
stage_left_seconds = Gauge(
    "whetstone_stage_left_seconds", "Seconds that the running stage still needs.", ["stage"], registry=REGISTRY
)
round_running = Gauge(
    "whetstone_round_running", "1 for the stage that the running round is in.", ["kind", "stage"], registry=REGISTRY
)
round_moved_timestamp_seconds = Gauge(
    "whetstone_round_moved_timestamp_seconds",
    "Unix time at which the running round last took a step; 0 while no round runs.",
    registry=REGISTRY,
)
round_waiting = Gauge(
    "whetstone_round_waiting", "Answers that no finished round used yet, by kind (labels, demonstrations).", ["kind"],
    registry=REGISTRY,
)  # fmt: skip
round_lease_lost_total = Counter(
    "whetstone_round_lease_lost", "Times that a trainer lost its round to another trainer.", registry=REGISTRY
)
candidate_timestamp_seconds = Gauge(
    "whetstone_candidate_timestamp_seconds", "Unix time at which the candidate was registered.", registry=REGISTRY
)
training_metric = Gauge(
    "whetstone_training",
    "Latest value of a training metric, such as objective/kl.",
    ["stage", "metric"],
    registry=REGISTRY,
)
