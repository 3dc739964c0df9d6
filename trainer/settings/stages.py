"""One frozen settings class for each trainer stage.

Knows every knob, its unit, its default and where the default comes from; does not know presets, files' contents,
models or the command line. Defaults are those of Ouyang et al. 2022, arXiv:2203.02155 (appendix C) where the paper
gives one, else the value named in the field's docstring.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trainer.settings.labelers import LabelerSettings
from trainer.settings.lora import LoraSettings

Bootstrap = Literal["none", "prompts", "labelers"]
"""What a member of an ensemble is trained on a sample of, drawn with replacement: nothing, prompts, or labelers."""


class StageSettings(BaseModel):
    """What every stage has in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    output: Path
    """Directory the stage creates; it appears, complete, only when the stage has finished."""
    seed: int = Field(0, ge=0)
    """Seed of data order, initialisation, dropout and sampling; same seed and threads give the same bits on CPU."""
    threads: int = Field(0, ge=0)
    """CPU threads; 0 takes all cores. Part of what makes a run repeatable."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where tensors live; auto takes the first GPU when there is one."""
    skip_bad: bool = False
    """Set unusable rows aside (`quarantine.jsonl` in the output lists them), instead of stopping at the first one."""
    max_bad_share: float = Field(0.01, ge=0, le=1)
    """Largest share of the rows of one kind that may be set aside; more of them and the data are not to be trusted."""


class TrainingSettings(StageSettings):
    """What every stage that takes optimizer steps has in common."""

    beta1: float = Field(0.9, ge=0, lt=1)
    """Adam's first decay (paper)."""
    beta2: float = Field(0.95, ge=0, lt=1)
    """Adam's second decay (paper)."""
    adam_eps: float = Field(1e-5, gt=0)
    """Adam's epsilon; unpublished, 1e-5 from the 2019 code (openai/lm-human-preferences)."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW weight decay on matrices; unpublished, 0."""
    max_grad_norm: float = Field(1.0, ge=0)
    """Gradient norm above which the gradient is scaled down; 0 turns clipping off. Unpublished."""
    bf16: bool = False
    """Run the forward pass in bfloat16 (autocast); weights, optimizer and losses stay float32."""
    max_steps: int = Field(0, ge=0)
    """Stop after this many optimizer steps; 0 runs to the end. The schedule is that of the shortened run."""
    checkpoint_every: int = Field(100, ge=0)
    """Optimizer steps between checkpoints that a killed run resumes from; 0 writes none."""
    tensorboard: bool = False
    """Write TensorBoard event files into ``tensorboard/`` of the output, beside ``metrics.jsonl``."""
    shard: bool = False
    """Under torchrun, split models over the processes on CPUs too (FSDP2), instead of one whole copy in each; on GPUs
    they always are."""
    peer_timeout_s: float = Field(600.0, gt=0)
    """Under torchrun, seconds that a process waits for the others before the run ends with an error."""


