# make demo   install what is missing, turn the loop, print what was learned
# make test   install what is missing, run all tests
SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
export VENV
export VLLM_NO_USAGE_STATS := 1
export DO_NOT_TRACK := 1
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: bench-gpu help demo up test check format docs paper setup setup-test base clean bench-serve bench-swap bench-spool bench-queue bench-overload bench-labelers bench-sampling bench-labels bench-curation bench-ensemble bench-incremental bench-labeler-model bench-resume bench-preferences bench-ppo bench-reward bench-hacks
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup:
	@deploy/setup.sh run

setup-test:
	@deploy/setup.sh test

demo: setup ## the whole loop with simulated customers and labelers; report in var/demo/report.json
	@exec $(BIN)/whetstone demo

up: setup ## start everything and stay; prints the pages' addresses and fresh keys
	@exec $(BIN)/whetstone up

test: setup-test ## all tests: real Redis, real vLLM, real Celery, real Chromium
	@$(BIN)/python -m pytest

check: setup-test ## lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache | tail -n 12

format: setup-test ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

docs: setup ## write the reference pages from the code
	@$(BIN)/python docs/generate.py

base: setup ## train the sandbox's base model anew and put it into sandbox/base (minutes)
	@$(BIN)/python -m sandbox template --out var/base/chat.jinja
	@$(BIN)/python -m sandbox lessons --n 45000 --seed 1 --out var/base/lessons.jsonl
	@$(BIN)/python -m sandbox corpus --n 45000 --seed 1 --out var/base/corpus.jsonl
	@rm -rf var/base/first var/base/model
	@$(BIN)/python -m trainer pretrain --preset sandbox --chat-template var/base/chat.jinja --threads 1 \
	  --text var/base/lessons.jsonl --output var/base/first
	@$(BIN)/python -m trainer pretrain --preset sandbox --init var/base/first --lr 3e-3 --threads 1 \
	  --text var/base/corpus.jsonl --output var/base/model
	@cp var/base/model/{config,generation_config,tokenizer,tokenizer_config}.json var/base/model/model.safetensors sandbox/base/

bench-serve: setup-test ## what the front costs against bare vLLM and a LiteLLM proxy
	@benchmarks/peers/setup.sh
	@$(BIN)/python -m benchmarks.bench_serve

bench-swap: setup-test ## what callers notice of hot swaps
	@$(BIN)/python -m benchmarks.bench_swap

bench-spool: setup-test ## whether logged prompts survive a dead Redis and a killed API
	@$(BIN)/python -m benchmarks.bench_spool

bench-queue: setup-test ## quotas with 50 labelers, lease + submit per second, a thousand open items against a million
	@$(BIN)/python -m benchmarks.bench_queue

bench-curation: setup-test ## how long sameness, caps and splits of a million prompts take, and what masking costs
	@$(BIN)/python -m benchmarks.bench_curation

bench-sampling: setup-test ## whether every comparison is sampled while the workers are killed every 5 s
	@$(BIN)/python -m benchmarks.bench_sampling

bench-overload: setup-test ## what happens when three times as much is asked as can be done
	@$(BIN)/python -m benchmarks.bench_overload

bench-labelers: setup-test ## how soon a labeler is flagged who works against the others
	@$(BIN)/python -m benchmarks.bench_labelers

bench-resume: setup-test ## whether runs that are killed at any moment end in the same bits
	@$(BIN)/python -m benchmarks.bench_resume

bench-labels: setup-test ## whether acknowledged labels survive kills of the ledger, and what a label costs
	@$(BIN)/python -m benchmarks.bench_labels

bench-hacks: setup-test ## whether policies that game their reward are stopped within 20 iterations, and others left alone
	@$(BIN)/python -m benchmarks.bench_hacks

bench-ensemble: setup-test ## whether the disagreement of several reward models delays over-optimisation of few labels
	@$(BIN)/python -m benchmarks.bench_ensemble

bench-incremental: setup-test ## whether incremental reward models keep up with full retraining, and at what share of its compute
	@$(BIN)/python -m benchmarks.bench_incremental

bench-labeler-model: setup-test ## whether planted biases of labelers are found, what adversaries cost, whose taste a model has
	@$(BIN)/python -m benchmarks.bench_labeler_model

bench-preferences: setup-test ## what a small reward model learns of six sets of real preferences, beside length and a bag of words
	@$(BIN)/python -m benchmarks.bench_preferences

bench-gpu: setup-test ## what PPO-ptx of a random 1.3B model costs on one GPU, phase by phase, beside TRL
	@$(BIN)/python -m benchmarks.bench_gpu

paper: setup-test ## the paper's findings in the sandbox, with seeds and intervals: docs/paper.md (SEEDS="2 3 4")
	@$(BIN)/python -m benchmarks.paper $(if $(SEEDS),--seeds $(SEEDS))

bench-ppo: setup-test ## our PPO beside TRL 1.12's: gold reward, episodes a CPU-second, peak memory at a vocabulary of 32,768
	@$(BIN)/python -m benchmarks.bench_ppo

bench-reward: setup-test ## our reward stage beside TRL's reward trainer: quality, and pairs a CPU-second
	@$(BIN)/python -m benchmarks.bench_reward

clean: ## remove what was built and run, except the environment
	rm -rf var .mypy_cache .ruff_cache .pytest_cache
