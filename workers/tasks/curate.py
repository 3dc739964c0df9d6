"""Curate: read newly logged interactions, keep the prompts that the rules allow.

May run twice on the same interaction: the prompt's id follows from the interaction's, and keeping it again changes
nothing.
"""

import os
import socket

from feedback import interactions, prompts
from feedback.client import Ledger
from feedback.curation import Rules, refusal, text_of, to_prompt
from feedback.records import Interaction
from workers import planning
from workers.settings import WorkerSettings


def curate(ledger: Ledger, settings: WorkerSettings) -> dict[str, int]:
    """Curate what was logged since the last time, then plan; return outcome -> how many interactions.

    An outcome is ``kept`` or the reason why the interaction gave no prompt.
    """
    consumer = f"{socket.gethostname()}:{os.getpid()}"
    interactions.reclaim(ledger, consumer, settings.reclaim_s)
    outcomes: dict[str, int] = {}
    finished: list[str] = []
    for entry_id, interaction in interactions.read_new(ledger, consumer):
        outcome = keep(ledger, interaction, settings.rules)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        finished.append(entry_id)
    interactions.done(ledger, finished)
    planning.plan_comparisons(ledger, settings)
    planning.request_demonstrations(ledger, settings)
    return outcomes


def keep(ledger: Ledger, interaction: Interaction, rules: Rules) -> str:
    """Keep the prompt of one interaction or count why not; return the outcome."""
    reason = refusal(interaction, rules)
    if reason is not None:
        prompts.drop(ledger, reason)
        return reason
    prompt = to_prompt(interaction, rules)
    return prompts.keep(ledger, prompt, text_of(prompt.messages), rules.most_per_customer)
