"""Every Redis key that Whetstone uses: pattern, type, members, bound, writer and readers.

No other module spells a key. Keys that one script touches together share the ``ws:`` prefix; the ledger is one Redis,
not a cluster.

=========================  ======  ==========================================  ================================================
Key                        Type    Members                                     Bound; writer -> readers
=========================  ======  ==========================================  ================================================
ws:keys                    hash    SHA-256 of the secret -> ApiKey             one per key; cli, serve -> serve
ws:keys:used               hash    key id -> Unix time of its last use         one per key; serve -> cli, serve
ws:session:<hash>          string  Session, by SHA-256 of its secret           TTL idle time; serve
ws:interactions            stream  ``record`` = Interaction, ``id``            trimmed by archive; serve -> workers.curate
ws:interaction:<id>        string  Interaction                                 TTL interaction_days; serve -> serve
ws:interactions:of:<name>  zset    ids of a customer's interactions, by time   as old as the records; log script -> erasure
ws:erased                  hash    customer -> Unix time of the erasure        one per erased customer; erasure -> scripts
ws:erased:comparisons      set     ids of erased comparisons                   one per comparison; erasure -> snapshots
ws:erasures                hash    erasure id -> Erasure                       one per request; cli, serve, workers
ws:erasures:lock           string  who makes a pass                            TTL 300 s; cli, workers
ws:ratings                 stream  ``record`` = Rating                         append-only; serve
ws:rating:<id>             string  Rating; marks it as taken                   TTL 30 days; serve
ws:usage:<day>             hash    key id -> tokens used that day              TTL 40 days; serve -> serve
ws:prompts                 hash    prompt id -> Prompt                         caps of curation; workers -> workers, serve
ws:prompts:beginnings      zset    first 200 normalised characters, NUL, id    one per prompt; keep script, erasure
ws:prompts:customers       hash    customer -> prompts kept                    one per customer; workers
ws:prompts:dropped         hash    reason -> count                             one per reason; workers -> metrics
ws:prompts:wanting:<what>  zset    prompt id, by time                          prompts not yet considered for a comparison
                                                                               or demonstration; keep script -> workers
ws:settings                hash    ``collect`` = what labelers are asked for   one; cli, operators -> workers
ws:item:<id>               hash    queue, slots, token, score, labels, held,   one per comparison or demonstration request
                                   authors (a line each), given, disagreement
ws:comparison:<id>         string  Comparison                                  one per comparison; workers -> serve, trainer
ws:sampling                zset    comparison id, by time when it is due       comparisons without completions; workers
ws:sampler:<n>             string  holder of one place for a sampling task     TTL seconds, renewed; workers
ws:sampling:attempts       hash    comparison id -> attempts                   removed when complete; workers
ws:sampling:claims         hash    comparison id -> token of its newest claim  removed when complete; workers
ws:sampling:token          string  last fencing token given out                one, only grows; claim script
ws:contests                hash    contest id -> Contest                       one per contest; cli, serve -> workers
ws:sampling:buried         hash    reason -> comparisons buried                one per reason; workers -> metrics
ws:queues                  hash    name -> QueueConfig                         those that operators changed; serve -> all
ws:queue:<name>            zset    id of fresh item, by order of service       items that nobody was given; scripts
ws:queue:<name>:partial    zset    id of item that somebody was given and      open items; scripts
                                   that has a free slot, by order of service
ws:queue:<name>:disagreement zset  id of fresh item, by minus disagreement     fresh items; scripts
ws:leases                  zset    ``<item> <labeler>``, by deadline           live leases; feedback scripts
ws:lease:<item>            hash    labeler -> ``<token> <deadline> <since>     removed with the item's last lease
                                   <why>``
ws:holding:<labeler>       hash    item -> ``<seconds> <queue>`` of a lease    what is over goes with the next lease
ws:taken:<labeler>:<day>   hash    queue -> items given and not given back     TTL 3 days; lease script -> serve
ws:returned:<labeler>      zset    items that ran out with a draft, by time    TTL 7 days; scripts
ws:skips:<item>            hash    labeler -> why they skipped it, and a note  one per item; release script -> reviews
ws:skipped:<day>           hash    labeler -> items skipped that day           TTL 40 days; serve -> operators
ws:seen:<labeler>          set     item ids leased to this labeler             one per labeler; lease script
ws:labelers                set     names of labelers with a standing           one per labeler; stand script -> audit, snapshots
ws:labeler:<name>          hash    state, reason, since, acknowledged,         one per labeler; stand script, serve -> serve,
                                   practice, ``quarantine:<from>`` -> end      audit, snapshots
ws:gold                    hash    comparison id -> GoldCheck                  one per check; operators, audit -> audit
ws:checks:<labeler>        list    ids of items prepared as checks for them    a few; audit -> lease script
ws:quality                 string  the latest report on labels, JSON           one; audit -> serve
ws:labels                  stream  ``record`` = Label                          append-only, never trimmed; submit script
ws:submission:<id>         string  ``<entry> <item> <labeler>``, stream,       TTL 30 days; submit, revise scripts
                                   digest of the answer, queue; a line each
ws:answers:<item>          list    ``<stream> <entry> <first id> <revision>``  one per item; submit, revise, import scripts
ws:answered:<labeler>      zset    ids of their submissions, by time           200 per labeler; submit script
ws:revised:<stream>        string  how many answers in it are corrections      two; revise script -> counts
ws:draft:<labeler>:<item>  string  what a labeler has not submitted yet, JSON  TTL 7 days; serve, submit script
ws:drafts:<item>           set     labelers who have a draft of the item       TTL 7 days; serve -> erasure
ws:battle:<id>             string  Battle                                      TTL 1 day; serve
ws:battle:<id>:vote        string  ``<entry> <label id>`` of the one vote      TTL 30 days; vote script
ws:tally:<what>:<who>:<n>  string  how often somebody did this in window n     TTL one window; serve
ws:share:<id>              string  Share                                       TTL at most 30 days; serve
ws:shares:<customer>       set     ids of the customer's shares                TTL as the longest share; serve
ws:demonstrations          stream  ``record`` = Demonstration                  append-only; submit script
ws:ratings:imported        set     ids of imported ratings                     one per rating; cli
ws:reviews                 hash    item id -> Review                           one per reviewed item; review scripts -> serve
ws:reviews:open            zset    item id, by time                            open reviews; review scripts -> serve
ws:adjudications           stream  ``record`` = Adjudication                   append-only; review_close script -> snapshots
ws:guidelines              hash    version -> Guidelines                       one per version; serve, cli -> serve
ws:practice:<labeler>      hash    practice item id -> ``1`` right, ``0`` not  one per labeler; serve
ws:written                 hash    id -> WrittenPrompt, its last revision      one per written prompt; written scripts
ws:written:<id>:log        stream  ``record`` = WrittenPrompt, each revision   maxlen 2,000; written scripts -> serve
ws:written:of:<labeler>    zset    ids of what a labeler wrote, by time        one per written prompt; written scripts
ws:written:submitted       zset    ids waiting for a reviewer, by time         written scripts -> serve
ws:demonstration-reviews   stream  ``record`` = DemonstrationReview            append-only; serve -> snapshots
ws:dead                    stream  ``id``, ``reason``                          maxlen 10,000; workers -> operators
ws:snapshots               hash    snapshot id -> Snapshot                     one per round; trainer
ws:reward-models           hash    reward model id -> RewardModel              one per round; trainer
ws:policies                hash    version -> Policy                           one per round; trainer -> serve
ws:policies:counter        string  last number given out                       one
ws:reports                 hash    version -> EvaluationReport                 one per candidate; trainer -> gate, serve
ws:aliases                 hash    live, previous, candidate -> version        three; promote script -> serve
ws:canary                  string  Canary                                      one; canary scripts -> serve, cli
ws:audit                   stream  ``record`` = AuditEntry                     append-only; promote, canary scripts, cli -> serve
ws:swaps                   stream  ``record`` = SwapEvent                      maxlen 10,000; serve -> cli, operators
ws:replica:<id>            string  what a serving replica holds, JSON          TTL 15 s; serve -> cli
ws:rounds                  hash    round id -> Round                           one per round; trainer -> cli, serve
ws:rounds:requested        string  kind of round that an operator asked for    one; cli, serve -> trainer
ws:rounds:lock             string  who has the right to run rounds             TTL round_lease_s, renewed; trainer
ws:rounds:fence            string  number of the trainer that took it last     one; fence scripts
ws:rounds:cancel           string  id of the round that is to be cancelled     one; cli, serve -> trainer
ws:rounds:outlook          string  Outlook: what the next round waits for      TTL 60 s; trainer -> cli, serve
=========================  ======  ==========================================  ================================================
"""

