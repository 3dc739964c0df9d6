"""A random model that costs an engine about what a small real one costs in calls, made from a seed.

The sandbox's own model is so small that the server around it is all one measures.
"""

import shutil
from pathlib import Path

from deploy.base import SHIPPED

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
POSITIONS = 512


def make_model(target: Path, seed: int = 1) -> Path:
    """Write a Llama of 4.5 million parameters that speaks the sandbox's tokens; return its directory."""
    import torch  # type: ignore[import-not-found, unused-ignore]  # here, because it takes seconds
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=818,
        hidden_size=256,
        intermediate_size=576,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=POSITIONS,
        initializer_range=0.2,  # wide, so that the best token is far from the second and greedy answers are certain
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    shutil.rmtree(target, ignore_errors=True)
    LlamaForCausalLM(config).float().save_pretrained(str(target))
    for name in TOKENIZER_FILES:
        shutil.copy(SHIPPED / name, target / name)
    return target
