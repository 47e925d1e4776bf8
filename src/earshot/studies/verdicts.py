"""Does a trend that the source states show here? Computed from the rows, said in words with the numbers.

Conventions: differences are points (percent); an interval is a 95 % bootstrap over source recordings of the same
clips, so that two rows are compared clip by clip. Answers are "confirmed" and "refuted" where chance is ruled out,
else "same direction, within chance" or "not seen"; "not refuted" of a claim that there is no difference, which no
test can prove; "seen" and "not seen" of what is counted or read off a curve without a test; "open" where a row is
missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from earshot.evaluation.significance import welch
from earshot.evaluation.statistics import group_bootstrap
from earshot.studies.outcome import N_BOOTSTRAP, RowResult, interval_of
from earshot.studies.spec import Claim, Study
from earshot.studies.tables import learned, lowest

CONFIRMED, REFUTED, LEANING, UNSEEN = "confirmed", "refuted", "same direction, within chance", "not seen"
NOT_REFUTED, SEEN, OPEN, UNJUDGED = "not refuted", "seen", "open", "not judged"
_RISE = 1.05  # of a held-out loss over its lowest value: what counts as rising again
_LEVEL = 0.05


@dataclass(frozen=True)
class Verdict:
    """A claim, the answer and the numbers behind it."""

    claim: Claim
    answer: str
    numbers: str


@dataclass(frozen=True)
class _Asked:
    """A claim and its rows as far as they were run; `n_left` rows stand on the left, run or not."""

    claim: Claim
    left: Sequence[RowResult]
    right: Sequence[RowResult]
    n_left: int
    seed: int


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

    asked = _Asked(
        claim,
        judged(claim.left),
        judged(claim.right) if claim.right else [],
        n_left=len(study.matching(claim.left)),
        seed=seed,
    )
    if not asked.left or (claim.right and not asked.right):
        return Verdict(claim, OPEN, "not all of its rows were run")
    answer, numbers = _KINDS[claim.kind](asked)
    return Verdict(claim, answer, numbers)


def _counted(result: RowResult, claim: Claim) -> RowResult:
    """The row judged by what the claim is about."""
    if claim.per == "clip":
        return result.per_clip()
    return result.on_spoiled() if claim.per == "spoiled" else result


def _tested(low: float, middle: float, high: float, *, bar: float) -> str:
    """Whether something is above a bar, by its interval."""
    if low > bar:
        return CONFIRMED
    if high < bar:
        return REFUTED
    return LEANING if middle > bar else UNSEEN


def _higher(asked: _Asked) -> tuple[str, str]:
    """Whether the mean of `left` is above that of `right`, clip by clip."""
    low, middle, high, numbers = _difference(asked)
    return _tested(low, middle, high, bar=0), numbers


def _not_higher(asked: _Asked) -> tuple[str, str]:
    """Whether the mean of `left` is not above that of `right`, clip by clip."""
    low, _, high, numbers = _difference(asked)
    if low > 0:
        return REFUTED, numbers
    return (CONFIRMED if high < 0 else NOT_REFUTED), numbers


def _difference(asked: _Asked) -> tuple[float, float, float, str]:
    """Points from right to left with both ends of their interval, and the same in words."""
    first, second = (np.mean([r.correct for r in side], axis=0) for side in (asked.left, asked.right))
    points = 100 * float(first.mean() - second.mean())
    groups = asked.left[0].runs[0].groups
    rng = np.random.default_rng(asked.seed)
    ends = group_bootstrap(first - second, groups, n_resamples=N_BOOTSTRAP, rng=rng)
    low, high = (100 * end for end in ends)
    numbers = (
        f"{100 * first.mean():.1f} against {100 * second.mean():.1f}: {points:+.1f} points "
        f"({low:+.1f} to {high:+.1f})"
    )
    return low, points, high, numbers


def _same(asked: _Asked) -> tuple[str, str]:
    """Whether repeated runs of two rows differ significantly; that they do not proves no equality."""
    first, second = (np.concatenate([r.accuracies for r in side]) for side in (asked.left, asked.right))
    if min(len(first), len(second)) < 2:
        return OPEN, "needs two runs of each"
    test = welch(first, second)
    numbers = (
        f"{100 * first.mean():.2f} against {100 * second.mean():.2f}: "
        f"Welch's t p = {test.p:.3f}, Cohen's d = {test.cohens_d:+.2f}"
    )
    return (NOT_REFUTED if test.p > _LEVEL else REFUTED), numbers


def _chance(asked: _Asked) -> tuple[str, str]:
    """Whether so many rows are not above chance; open while rows that were not run could still decide it."""
    chance, needed = 1 / len(asked.left[0].runs[0].classes), max(1.0, asked.claim.value)
    low_ends = [interval_of([row], seed=asked.seed)[0] for row in asked.left]
    n = sum(low <= chance for low in low_ends)
    n_missing = asked.n_left - len(asked.left)
    numbers = f"{n} of {len(asked.left)} rows are not above chance ({100 * chance:.0f})"
    numbers += f"; not run: {n_missing}" if n_missing else ""
    if n >= needed:
        return SEEN, numbers
    return (OPEN if n + n_missing >= needed else UNSEEN), numbers


def _above(asked: _Asked) -> tuple[str, str]:
    """Whether the mean of the rows is above a figure."""
    low, ours, high, numbers = _figure(asked)
    return _tested(low, ours, high, bar=asked.claim.value), f"{numbers} against {asked.claim.value:g}"


def _about(asked: _Asked) -> tuple[str, str]:
    """Whether the mean of the rows is so near a figure, or as far from it, by its whole interval."""
    low, _, high, numbers = _figure(asked)
    value, within = asked.claim.value, asked.claim.within
    numbers += f" against {value:g}, {within:g} points either way"
    if value - within <= low and high <= value + within:
        return CONFIRMED, numbers
    return (REFUTED if low > value + within or high < value - within else NOT_REFUTED), numbers


def _figure(asked: _Asked) -> tuple[float, float, float, str]:
    """Mean of the rows and runs, percent, with both ends of its interval, and the same in words."""
    ours = 100 * float(np.mean([row.accuracy for row in asked.left]))
    low, high = (100 * end for end in interval_of(asked.left, seed=asked.seed))
    return low, ours, high, f"{ours:.1f} ({low:.1f} to {high:.1f})"


def _turns(asked: _Asked) -> tuple[str, str]:
    """Whether the held-out loss has its minimum by an epoch (and half as many more) and rises from there."""
    curve, by = asked.left[0].curve("test_loss"), asked.claim.value
    if len(curve) < 2 or curve[-1][0] <= by:
        return OPEN, "too few epochs were run"
    epoch, least = min(curve, key=lambda point: point[1])
    final = curve[-1][1]
    numbers = f"lowest {least:.3f} at epoch {epoch}, {final:.3f} at epoch {curve[-1][0]}"
    rises = final > _RISE * least
    return (SEEN if rises and epoch <= 1.5 * by else UNSEEN), numbers


def _overfits(asked: _Asked) -> tuple[str, str]:
    """Whether training accuracy is so many points above held-out accuracy, whose interval is the gap's."""
    measured = [(row, share) for row in asked.left if (share := learned(row)) is not None]
    if not measured:
        return OPEN, "training accuracy was not measured"
    inside = 100 * float(np.mean([share for _, share in measured]))
    worst, held_out, best, _ = _figure(replace(asked, left=[row for row, _ in measured]))
    low, gap, high = inside - best, inside - held_out, inside - worst
    numbers = (
        f"{inside:.1f} on what was learned from, {held_out:.1f} held out: {gap:+.1f} points "
        f"({low:+.1f} to {high:+.1f}) against {asked.claim.value:g}"
    )
    turn = lowest(asked.left[0])
    numbers += "" if turn is None else f"; lowest held-out loss at epoch {turn.epoch}"
    return _tested(low, gap, high, bar=asked.claim.value), numbers


_KINDS: dict[str, Callable[[_Asked], tuple[str, str]]] = {
    "higher": _higher,
    "not_higher": _not_higher,
    "same": _same,
    "chance": _chance,
    "above": _above,
    "about": _about,
    "turns": _turns,
    "overfits": _overfits,
}