from datetime import date

API_KEYS = "ws:keys"
API_KEYS_USED = "ws:keys:used"
INTERACTIONS = "ws:interactions"
RATINGS = "ws:ratings"
ERASED = "ws:erased"
ERASED_COMPARISONS = "ws:erased:comparisons"
ERASURES = "ws:erasures"
ERASURE_LOCK = "ws:erasures:lock"
PROMPTS = "ws:prompts"
PROMPT_BEGINNINGS = "ws:prompts:beginnings"
PROMPT_CUSTOMERS = "ws:prompts:customers"
PROMPTS_DROPPED = "ws:prompts:dropped"
SETTINGS = "ws:settings"
SAMPLING = "ws:sampling"
SAMPLING_ATTEMPTS = "ws:sampling:attempts"
SAMPLING_CLAIMS = "ws:sampling:claims"
SAMPLING_TOKEN = "ws:sampling:token"
SAMPLING_BURIED = "ws:sampling:buried"
CONTESTS = "ws:contests"
QUEUES = "ws:queues"
LEASES = "ws:leases"
LABELERS = "ws:labelers"
GOLD = "ws:gold"
QUALITY = "ws:quality"
LABELS = "ws:labels"
DEMONSTRATIONS = "ws:demonstrations"
RATINGS_IMPORTED = "ws:ratings:imported"
REVIEWS = "ws:reviews"
REVIEWS_OPEN = "ws:reviews:open"
ADJUDICATIONS = "ws:adjudications"
GUIDELINES = "ws:guidelines"
WRITTEN = "ws:written"
WRITTEN_SUBMITTED = "ws:written:submitted"
DEMONSTRATION_REVIEWS = "ws:demonstration-reviews"
DEAD = "ws:dead"
SNAPSHOTS = "ws:snapshots"
REWARD_MODELS = "ws:reward-models"
POLICIES = "ws:policies"
POLICY_COUNTER = "ws:policies:counter"
REPORTS = "ws:reports"
ALIASES = "ws:aliases"
CANARY = "ws:canary"
AUDIT = "ws:audit"
SWAPS = "ws:swaps"
ROUNDS = "ws:rounds"
ROUND_REQUESTED = "ws:rounds:requested"
ROUND_LOCK = "ws:rounds:lock"
ROUND_FENCE = "ws:rounds:fence"
ROUND_CANCEL = "ws:rounds:cancel"
ROUND_OUTLOOK = "ws:rounds:outlook"

