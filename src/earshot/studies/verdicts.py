"""Does a trend that the source states show here? Computed from the rows, said in words with the numbers.

Conventions: differences are points (percent); an interval is a 95 % bootstrap over source recordings of the same
clips, so that two rows are compared clip by clip. Answers are "confirmed" and "refuted" where chance is ruled out,
else "same direction, within chance" or "not seen"; "open" where a row is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from earshot.evaluation.significance import welch
from earshot.evaluation.statistics import group_bootstrap
from earshot.studies.outcome import N_BOOTSTRAP, RowResult
from earshot.studies.spec import Claim, Study
from earshot.studies.tables import learned, lowest

CONFIRMED, REFUTED, LEANING, UNSEEN, OPEN, UNJUDGED = (
    "confirmed", "refuted", "same direction, within chance", "not seen", "open", "not judged",
)  # fmt: skip
_RISE = 1.05  # of a held-out loss over its lowest value: what counts as rising again
_LEVEL = 0.05


@dataclass(frozen=True)
class Verdict:
    """A claim, the answer and the numbers behind it."""

    claim: Claim
    answer: str
    numbers: str


def verdicts(
    study: Study, results: Mapping[str, RowResult], *, seed: int, quick: bool = False
) -> list[Verdict]:
    """One a claim, in order; a quick run gives numbers and no answers."""
    found = [_verdict(claim, study, results, seed) for claim in study.claims]
    if not quick:
        return found
    return [v if v.answer == OPEN else replace(v, answer=UNJUDGED) for v in found]


def _verdict(claim: Claim, study: Study, results: Mapping[str, RowResult], seed: int) -> Verdict:
    def judged(patterns: str) -> list[RowResult]:
        there = [results[row.id] for row in study.matching(patterns) if row.id in results]
        there = [_counted(result, claim) for result in there]
        return [result for result in there if result.accuracy is not None]

    left = judged(claim.left)
    right = judged(claim.right) if claim.right else []
    if not left or (claim.right and not right):
        return Verdict(claim, OPEN, "not all of its rows were run")
    answer, numbers = _KINDS[claim.kind](claim, left, right, seed)
    return Verdict(claim, answer, numbers)


def _counted(result: RowResult, claim: Claim) -> RowResult:
    """The row judged by what the claim is about."""
    if claim.per == "clip":
        return result.per_clip()
    return result.on_spoiled() if claim.per == "spoiled" else result


def _higher(
    claim: Claim, left: Sequence[RowResult], right: Sequence[RowResult], seed: int
) -> tuple[str, str]:
    """Whether the mean of `left` is above that of `right`, clip by clip."""
    first, second = (np.mean([r.correct for r in side], axis=0) for side in (left, right))
    points = 100 * float(first.mean() - second.mean())
    groups = left[0].runs[0].groups
    rng = np.random.default_rng(seed)
    low, high = group_bootstrap(first - second, groups, n_resamples=N_BOOTSTRAP, rng=rng)
    numbers = (
        f"{100 * first.mean():.1f} against {100 * second.mean():.1f}: {points:+.1f} points "
        f"({100 * low:+.1f} to {100 * high:+.1f})"
    )
    if low > 0:
        return CONFIRMED, numbers
    if high < 0:
        return REFUTED, numbers
    return (LEANING if points > 0 else UNSEEN), numbers


def _same(claim: Claim, left: Sequence[RowResult], right: Sequence[RowResult], seed: int) -> tuple[str, str]:
    """Whether repeated runs of two rows do not differ significantly."""
    first, second = (np.concatenate([r.accuracies for r in side]) for side in (left, right))
    if min(len(first), len(second)) < 2:
        return OPEN, "needs two runs of each"
    test = welch(first, second)
    numbers = (
        f"{100 * first.mean():.2f} against {100 * second.mean():.2f}: "
        f"Welch's t p = {test.p:.3f}, Cohen's d = {test.cohens_d:+.2f}"
    )
    return (CONFIRMED if test.p > _LEVEL else REFUTED), numbers


def _chance(
    claim: Claim, left: Sequence[RowResult], right: Sequence[RowResult], seed: int
) -> tuple[str, str]:
    """Whether every row stays at chance."""
    chance = 1 / len(left[0].runs[0].classes)
    learned = [r for r in left if (r.interval(seed=seed) or (0.0, 1.0))[0] > chance]
    numbers = f"{len(learned)} of {len(left)} rows are above chance ({100 * chance:.0f})"
    return (CONFIRMED if not learned else REFUTED), numbers


def _above(claim: Claim, left: Sequence[RowResult], right: Sequence[RowResult], seed: int) -> tuple[str, str]:
    """Whether the mean of the rows is above a figure."""
    ours = 100 * float(np.mean([r.accuracy for r in left]))
    if claim.per == "spoiled":
        right_share = np.mean([r.correct for r in left], axis=0)
        rng = np.random.default_rng(seed)
        ends = group_bootstrap(right_share, left[0].runs[0].groups, n_resamples=N_BOOTSTRAP, rng=rng)
    else:
        ends = left[0].interval(seed=seed) or (0.0, 1.0)
    low, high = (100 * end for end in ends)
    numbers = f"{ours:.1f} ({low:.1f} to {high:.1f}) against {claim.value:g}"
    if low > claim.value:
        return CONFIRMED, numbers
    if high < claim.value:
        return REFUTED, numbers
    return (LEANING if ours > claim.value else UNSEEN), numbers


def _turns(claim: Claim, left: Sequence[RowResult], right: Sequence[RowResult], seed: int) -> tuple[str, str]:
    """Whether the held-out loss has its minimum by an epoch (and half as many more) and rises from there."""
    curve = left[0].curve("test_loss")
    if len(curve) < 2 or curve[-1][0] <= claim.value:
        return OPEN, "too few epochs were run"
    epoch, least = min(curve, key=lambda point: point[1])
    final = curve[-1][1]
    numbers = f"lowest {least:.3f} at epoch {epoch}, {final:.3f} at epoch {curve[-1][0]}"
    rises = final > _RISE * least
    return (CONFIRMED if rises and epoch <= 1.5 * claim.value else REFUTED), numbers


def _overfits(
    claim: Claim, left: Sequence[RowResult], right: Sequence[RowResult], seed: int
) -> tuple[str, str]:
    """Whether training accuracy is so many points above held-out accuracy."""
    gaps = []
    for result in left:
        share = learned(result)
        if share is not None and result.accuracy is not None:
            gaps.append((share, result.accuracy))
    if not gaps:
        return OPEN, "training accuracy was not measured"
    inside, held_out = (100 * float(np.mean(side)) for side in zip(*gaps, strict=True))
    numbers = f"{inside:.1f} on what was learned from, {held_out:.1f} held out"
    best = lowest(left[0])
    numbers += "" if best is None else f"; lowest held-out loss at epoch {best.epoch}"
    return (CONFIRMED if inside - held_out > claim.value else REFUTED), numbers


_KINDS: dict[str, Callable[[Claim, Sequence[RowResult], Sequence[RowResult], int], tuple[str, str]]] = {
    "higher": _higher,
    "same": _same,
    "chance": _chance,
    "above": _above,
    "turns": _turns,
    "overfits": _overfits,
}
