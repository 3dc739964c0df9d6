"""Several reward models as one: their mean, and how far apart they are as a measure of what they do not know.

Knows members, their common scale, the penalty for disagreement and the directory they lie in; does not know how members
are trained or how their accuracy is reported.

Dimension letters: M members, B batch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from feedback.errors import ArtifactCorrupt, ArtifactMissing, ConfigError
from trainer.models.scalar import ScalarModel

ENSEMBLE_FILE = "ensemble.json"
"""Names the members, in order, with the factor that brings each one to the scale of all."""
MEMBERS = "members"
"""Directory of the members, beside the file."""
FEWEST = 2
"""Members from which on there is a spread."""


class RewardEnsemble(nn.Module):
    """Reward models of one tokenizer whose scores are brought to one zero and one scale, averaged, and lessened.

    A member's zero is where demonstrations average 0, as it was saved. Its score is multiplied by its factor, so that
    completions of one prompt differ by as much under each member as they do on average over members (see
    ``common_scale``); the ensemble's scores are logits of preference like those of a single reward model.

    Attributes:
        members: reward models.
        factors_M: (M,) float32.
        uncertainty_coef: reward units taken off for each unit of standard deviation between members.
    """

    factors_M: Tensor

    def __init__(
        self, members: Sequence[ScalarModel], factors: Sequence[float], *, uncertainty_coef: float = 0.0
    ) -> None:
        """Bind members to their factors.

        Raises:
            ConfigError: fewer than two members.
        """
        super().__init__()
        if len(members) < FEWEST:
            raise ConfigError(f"an ensemble has two members or more, not {len(members)}")
        self.members = nn.ModuleList(members)
        self.uncertainty_coef = uncertainty_coef
        self.register_buffer("factors_M", torch.tensor(list(factors), dtype=torch.float32))

    @property
    def context_tokens(self) -> int | None:
        """Longest sequence that every member was made for, if any says so."""
        known = [member.context_tokens for member in members_of(self) if member.context_tokens is not None]
        return min(known, default=None)

    @classmethod
    def load(
        cls,
        directory: str | Path,
        dtype: torch.dtype = torch.float32,
        *,
        device: str | torch.device = "cpu",
        uncertainty_coef: float = 0.0,
    ) -> RewardEnsemble:
        """Return the ensemble in a directory, in evaluation mode.

        Raises:
            ArtifactMissing: there is none, or a member is not there.
            ArtifactCorrupt: its file, or a member, is unreadable.
        """
        listed = _listed(Path(directory))
        members = [ScalarModel.load(path, dtype, device=device) for path, _ in listed]
        factors = [factor for _, factor in listed]
        return cls(members, factors, uncertainty_coef=uncertainty_coef).to(device).eval()

    def combine(self, scores_MB: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ensemble's scores and the spread behind them.

        Args:
            scores_MB: (M, B) float32, each member's own scores.

        Returns:
            (B,) mean - ``uncertainty_coef`` x deviation over members, and (B,) that deviation (of a sample, divided
            by M - 1), both float32 reward units.

        Source: the uncertainty-weighted objective of Coste et al. 2023, arXiv:2310.02743, with the deviation between
        members in place of their variance, because it has the unit of rewards.
        """
        scaled_MB = scores_MB * self.factors_M[:, None]
        spread_B = scaled_MB.std(dim=0, correction=1)
        return scaled_MB.mean(dim=0) - self.uncertainty_coef * spread_B, spread_B


def members_of(model: ScalarModel | RewardEnsemble) -> list[ScalarModel]:
    """Return the reward models that are run: an ensemble's members, or the model itself."""
    if isinstance(model, ScalarModel):
        return [model]
    return [member for member in model.members if isinstance(member, ScalarModel)]


def combined(model: ScalarModel | RewardEnsemble, scores_MB: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return (B,) scores and, of an ensemble, (B,) the spread behind them; a single model's scores are its own."""
    return (scores_MB[0], None) if isinstance(model, ScalarModel) else model.combine(scores_MB)


def common_scale(deviations: Sequence[float]) -> list[float]:
    """Return the factor of each member: the mean deviation over its own.

    Args:
        deviations: of each member, the root mean square by which its scores of a prompt's completions differ from
            their mean. Comparisons say nothing about how prompts stand to one another, so that is left out.

    Raises:
        ArtifactCorrupt: a member gives all completions the same score.
    """
    if any(not deviation > 0 for deviation in deviations):
        raise ArtifactCorrupt("a member of the ensemble gives all completions of a prompt the same score")
    mean = sum(deviations) / len(deviations)
    return [mean / deviation for deviation in deviations]


def write_members(directory: Path, members: Sequence[Path], factors: Sequence[float]) -> None:
    """Write which reward models below ``directory`` are the ensemble in it."""
    rows = [
        {"directory": str(path.relative_to(directory)), "factor": factor}
        for path, factor in zip(members, factors, strict=True)
    ]
    (directory / ENSEMBLE_FILE).write_text(json.dumps({"members": rows}, indent=1) + "\n")


def is_ensemble(directory: str | Path) -> bool:
    """Tell whether there is an ensemble in a directory, and not a single reward model."""
    return (Path(directory) / ENSEMBLE_FILE).is_file()


def member_directories(directory: str | Path) -> list[Path]:
    """Return where the reward models lie: the members of an ensemble, or the directory itself.

    Raises:
        ArtifactCorrupt: the ensemble's file is unreadable.
    """
    path = Path(directory)
    return [member for member, _ in _listed(path)] if is_ensemble(path) else [path]


def load_reward(
    directory: str | Path, *, device: str | torch.device = "cpu", uncertainty_coef: float = 0.0
) -> ScalarModel | RewardEnsemble:
    """Return the reward model or the ensemble in a directory.

    Raises:
        ConfigError: a penalty for disagreement is asked of a single reward model.
        ArtifactMissing: there is neither.
        ArtifactCorrupt: it is unreadable.
    """
    if is_ensemble(directory):
        return RewardEnsemble.load(directory, device=device, uncertainty_coef=uncertainty_coef)
    if uncertainty_coef:
        raise ConfigError(f"--uncertainty-coef {uncertainty_coef:g} needs an ensemble; {directory} is one reward model")
    return ScalarModel.load(directory, device=device)


def _listed(directory: Path) -> list[tuple[Path, float]]:
    """Return each member's directory and factor."""
    file = directory / ENSEMBLE_FILE
    if not file.is_file():
        raise ArtifactMissing(f"{directory}: no {ENSEMBLE_FILE}; this is not an ensemble of reward models")
    try:
        rows = json.loads(file.read_text())["members"]
        found = [(directory / str(row["directory"]), float(row["factor"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactCorrupt(f"{file} is unreadable: {error}") from error
    return found
