"""A real serving process with two real vLLM slots, and tiny policies that vLLM and transformers load alike."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from feedback import access, policies, promotion
from feedback.artifacts import MANIFEST, new_directory, sha256_of, write_manifest
from feedback.client import Ledger
from feedback.records import Policy, SwapEvent, utc_now
from tests.conftest import ROOT, RedisServer, free_port
from tests.serve.rig import Rig

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIALS = ["<pad>", "<bos>", "<eos>", "<|system|>", "<|user|>", "<|assistant|>"]
MAX_TOKENS = 64


def make_tokenizer(directory: Path) -> None:
    """Write a byte-level tokenizer without merges: any text round-trips, one byte a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(SPECIALS + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIALS)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", model_max_length=512
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(str(directory))


def make_policy(target: Path, seed: int, *, tied: bool = True) -> Path:
    """Write a random Llama with the seed's weights to ``target``, manifest included, and return it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(SPECIALS) + 256,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.4,
        tie_word_embeddings=tied,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    with new_directory(target) as draft:
        LlamaForCausalLM(config).float().save_pretrained(str(draft))
        make_tokenizer(draft)
    return target


def spoil(source: Path, target: Path, change: Callable[[Path], None], *, sealed: bool = True) -> Path:
    """Copy a policy, let ``change`` work on the copy, and seal it with a fresh manifest unless told not to."""
    shutil.copytree(source, target)
    change(target)
    if sealed:
        (target / MANIFEST).unlink()
        write_manifest(target)
    return target


def register(ledger: Ledger, path: Path) -> str:
    """Register a policy directory and return its new version."""
    version = policies.next_version(ledger)
    sha256 = sha256_of(path / MANIFEST)
    policies.register(ledger, Policy(version=version, created_at=utc_now(), kind="base", path=str(path), sha256=sha256))
    return version


class Reference:
    """What a policy says greedily, according to transformers."""

    def __init__(self, path: Path) -> None:
        from transformers import AutoTokenizer, LlamaForCausalLM

        self.tokenizer = AutoTokenizer.from_pretrained(str(path))
        self._model = LlamaForCausalLM.from_pretrained(str(path)).float().eval()
        self._known: dict[tuple[str, int], list[int]] = {}

    def chat(self, prompt: str, max_tokens: int) -> list[int]:
        """Return the token ids of the greedy answer to one user message."""
        if (prompt, max_tokens) not in self._known:
            turns = [{"role": "user", "content": prompt}]
            text = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
            ids = self.tokenizer.encode(text, add_special_tokens=False)
            self._known[prompt, max_tokens] = self.greedy(ids, max_tokens)[0]
        return self._known[prompt, max_tokens]

    def greedy(self, ids: list[int], max_tokens: int) -> tuple[list[int], list[float]]:
        """Return greedily decoded token ids and their log-probabilities in nats."""
        import torch

        with torch.no_grad():
            out = self._model.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=max_tokens,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
            )
        tokens = out.sequences[0, len(ids) :].tolist()
        logprobs = [float(torch.log_softmax(at[0], -1)[id]) for at, id in zip(out.logits, tokens, strict=True)]
        return tokens, logprobs


class Server:
    """``python -m serve`` as a child process, its Redis, its keys and its policies."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.redis = RedisServer(directory / "redis")
        self.redis.start()
        self.ledger = Ledger(self.redis.url)
        self.port = free_port()
        self.client_key, _ = access.create(self.ledger, "client", "alice")
        self.operator_key, _ = access.create(self.ledger, "operator", "olga")
        self.private_key, _ = access.create(self.ledger, "client", "bob", consent=False)
        self.labeler_key, _ = access.create(self.ledger, "labeler", "lena")
        self.paths: dict[str, Path] = {}
        self.references: dict[str, Reference] = {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "WHETSTONE_LEDGER_URL": self.redis.url,
            "WHETSTONE_PORT": str(self.port),
            "WHETSTONE_REPLICA": "test",
            "WHETSTONE_SPOOL_ROOT": str(self.directory / "spool"),
            "WHETSTONE_ARTIFACT_ROOT": str(self.directory),
            "WHETSTONE_MAX_TOKENS": str(MAX_TOKENS),
            "WHETSTONE_KV_CACHE_GIB": "0.1",
            "WHETSTONE_KEY_CACHE_S": "1",
            "WHETSTONE_READY_CACHE_S": "0.5",
            "OMP_NUM_THREADS": "1",
        }

    def start(self) -> None:
        with (self.directory / "serve.log").open("ab") as log:
            command = [sys.executable, "-m", "serve"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stderr=log, stdout=log)

    def stop(self, deadline_s: float = 60.0) -> int:
        """Send SIGTERM and return the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(deadline_s)

    def log(self) -> str:
        return (self.directory / "serve.log").read_text()

    def wait(self, condition: Callable[[], bool], what: str, deadline_s: float = 240.0) -> None:
        """Wait for a condition, failing early when the process ended."""
        until = time.monotonic() + deadline_s
        while not condition():
            if self.process is not None and self.process.poll() is not None:
                pytest.fail(f"serve ended while waiting for {what}:\n{self.log()[-4000:]}")
            if time.monotonic() > until:
                pytest.fail(f"{what} did not happen within {deadline_s:g} s:\n{self.log()[-4000:]}")
            time.sleep(0.05)

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def slots(self) -> list[dict[str, Any]]:
        """Return what the replica's heartbeat says of its slots."""
        answer = httpx.get(f"{self.url}/v1/operations/status", headers=self.auth("operator"), timeout=10)
        return list(answer.json()["slots"])

    def auth(self, role: str = "client") -> dict[str, str]:
        key = {"client": self.client_key, "operator": self.operator_key, "private": self.private_key}
        return {"Authorization": f"Bearer {key.get(role, self.labeler_key)}"}

    def ask(self, path: str = "/v1/chat/completions", role: str = "client", **fields: Any) -> httpx.Response:
        """Send a completion request; a chat with defaults unless told otherwise."""
        body: dict[str, Any] = {"model": "live", "temperature": 0, "max_tokens": 8}
        if path.endswith("chat/completions"):
            body["messages"] = [{"role": "user", "content": "hello"}]
        headers = {**self.auth(role), **fields.pop("headers", {})}
        return httpx.post(f"{self.url}{path}", json={**body, **fields}, headers=headers, timeout=60)

    def live(self) -> str:
        """Return the version that answers as live."""
        return self.ask(max_tokens=1).headers["x-policy-version"]

    def swaps_of(self, version: str) -> list[SwapEvent]:
        return [event for event in promotion.swaps(self.ledger) if event.version == version]

    def promote(self, version: str) -> None:
        """Promote and wait until the version answers."""
        promotion.promote(self.ledger, version, "test")
        self.wait(lambda: self.live() == version, f"{version} to be live", 30)


