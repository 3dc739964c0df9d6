"""What a reward model must beat: the longer answer, and a bag of words; and intervals for all of them.

Knows completions as text and judged pairs; does not know tokens or models.

Dimension letters: P judged pairs, W words, G prompts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit, log_expit

from benchmarks.preference_sets import Row

Scores = Mapping[str, Sequence[float]]
"""A score of every completion, by row id."""
_TOKEN = re.compile(r"\w+|[^\w\s]")
_LEAST_TEXTS = 3
_L2 = 3.0
_LEVEL = 0.95


class Accuracy(NamedTuple):
    """Share of judged pairs ranked as people did, equal scores counting half, with its 95 % interval."""

    value: float
    low: float
    high: float

    def rounded(self) -> dict[str, float]:
        """Return the three numbers as a report holds them."""
        return {name: round(number, 4) for name, number in self._asdict().items()}


def longer(rows: Sequence[Row]) -> Scores:
    """Score every completion by its number of characters."""
    return {row.id: [float(len(text)) for text in row.texts] for row in rows}


def bag_of_words(train: Sequence[Row], test: Sequence[Row]) -> Scores:
    """Score the test rows by a logistic regression on differences of word counts, fitted on the training rows.

    A word's feature is log(1 + count); words of fewer than three completions are left out; every training prompt has
    the same weight; the penalty is half the squared norm of the weights, the intercept is 0 by symmetry.

    Source: Bradley and Terry's model with linear scores, as in the sets' own descriptions.
    """
    texts = [text for row in train for text in row.texts]
    seen = Counter(word for text in texts for word in set(_words(text)))
    columns = {word: number for number, word in enumerate(sorted(w for w, n in seen.items() if n >= _LEAST_TEXTS))}
    if not columns:
        return {row.id: [0.0] * len(row.texts) for row in test}
    features = _features(texts, columns)
    chosen, rejected, weights, start = [], [], [], 0
    for row in train:
        pairs = row.pairs
        chosen += [start + a for a, _ in pairs]
        rejected += [start + b for _, b in pairs]
        weights += [1.0 / len(pairs)] * len(pairs)
        start += len(row.texts)
    differences_PW, weights_P = features[chosen] - features[rejected], np.asarray(weights)

    def loss(theta_W: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        gaps_P = differences_PW @ theta_W
        value = -float(weights_P @ log_expit(gaps_P)) + 0.5 * _L2 * float(theta_W @ theta_W)
        return value, -(differences_PW.T @ (weights_P * expit(-gaps_P))) + _L2 * theta_W

    theta_W = minimize(loss, np.zeros(len(columns)), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    return {row.id: (_features(row.texts, columns) @ theta_W).tolist() for row in test}


def accuracies(rows: Sequence[Row], scorers: Mapping[str, Scores], *, resamples: int, seed: int) -> dict[str, Any]:
    """Return each scorer's ``Accuracy`` on all judged pairs, and ``NAME-OTHER`` differences of the first to the others.

    Intervals come from resampling prompts (keys), the same resamples for all, since pairs of one prompt are not
    independent of each other.
    """
    groups = {key: number for number, key in enumerate(dict.fromkeys(row.key for row in rows))}
    pairs_G = np.zeros(len(groups))
    hits = {name: np.zeros(len(groups)) for name in scorers}
    for row in rows:
        group = groups[row.key]
        pairs_G[group] += len(row.pairs)
        for name, scores in scorers.items():
            own = scores[row.id]
            hits[name][group] += sum((1.0 + np.sign(own[a] - own[b])) / 2 for a, b in row.pairs)
    drawn = np.random.default_rng(seed).integers(len(groups), size=(resamples, len(groups)))
    totals = pairs_G[drawn].sum(1)
    valid = totals > 0
    sampled = {name: hit[drawn].sum(1)[valid] / totals[valid] for name, hit in hits.items()}
    found: dict[str, Any] = {
        name: _interval(float(hit.sum() / pairs_G.sum()), sampled[name]) for name, hit in hits.items()
    }
    first, *others = scorers
    for other in others:
        gap = found[first].value - found[other].value
        found[f"{first}-{other}"] = _interval(gap, sampled[first] - sampled[other])
    return found


def _interval(value: float, sampled: NDArray[np.float64]) -> Accuracy:
    low, high = np.quantile(sampled, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Accuracy(value, float(low), float(high))


def _words(text: str) -> list[str]:
    return _TOKEN.findall(text.lower())


def _features(texts: Sequence[str], columns: Mapping[str, int]) -> csr_matrix:
    """(texts, W) log(1 + count) of every known word."""
    entries: list[float] = []
    places: list[int] = []
    ends = [0]
    for text in texts:
        counts = Counter(columns[word] for word in _words(text) if word in columns)
        places += counts.keys()
        entries += counts.values()
        ends.append(len(places))
    return csr_matrix((np.log1p(np.asarray(entries, dtype=float)), places, ends), shape=(len(texts), len(columns)))
