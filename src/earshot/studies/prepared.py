"""What the rows of a study stand on: its clips, split, their views, and the views of their damages."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from earshot.studies.bank import FeatureBank
from earshot.studies.data import StudyData, find_data, gather
from earshot.studies.request import StudyRun
from earshot.studies.spec import Study
from earshot.studies.spoiling import SpoiledBank

Prepared = tuple[StudyData | None, FeatureBank | None, SpoiledBank | None]


def prepared(
    study: Study, asked: StudyRun, cache: Path, *, protocol: str, wanted: Collection[str]
) -> Prepared:
    """Data and banks, computed as far as the wanted rows need them; nothing where these are toys.

    Args:
        cache: folder of the views.
        wanted: ids of rows.

    Raises:
        ConfigError: the data or a fold that is asked for are not there.
        DataError: the clips cannot be used.
    """
    rows = [row for row in study.rows if row.id in wanted]
    if not any(row.view or row.recipe or row.ensemble for row in rows):
        return None, None, None
    data = gather(
        study,
        find_data(asked.data, study),
        protocol=protocol,
        folds=asked.folds,
        quick=asked.quick,
        monitor=asked.monitor,
        store_root=asked.store_root,
    )
    bank = FeatureBank(
        cache,
        data,
        views=study.views,
        n_variants=study.n_variants,
        steps=study.copy_steps,
        seed=study.seed,
    )
    named = [*(row.view for row in rows if row.view), *([study.pictures] if study.pictures else [])]
    bank.ensure(list(dict.fromkeys(named)), monitor=asked.monitor)
    if study.spoil is None:
        return data, bank, None
    spoiled = SpoiledBank(cache, data, views=study.views, spoil=study.spoil, seed=study.seed)
    damaged = dict.fromkeys(row.view for row in rows if row.spoiled)
    spoiled.ensure(list(damaged), monitor=asked.monitor)
    return data, bank, spoiled