@contextmanager
def serving(found: Server, slots: int = 2) -> Iterator[Server]:
    """Yield a serving process with three tied policies registered, the first one live, all slots warm."""
    for seed in range(3):
        path = make_policy(found.directory / f"policy-{seed}", seed)
        version = register(found.ledger, path)
        found.paths[version] = path
        found.references[version] = Reference(path)
    promotion.promote(found.ledger, next(iter(found.paths)), "test")
    found.start()
    try:
        found.wait(found.ready, "readiness")
        found.wait(lambda: [slot["state"] for slot in found.slots()] == ["ready"] * slots, "all slots")
        yield found
    finally:
        if found.process is not None and found.process.poll() is None:
            found.stop()
        found.redis.kill()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One serving process for the whole run, with two slots."""
    pytest.importorskip("vllm")
    with serving(Server(tmp_path_factory.mktemp("serve"))) as found:
        yield found


@pytest.fixture
def rig(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Rig]:
    """Return a maker of hot swapping over fake engines, given a number of slots."""
    return lambda slots: Rig(ledger, monkeypatch, slots)


def probe_rows(reference: Reference, prompts: list[list[int]], tokens: int) -> str:
    """Return the text of a probe.json for a policy."""
    rows = []
    for ids in prompts:
        token_ids, logprobs = reference.greedy(ids, tokens)
        rows.append({"prompt_token_ids": ids, "token_ids": token_ids, "logprobs": logprobs})
    return json.dumps(rows)