class LimitSettings(BaseModel):
    """Length limits of prompts and completions; both shrink where they do not fit the model's context together."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_prompt_tokens: int = Field(1024, gt=0)
    """Longer prompts are dropped and counted (paper: 1k)."""
    max_completion_tokens: int = Field(1024, gt=0)
    """Longer completions are cut here and marked unfinished (paper: 1k)."""


class PretrainSettings(TrainingSettings):
    """Next-token training of a small Llama from nothing, or onward from ``init``."""

    text: list[Path]
    """Files of documents: JSONL(.gz) or Parquet with `text`, or .txt(.gz) with one document per line."""
    tokenizer: Path | None = None
    """Directory of a tokenizer to use; without it a byte-level BPE is trained on the text."""
    init: Path | None = None
    """Policy directory to continue from; without it the model starts from random weights."""
    chat_template: Path | None = None
    """Jinja file for a newly trained tokenizer; without it a plain `User: ... Assistant:` template."""
    special_tokens: list[str] = []
    """More special tokens for a newly trained tokenizer, after <pad>, <bos> and <eos>."""
    vocab_size: int = Field(1024, ge=260)
    """Tokens of a newly trained tokenizer, the 256 bytes and the special ones included."""
    width: int = Field(192, gt=0)
    """Width of the residual stream of a new model."""
    layers: int = Field(4, gt=0)
    """Layers of a new model."""
    mlp_width: int = Field(0, ge=0)
    """Width of the gated MLP of a new model; 0 takes 8/3 of `width`, rounded up to a multiple of 32."""
    heads: int = Field(6, gt=0)
    """Attention heads of a new model; must divide `width`."""
    tied: bool = False
    """A new model's input and output embeddings are one matrix. Tied, a small model learns to copy from its context
    with less text; untied, it costs little at a small vocabulary."""
    init_std: float = Field(0.02, gt=0)
    """Standard deviation of a new model's random weights; 0.04 learns faster at a width of 128."""
    context_tokens: int = Field(512, gt=0)
    """Longest sequence of a new model."""
    bos: bool = True
    """Give a newly trained tokenizer a <bos> token (it never adds it by itself)."""
    packed: bool = True
    """Pack documents into full blocks; otherwise each document is a row that no other document is seen from."""
    block_tokens: int = Field(256, gt=1)
    """Length of the packed blocks; the most tokens of a document when they are not packed."""
    batch_size: int = Field(32, gt=0)
    """Blocks (or documents) per optimizer step."""
    epochs: float = Field(1.0, gt=0)
    """Passes over the text; may be a fraction."""
    lr: float = Field(2e-3, gt=0)
    """Peak learning rate, reached after `warmup_steps`."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """How the learning rate falls from its peak."""
    lr_floor: float = Field(0.1, ge=0, le=1)
    """Share of the peak at which the learning rate ends."""
    warmup_steps: int = Field(20, ge=0)
    """Steps of linear warm-up from 0."""
    valid_fraction: float = Field(0.02, ge=0, lt=1)
    """Share of blocks held out for the reported loss."""
    weight_decay: float = Field(0.1, ge=0)
    """AdamW weight decay on matrices; GPT-3's value."""


class DemonstrationSettings(TrainingSettings, LimitSettings, LoraSettings):
    """What `sft` and `start` have in common: supervised training on demonstrations."""

    policy: Path
    """Pretrained policy directory to start from."""
    demonstrations: list[Path]
    """Files of demonstrations."""
    text: list[Path] = []
    """Pretraining text to mix in; none turns the mix off."""
    text_fraction: float = Field(0.1, ge=0, lt=1)
    """Share of a batch that is pretraining text when `text` is given (C.3: 10 %)."""
    text_packed: bool = True
    """Pack documents into full blocks; otherwise each document is a row of its own."""
    text_block_tokens: int = Field(128, gt=1)
    """Length of a block of the mixed-in text; the most tokens of a document when they are not packed."""
    epochs: int = Field(gt=0)
    """Passes over the demonstrations."""
    batch_size: int = Field(32, gt=0)
    """Sequences per optimizer step, mixed text included (C.1, C.3: 32 for 1.3B and 6B, 8 for 175B)."""
    lr: float = Field(gt=0)
    """Peak learning rate, cosine to a tenth, no warm-up."""
    dropout: float = Field(ge=0, lt=1)
    """Residual dropout."""
    valid_fraction: float = Field(0.1, ge=0, lt=1)
    """Share of demonstrations without a split that are held out, by hash of the prompt."""


class SftSettings(DemonstrationSettings):
    """Supervised fine-tuning on demonstrations (section 3.5, C.1); the paper mixes no text in here."""

    epochs: int = Field(16, gt=0)
    """Passes over the demonstrations (C.1: 16)."""
    lr: float = Field(9.65e-6, gt=0)
    """Peak learning rate, cosine to a tenth, no warm-up (C.1: 1.3B and 6B; 5.03e-6 for 175B)."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Residual dropout (C.1: 0.2)."""
    reward_model: Path | None = None
    """Reward model that chooses the epoch by its mean score on validation prompts; else validation loss chooses."""
    select_prompts: int = Field(64, gt=0)
    """Validation prompts that are sampled for the reward model at the end of each epoch."""


class StartSettings(DemonstrationSettings):
    """The policy that RL starts from and measures its KL to (C.3): not the SFT model; the last epoch is kept."""

    epochs: int = Field(2, gt=0)
    """Passes over the demonstrations (C.3: 2)."""
    lr: float = Field(5e-6, gt=0)
    """Peak learning rate, cosine to a tenth, no warm-up (C.3: 1.3B; 1.04e-5 for 6B, 2.45e-6 for 175B)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Residual dropout; C.3 names none."""


