"""The gradient of the K-wise reward loss over one batch of prompts, and the tie parameter's step where ties count.

Knows groups, micro-batches and shares of processes; the losses are in `trainer.maths.losses` and `trainer.maths.ties`,
steps and checkpoints in `trainer.running.loop`.

Dimension letters: N completions of a micro-batch, P judged pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from trainer.data.batches import EpochOrder, by_tokens, by_total, pad
from trainer.data.reading import PreferenceGroup
from trainer.maths.losses import kwise_loss_batch, pair_gaps, pair_weights
from trainer.maths.ties import kwise_loss_with_ties, score_and_information
from trainer.models.packing import Packed, can_pack
from trainer.models.scalar import ScalarModel
from trainer.models.tie_parameter import TieParameter
from trainer.running.distributed import ALONE, World
from trainer.running.loop import precision
from trainer.settings.stages import RewardSettings
from trainer.stages.labelers import LabelerTerms


class Judgements(NamedTuple):
    """What labelers said of all completions of some groups.

    Attributes:
        pairs_P2: (P, 2) int64 positions of chosen and rejected among all completions in order; of a tie, of both.
        prompt_P: (P,) int64 number of the group.
        tied_P: (P,) bool.
    """

    pairs_P2: torch.Tensor
    prompt_P: torch.Tensor
    tied_P: torch.Tensor


class Part(NamedTuple):
    """What one forward pass adds to a batch's figures; all add up over passes and processes."""

    loss: float
    hits: float
    pairs: float
    slope: float
    information: float


class KwiseGradient:
    """Accumulates the gradient of one batch of prompts, a few forward passes at a time.

    Attributes:
        packed: each prompt is run once for its completions, without padding; else once for each, padded.
        tie: the tie parameter, moved once a batch; None where ties are dropped.
        last_loss: nats, of the last batch.
    """

    def __init__(
        self,
        model: ScalarModel,
        groups: Sequence[PreferenceGroup],
        order: EpochOrder,
        settings: RewardSettings,
        pad_id: int,
        world: World = ALONE,
        tie: TieParameter | None = None,
        whose: LabelerTerms | None = None,
    ) -> None:
        """Bind model and data; ``order`` says which groups come next, ``whose`` what each labeler's word is worth."""
        self.model, self.groups, self.order, self.settings, self.pad_id = model, groups, order, settings, pad_id
        self.world, self.tie, self.whose = world, tie, whose
        self.packed = settings.packed and can_pack(model.trunk)
        self.last_loss: float | None = None

    def __call__(self) -> dict[str, float]:
        """Add the next batch's gradient, summed over this process's share; return the whole batch's figures."""
        groups = [self.groups[row] for row in self.order.next()]
        sums = [0.0] * len(Part._fields)
        for rows in self._passes(groups):
            mine, weight = self.world.share(rows)
            part = self._backward([groups[row] for row in mine], weight, weight * len(mine) / len(groups))
            sums = [total + figure for total, figure in zip(sums, part, strict=True)]
        whole = Part(*self.world.totals(*sums))
        self.last_loss = whole.loss
        figures = {"loss": whole.loss, "accuracy": whole.hits / max(whole.pairs, 1.0), "pairs": whole.pairs}
        if self.tie is None:
            return figures
        if math.isfinite(whole.slope) and math.isfinite(whole.information):
            self.tie.learn(whole.slope, whole.information)
        return figures | {"tie_parameter": self.tie.value}

    def state(self) -> dict[str, Any]:
        """Return the position in the data and the tie parameter."""
        tie = None if self.tie is None else self.tie.value
        whose = self.whose.state() if self.whose else None
        return {"batches": self.order.cursor, "tie": tie, "loss": self.last_loss, "whose": whose}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what ``state`` returned."""
        self.order.cursor, self.last_loss = int(state["batches"]), state["loss"]
        if self.tie is not None:
            self.tie.value = float(state["tie"])
        if self.whose:
            self.whose.restore(state["whose"])

    def rows(self) -> list[str]:
        """Return the ids of the last batch's groups."""
        return [self.groups[row].id for row in self.order.latest]

    def _passes(self, groups: Sequence[PreferenceGroup]) -> Iterator[list[int]]:
        """Yield which groups go into each forward pass; all completions of a group go into the same."""
        most_tokens = self.settings.micro_batch_tokens * self.world.size
        if self.packed:
            return by_total([len(g.prompt_ids) + sum(map(len, g.completions)) for g in groups], most_tokens)
        widths = [len(group.prompt_ids) + max(map(len, group.completions)) for group in groups]
        return by_tokens(widths, most_tokens, [group.K for group in groups])

    def _rewards(self, groups: Sequence[PreferenceGroup], device: torch.device) -> torch.Tensor:
        """Return (N,) rewards of all completions in order."""
        if self.packed:
            prompts, completions = [g.prompt_ids for g in groups], [g.completions for g in groups]
            return self.model.score_packed(Packed.of_groups(prompts, completions, device))
        sequences = [group.prompt_ids + completion for group in groups for completion in group.completions]
        batch = pad(sequences, self.pad_id).to(device)
        return self.model.score(batch.input_ids_BT, batch.attention_mask_BT)

    def _backward(self, groups: Sequence[PreferenceGroup], weight: float, share: float) -> Part:
        """Add ``share`` of these prompts' mean loss to the gradient; ``weight`` 0 leaves everything out."""
        device = self.model.head.weight.device
        said = Judgements(*(each.to(device) for each in judgements(groups, ties=self.tie is not None)))
        with precision(self.settings, device):
            rewards_N = self._rewards(groups, device)
        gaps_P = pair_gaps(rewards_N, said.pairs_P2)
        slope = information = 0.0
        terms = self.whose.terms(groups).to(device) if self.whose else None
        if self.tie is None:
            loss = share * kwise_loss_batch(rewards_N, said.pairs_P2, said.prompt_P, terms)
        else:
            weights_P, prompts = pair_weights(said.prompt_P)
            weights_P = share * weights_P / prompts
            tie = (self.tie.value, self.tie.model)
            loss = kwise_loss_with_ties(gaps_P, said.tied_P, weights_P, *tie)
            slope, information = score_and_information(gaps_P.detach(), said.tied_P, weights_P, *tie)
        loss.backward()  # type: ignore[no-untyped-call]
        decided_P = gaps_P.detach()[~said.tied_P]
        if self.whose:
            self.whose.saw(groups, decided_P)
        return Part(
            float(loss.detach()), weight * float((decided_P > 0).sum()), weight * len(decided_P), slope, information
        )


def judgements(groups: Sequence[PreferenceGroup], *, ties: bool = False) -> Judgements:
    """Return the judgements of groups, strict ones first within each, with their ties if these count."""
    pairs: list[tuple[int, int]] = []
    prompts: list[int] = []
    tied: list[bool] = []
    start = 0
    for number, group in enumerate(groups):
        said = group.pairs + (group.ties if ties else [])
        pairs += [(start + first, start + second) for first, second in said]
        prompts += [number] * len(said)
        tied += [position >= len(group.pairs) for position in range(len(said))]
        start += group.K
    return Judgements(
        torch.tensor(pairs, dtype=torch.long).reshape(-1, 2),
        torch.tensor(prompts, dtype=torch.long),
        torch.tensor(tied, dtype=torch.bool),
    )
