"""The arms of the paper in miniature: what is made, from what, in which order, as data.

Knows names, dependencies and the settings in which arms differ; does not know how an arm is run (`benchmarks.paper.arms`)
nor what is measured of it (`benchmarks.paper.measure`).

Every arm and seed leaves ``var/paper/seed-S/ARM/result.json``::

    arm, seed, identity (hash of settings and of everything before it), commit, cpu_s, wall_s
    figures   {name: number}, flat
    prompts   {name: [one number a prompt]}, policy arms only; the same prompts in the same order for all arms of a seed
    series    {name: [{column: number}]}

**Policy arms**: ``base``, ``base-few-shot``, ``tasks``, ``sft``, ``start`` and all whose name begins with ``ppo``.

    figures.gold_mean             mean gold score on held-out customers' prompts
    figures.helpful_mean          mean of the gold taste's ``helpful``
    figures.follows_rate          share that answers the question asked
    figures.untrue_rate           share that claims something false
    figures.rude_rate             share that is rude
    figures.rude_respectful_rate  the same where a note before the prompt asks for respect
    figures.stops_rate            share of one sentence that ended by itself
    figures.courtesy_mean         mean of the gold taste's ``courtesy``
    figures.hallucination_rate    share of closed-domain prompts without an answer (``unstated``) to which one is invented
    figures.not_stated_rate       share of closed-domain prompts with an answer to which it says that there is none
    figures.length_tokens         mean completion, EOS included
    figures.eos_rate              share of completions that ended by themselves
    figures.entropy_nats          mean entropy of the next token, nats a token
    figures.pretraining_loss      nats a token on held-out text of the corpus
    figures.task_accuracy         mean accuracy over the miniature public tasks, zero-shot; task_accuracy_TASK of each
    figures.task_few_shot_accuracy, task_few_shot_accuracy_TASK   the same with worked examples before the question
    prompts.gold, prompts.rude    of each held-out prompt: gold score; 0 or 1
    prompts.hallucinated          of each unstated prompt: 0 or 1

Win rates of any two policy arms of a seed follow from ``prompts.gold``: ties half.

**PPO arms** have besides (all of the exported, averaged weights, on held-out prompts, unless it says otherwise):

    figures.kl_nats               mean KL of a completion to ``start``
    figures.reward_mean           mean score of the reward model that it was trained on
    figures.start_reward_mean, start_gold_mean, start_pretraining_loss   the same measures of ``start``
    figures.raw_gold_mean, raw_reward_mean, raw_kl_nats, raw_pretraining_loss   of the last weights instead of the average
    series.training               {iteration, kl_nats, reward, gold, length_tokens, eos_rate, entropy_nats} of each
                                  iteration's own episodes
    series.points                 {iteration, kl_nats, reward, gold, pretraining_loss} every few iterations, first row
                                  iteration 0 (``start``), on held-out prompts

Arms: ``ppo-ptx`` (the method), ``ppo`` (no pretraining term), ``ppo-large-kl`` (no pretraining term, ten times the KL
coefficient), ``ppo-no-whitening`` (ppo-ptx, advantages not whitened), ``ppo-reward-pairs`` (ppo-ptx against the reward
model of shuffled pairs), ``ppo-long`` (no pretraining term, nearly free KL, many iterations: over-optimisation). EMA off
is ``raw_...`` of every arm.

**Reward arms**: ``reward`` (K-wise) and ``reward-pairs`` (the same comparisons as shuffled pairs: each completion takes
K-1 updates an epoch); ``series.epochs`` {epoch, train_loss, train_accuracy, held_out_loss, held_out_accuracy}, the first
row is epoch 1, which is what policies are trained on.

    figures.train_loss, train_accuracy            on the training comparisons, nats a pair and share
    figures.held_out_loss, held_out_accuracy      other customers' prompts, labelers of the training group
    figures.held_out_labelers_accuracy            the same prompts, labelers of the held-out group
    figures.gold_accuracy                         the same prompts, the gold taste
    figures.ceiling, held_out_labelers_ceiling    what a predictor that knows the gold taste would reach on these labels

``reward-fold-0`` to ``reward-fold-4``: trained without the labels of one fifth of the labelers.

    figures.own_accuracy, other_accuracy          held-out prompts, labelled by the labelers trained on; by the others
    figures.own_ceiling, other_ceiling            what a predictor that knows the gold taste would reach

**comparisons**: figures.agreement, agreement_held_out: how often two labelers of the training (held-out) group order two
completions alike; figures.rows, figures.pairs, figures.K_mean.
"""