CURATORS = "curators"
"""Consumer group of `INTERACTIONS`."""
MONTH_S = 30 * 24 * 3600
"""Seconds for which a retry of an old submission is still recognised."""


def session(digest: str) -> str:
    """Return the key of the browser session whose secret has this hash."""
    return f"ws:session:{digest}"


def interaction(id: str) -> str:
    """Return the key of one logged interaction."""
    return f"ws:interaction:{id}"


def interactions_of(customer: str) -> str:
    """Return the key of the ids of a customer's interactions."""
    return f"ws:interactions:of:{customer}"


def rating(id: str) -> str:
    """Return the key that marks a rating as taken."""
    return f"ws:rating:{id}"


def usage(day: date) -> str:
    """Return the key of the tokens that each API key used on a day (UTC)."""
    return f"ws:usage:{day.isoformat()}"


def wanting(what: str) -> str:
    """Return the key of the prompts still to be considered for a ``comparison`` or a ``demonstration``."""
    return f"ws:prompts:wanting:{what}"


def sampler(place: int) -> str:
    """Return the key of one place for a running sampling task."""
    return f"ws:sampler:{place}"


def comparison(id: str) -> str:
    """Return the key of one comparison's record."""
    return f"ws:comparison:{id}"


def item(id: str) -> str:
    """Return the key of the queueing state of a comparison or demonstration request."""
    return f"ws:item:{id}"


