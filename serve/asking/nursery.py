"""A process of its own that tries out schemas: ``python -m serve.asking.nursery``, driven by `serve.asking.trials`.

Reads one JSON job a line from its input and writes one JSON reply a line. Each job is done by a fork, so that the
slow imports happen once, and ends with that fork: an alarm kills one that takes too long, a limit on its memory fails
one that wants too much. What kills a fork, even a fault inside the library, costs nobody anything.

Uses the very library that vLLM guides decoding with, on the policy's own tokenizer. Besides compiling, it rehearses
an answer, because a grammar may be quick to compile and slow to follow.
"""

import json
import os
import random
import re
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

CONVERSION_S = 0.05
"""Processor seconds to turn schemas into grammars; vLLM does this while nobody else is served."""
STEP_S = 0.02
"""Processor seconds that one token of an answer may cost; the engine's other answers wait for it."""
REHEARSED_TOKENS = 64
MEMORY_BYTES = 512 << 20
"""What a fork may take on top of what it begins with."""
MESSAGE_CHARS = 300
PLACE_IN_LIBRARY = re.compile(r"^\[[0-9:]+\] \S+:\d+: ")

Vocabulary = Any
"""xgrammar's TokenizerInfo."""


def try_out(schemas: list[str], vocabulary: Vocabulary) -> str:
    """Return why no engine should see these schemas, or nothing if there is no reason."""
    import xgrammar

    options: dict[str, Any] = {"any_whitespace": False, "separators": (",", ":")}
    started = time.process_time()
    for schema in schemas:
        xgrammar.Grammar.from_json_schema(schema, **options)
    if time.process_time() - started > CONVERSION_S:
        return "takes too long to be understood; make it smaller, or its patterns and repetitions simpler"
    compiler = xgrammar.GrammarCompiler(vocabulary, max_threads=1, cache_enabled=False)
    for schema in schemas:
        if _slowest_step(compiler.compile_json_schema(schema, **options), vocabulary.vocab_size) > STEP_S:
            return "takes too long to be followed; make its patterns and alternatives simpler"
    return ""


def _slowest_step(grammar: Any, vocab_size: int) -> float:
    """Return the processor seconds of the dearest token of a made-up answer."""
    import xgrammar

    matcher, slowest, chance = xgrammar.GrammarMatcher(grammar), 0.0, random.Random(0)
    mask = xgrammar.allocate_token_bitmask(1, vocab_size)
    for _ in range(REHEARSED_TOKENS):
        started = time.process_time()
        matcher.fill_next_token_bitmask(mask)
        filled = time.process_time()
        words = mask[0].tolist()
        allowed = [id for id in range(vocab_size) if words[id // 32] >> (id % 32) & 1]
        if not allowed:
            break
        chosen = chance.choice(allowed)
        resumed = time.process_time()
        matcher.accept_token(chosen)
        slowest = max(slowest, filled - started + time.process_time() - resumed)
        if matcher.is_terminated():
            break
    return slowest


def load(directory: Path) -> Vocabulary:
    """Return the vocabulary of the policy under ``directory``, as large as its model's output."""
    import xgrammar
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(directory))
    config = json.loads((directory / "config.json").read_text())
    return xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=config.get("vocab_size") or len(tokenizer))


def _fork(job: dict[str, Any], vocabulary: Vocabulary, replies: int) -> None:
    if os.fork():
        return
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, job["limit_s"])
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            wrong = try_out(job["schemas"], vocabulary)
        except MemoryError:
            wrong = "takes too much memory"
        except Exception as error:
            words = PLACE_IN_LIBRARY.sub("", " ".join(str(error).split()))
            wrong = f"is not understood: {words[:MESSAGE_CHARS]}"
        os.write(replies, json.dumps({"id": job["id"], "wrong": wrong}).encode() + b"\n")
    finally:
        os._exit(0)


def main() -> None:
    """Serve jobs until the input ends."""
    replies = os.dup(1)
    os.dup2(2, 1)  # what the libraries print is no reply
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # forks need no burial
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's interrupt is for the server; our input ends with it
    vocabularies: dict[str, Vocabulary] = {}
    for line in sys.stdin.buffer:
        job = json.loads(line)
        directory = job["tokenizer"]
        if directory not in vocabularies:
            vocabularies[directory] = load(Path(directory))
        if job["schemas"]:
            _fork(job, vocabularies[directory], replies)
        else:
            os.write(replies, json.dumps({"id": job["id"], "wrong": ""}).encode() + b"\n")


if __name__ == "__main__":
    main()
