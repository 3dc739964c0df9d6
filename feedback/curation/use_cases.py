"""Which of the paper's use cases a prompt belongs to, by rules on its wording that can be told.

The rules know English only and are right about most prompts, not all: a tag serves to route and to count, and no
prompt is dropped for it. They are tried in order and the first that fits decides: what is to be done comes before what
it is about, and the plain question comes last.

Source of the use cases: Ouyang et al. 2022, arXiv:2203.02155, Table 1.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from feedback.records import Message, UseCase

OPENING = re.compile(
    r"(?:(?:please|ok(?:ay)?|so|now)\b[,!.: ]*"
    r"|for (?:my|our|the) [\w -]{1,30}[:,] *"
    r"|(?:can|could|would|will) you (?:please |help me (?:to )?)"
    r"|(?:can|could) you (?=write|give|make|create|suggest|list|rewrite|summari|translate|extract|classify)"
    r"|help me (?:to )?|i (?:want|need) you to )+"
)
"""What may stand before the task and says nothing of it."""
SOME = r"(?:a|an|the|some|me|us|all|every|few|of|\d+|one|two|three|four|five|six|seven|eight|nine|ten)"


class Rule(NamedTuple):
    """A use case, what gives it away in words, and as an expression on the folded text after its opening."""

    use_case: UseCase
    why: str
    wording: re.Pattern[str]


def _rule(use_case: UseCase, why: str, begins: str = "", holds: str = "") -> Rule:
    wordings = [rf"\A(?:{begins})"] if begins else []
    return Rule(use_case, why, re.compile("|".join([*wordings, *([holds] if holds else [])]), re.VERBOSE | re.DOTALL))


RULES = (
    _rule(
        "chat",
        "it gives the model a part to play",
        r"""(?:pretend|act[ ](?:as|like)|embody|embrace|role-?play|you[ ]are[ ](?:now[ ])?(?:an?|my)|picture[ ]yourself
            |(?:as|if[ ]you[ ]were|imagine[ ]you[ ]are)[ ]an?[ ][^,.]{3,80}[,.][ ](?=.*\b(?:you|your)\b))\b""",
        r"""\bassume[ ]the[ ]role\b""",
    ),
    _rule(
        "summarization",
        "it asks for a short version",
        r"sum[ ]up\b",
        r"\bsumm(?:ari[sz]\w+|ary[ ]of)\b|\btl;?dr\b|\bkey[ ]points[ ]of\b",
    ),
    _rule(
        "rewrite",
        "it asks to change a text",
        r"""(?:re-?(?:write|phrase|word)|paraphrase|translate|proofread|edit|correct|shorten|simplify|say[ ]it|replace
            |put[ ](?:it|this|that|the[ ]\w+)[ ]in(?:to)?
            |(?:convert|change|turn)[ ].{0,60}\b(?:sentence|text|tense|voice)
            |make[ ](?:it|this|that|the)\b.*\b(?:more|less|shorter|longer|sound))\b""",
        r"""\b(?:rewrite|rephrase|paraphrase|proofread)[ ](?:it|this|that|the|my)\b
            |\bcorrect[ ](?:the|any|its)[ ](?:\w+[ ])?(?:grammar|grammatical|spelling)""",
    ),
    _rule(
        "extract",
        "it asks to pick something out of a text",
        r"""find[ ]the[ ][\w ]{2,40}:|pull[ ]out|pick[ ]out|given[ ]the[ ]following[ ](?:data|records)
            |(?:list|identify|find|name)[ ](?:all|every|the)[ ].{0,60}\b(?:mentioned|in[ ](?:the|this)[ ](?:given[ ])?
              (?:text|sentence|paragraph|passage|article|document|email))""",
        r"\bextract(?:ing)?\b|\bcount[ ]how[ ]many[ ]times\b",
    ),
    _rule(
        "classification",
        "it asks to choose among classes",
        r"""(?:label|detect|decide|determine|predict|identify|tell[ ](?:me[ ])?(?:if|whether)|verify)\b
            |(?:is|are)[ ](?:\w+[ ]){1,4}an?[ ][\w ]+[ ]or[ ]an?[ ][\w ]+\?
            |(?:select|choose)[ ](?:the|an?)\b""",
        r"""\bclassif(?:y|ied|ication)\b|\bcategori[sz]e|\bsentiment\b|\btrue[ ]or[ ]false\b|\byes[ ]or[ ]no\b
            |\bon[ ]a[ ]scale[ ](?:of|from)\b|\bwhich[ ](?:one[ ])?of[ ](?:the[ ]following|these)\b
            |\b(?:categories|candidates|options|classes)[ ]include\b|\btell[ ]if[ ]they[ ]are\b""",
    ),
    _rule(
        "brainstorming",
        "it asks for several ideas",
        rf"""(?:suggest|recommend|list|plan|share[ ]ideas)\b
            |(?:name|give|provide|tell|make|create|write)(?:[ ]{SOME})+[ ](?:\w+[ ]){{0,3}}?
              (?:lists?|checklist|ideas?|ways|examples?|reasons?|tips|names|suggestions)\b
            |(?:name|give[ ]me|give)[ ](?:some|a[ ]few|\d+|two|three|four|five|six|seven|ten)\b
            |what[ ]are[ ](?:some|good)\b|what[ ](?:should|can)[ ]i[ ]""",
        r"\bbrainstorm|\bideas?[ ](?:for|on|about)\b|\bcome[ ]up[ ]with\b",
    ),
    _rule(
        "closed_qa",
        "it asks about a text that it brings along",
        r"(?:context|question):",
        r"""\b(?:according[ ]to|based[ ]on|given|from|read)[ ]the[ ](?:(?:below|above|following|given)[ ])*
              (?:\w+[ ])?(?:texts?|passage|article|paragraph|table|context|document|story|statements|facts)\b""",
    ),
    _rule(
        "generation",
        "it asks to write something new",
        rf"""(?:write|compose|generate|create|draft|craft|develop|design|produce|construct|implement|invent|make|code
              |expand|continue|complete|reply|imagine[ ]you[ ]are[ ]writing|use[ ]an[ ]appropriate[ ]format)\b
            |(?:tell|give)(?:[ ]{SOME})*[ ](?:\w+[ ]){{0,2}}?(?:story|joke|poem|recipe|song|riddle|quote)\b
            |describe[ ]an?[ ](?:vivid|scenario|character|situation)\b""",
    ),
    _rule(
        "closed_qa",
        "it asks about somebody of whom it says something first",
        r"(?!(?:i|i'm|my|we|you|hi|hello)\b)(?:[^.!?]{3,}[.!]\s+)+[^.!?]*\?\s*\Z",
    ),
    _rule(
        "chat",
        "it talks to the model as to a person",
        r"""(?:i|i'm|my|we|let's|you|hi|hello|hey|thanks|good[ ](?:morning|evening))\b
            |(?:do|are|have|were|did|would|can|could|how[ ]are)[ ]you\b
            |(?:what|who)(?:[ ]is|'s|[ ]are)[ ]your?\b""",
        r"\bwhat[ ]do[ ]you[ ](?:think|like|feel)\b",
    ),
    _rule(
        "open_qa",
        "it asks for knowledge",
        r"""(?:who|whom|whose|what|when|where|why|which|how|is|are|was|were|do|does|did|can|could|should|would|will|has|have
              |explain|describe|discuss|define|compare|solve|solving|calculate|provide[ ]insights|in[ ]what
              |tell[ ]me[ ](?:about|what|how|why)|give[ ]me[ ]the[ ](?:definition|address|laws))\b""",
        r"\?\s*\Z",
    ),
)


def use_case(messages: Sequence[Message]) -> tuple[UseCase, str]:
    """Return the use case of a conversation and, in a few words, what gave it away."""
    if any(message.role == "assistant" for message in messages):
        return "chat", "it goes on with a conversation"
    asked = next((message.content for message in reversed(messages) if message.role == "user"), "")
    text = asked.strip().casefold()
    opening = OPENING.match(text)
    text = text[opening.end() :] if opening else text
    for rule in RULES:
        if rule.wording.search(text):
            return rule.use_case, rule.why
    return "other", "no rule fits"