def queue(name: str) -> str:
    """Return the key of the queue with this name."""
    return f"ws:queue:{name}"


def queue_partial(name: str) -> str:
    """Return the key of a queue's items that somebody was given before."""
    return f"ws:queue:{name}:partial"


def queue_disagreement(name: str) -> str:
    """Return the key of a queue's fresh items by disagreement of reward models."""
    return f"ws:queue:{name}:disagreement"


def lease(item_id: str) -> str:
    """Return the key of an item's live leases."""
    return f"ws:lease:{item_id}"


def seen(labeler: str) -> str:
    """Return the key of the items that this labeler was given."""
    return f"ws:seen:{labeler}"


def holding(labeler: str) -> str:
    """Return the key of the items that a labeler holds."""
    return f"ws:holding:{labeler}"


def taken(labeler: str, day: int) -> str:
    """Return the key of how many items a labeler was given on a day, counted from 1970 (UTC)."""
    return f"ws:taken:{labeler}:{day}"


def returned(labeler: str) -> str:
    """Return the key of the items that ran out while a labeler had a draft of them."""
    return f"ws:returned:{labeler}"


def skips(item_id: str) -> str:
    """Return the key of who skipped an item, and why."""
    return f"ws:skips:{item_id}"


def skipped(day: int) -> str:
    """Return the key of who skipped how much on a day, counted from 1970 (UTC)."""
    return f"ws:skipped:{day}"


def labeler(name: str) -> str:
    """Return the key of where a labeler stands."""
    return f"ws:labeler:{name}"


def checks(labeler: str) -> str:
    """Return the key of the checks that are prepared for a labeler."""
    return f"ws:checks:{labeler}"


def submission(id: str) -> str:
    """Return the key of the stored answer to one submission."""
    return f"ws:submission:{id}"


def answers(item_id: str) -> str:
    """Return the key of the list of an item's answers, corrections included."""
    return f"ws:answers:{item_id}"


def answered(labeler: str) -> str:
    """Return the key of the ids of a labeler's last submissions."""
    return f"ws:answered:{labeler}"


def revised(stream: str) -> str:
    """Return the key that counts the corrections in a stream of answers."""
    return f"ws:revised:{stream}"


def draft(labeler: str, item_id: str) -> str:
    """Return the key of what a labeler has not submitted yet."""
    return f"ws:draft:{labeler}:{item_id}"


def drafts(item_id: str) -> str:
    """Return the key of the labelers who have a draft of an item."""
    return f"ws:drafts:{item_id}"


def battle(id: str) -> str:
    """Return the key of one blind battle."""
    return f"ws:battle:{id}"


def battle_vote(id: str) -> str:
    """Return the key that marks a battle as voted on."""
    return f"ws:battle:{id}:vote"


def tally(what: str, who: str, window: int) -> str:
    """Return the key that counts how often ``who`` did ``what`` in one window of time."""
    return f"ws:tally:{what}:{who}:{window}"


def share(id: str) -> str:
    """Return the key of one shared conversation."""
    return f"ws:share:{id}"


def shares(customer: str) -> str:
    """Return the key of the ids that a customer shares."""
    return f"ws:shares:{customer}"


def replica(id: str) -> str:
    """Return the key under which a serving replica says what it holds."""
    return f"ws:replica:{id}"


def practice(labeler: str) -> str:
    """Return the key of what a labeler answered in practice."""
    return f"ws:practice:{labeler}"


def written_log(id: str) -> str:
    """Return the key of the revisions of one written prompt."""
    return f"ws:written:{id}:log"


def written_of(labeler: str) -> str:
    """Return the key of the ids of what a labeler wrote."""
    return f"ws:written:of:{labeler}"