class RewardSettings(TrainingSettings, LimitSettings, LabelerSettings):
    """K-wise reward-model training (section 3.5, eq. 1, C.2)."""

    policy: Path | None = None
    """SFT policy whose trunk the reward model starts from; exclusive with `init_reward`."""
    init_reward: Path | None = None
    """Reward model to continue from (warm start); exclusive with `policy`."""
    preferences: list[Path]
    """Files of ranked completions; several are read as one, reported one by one."""
    demonstrations: list[Path] = []
    """Demonstrations whose mean score becomes 0; without them, the mean over the training completions becomes 0."""
    epochs: int = Field(1, gt=0)
    """Passes over the comparisons (C.2: one; more overfit)."""
    batch_size: int = Field(64, gt=0)
    """Distinct prompts per optimizer step (C.2: 64)."""
    lr: float = Field(9e-6, gt=0)
    """Peak learning rate, cosine to a tenth (C.2); for incremental runs see `incremental_lr_floor`."""
    incremental: bool = False
    """Go on with `init_reward`: one pass over comparisons it never saw, and a sample of those it did."""
    replay: float = Field(0.25, ge=0)
    """Comparisons that an incremental run draws from those seen before, for each fresh one."""
    incremental_batch_size: int = Field(0, ge=0)
    """Distinct prompts per optimizer step of an incremental run; 0 takes `batch_size`. A short run ends in the noise of
    its last small batches, one behind the other."""
    incremental_lr_floor: float = Field(0.1, ge=0, le=1)
    """Share of `lr` that an incremental run's cosine ends at, as 0.1 does in the paper's one run; at 1 the rate is
    constant, so that runs of a few steps, one behind the other, do not each fall and begin at the peak again."""
    max_uses: int = Field(4, ge=1)
    """Passes over a label, all runs since the policy together, after which incremental runs leave it alone."""
    ties: Literal["drop", "davidson", "rao-kupper"] = "drop"
    """What becomes of ties: dropped (C.2), or a third outcome in the likelihood of Davidson or of Rao and Kupper."""
    tie_rate: float = Field(0.1, gt=0, le=1)
    """Share of a Fisher scoring step that the tie parameter takes after each batch; averages over 1 / rate batches."""
    valid_fraction: float = Field(0.1, ge=0, lt=1)
    """Share of rows without a split that are held out, by hash of customer or prompt."""
    bootstrap: Bootstrap = "none"
    """Train on a sample with replacement, drawn by `seed`, of prompts or of labelers with all that they judged; for
    members of an ensemble."""
    packed: bool = True
    """Run each prompt once for all its completions, and no padding; otherwise each completion is a padded row with the
    prompt in it. The gradient is the same. Architectures that cannot be packed are padded in any case."""
    micro_batch_tokens: int = Field(16384, gt=0)
    """Most tokens, padding included, in one forward pass; bounds memory, does not change the gradient."""


class EnsembleSettings(RewardSettings):
    """Several reward models of the same comparisons, whose disagreement says what they do not know."""

    init_reward: Path | None = None
    """Ensemble to continue from, member by member, or one reward model that all continue from; exclusive with
    `policy`."""
    members: int = Field(3, ge=2, le=100)
    """Reward models, each with its own first head, order and sample; 3 is the fewest with a mean and a spread that one
    odd member does not decide."""
    bootstrap: Bootstrap = "prompts"
    """What each member is trained on: all comparisons, or its own sample with replacement of prompts or labelers."""


class ScoreSettings(StageSettings, LimitSettings):
    """A reward model's accuracy on preference files."""

    reward_model: Path
    """Directory of a reward model or of an ensemble."""
    preferences: list[Path]
    """Files of ranked completions."""
    bootstrap: int = Field(1000, gt=0)
    """Resamples of prompts behind the interval."""
    micro_batch_tokens: int = Field(16384, gt=0)
    """Most tokens, padding included, in one forward pass."""


class DisagreeSettings(StageSettings, LimitSettings):
    """Where reward models differ on comparisons that nobody ranked yet."""

    reward_models: list[Path]
    """One or two reward model directories, the newest first."""
    comparisons: list[Path]
    """Files of completions without judgements."""
    micro_batch_tokens: int = Field(16384, gt=0)
    """Most tokens, padding included, in one forward pass."""
