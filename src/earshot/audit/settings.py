"""Where the audit draws its lines."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from earshot.audio.fingerprint import MatchConfig


class AuditConfig(BaseModel):
    """Limits of every check."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    silent_below_db: float = Field(-70.0, description="peak of a clip, dB of full scale")
    max_clipped_share: float = Field(0.001, gt=0, le=1, description="of samples at full scale")
    max_dc_offset: float = Field(0.01, gt=0, le=1, description="of full scale")
    min_bandwidth: float = Field(0.8, gt=0, le=1, description="share of what the file's rate could hold")
    min_edge_db: float = Field(6.0, ge=0, description="fall that ends a bandwidth, where it is no fade")
    min_silence_s: float = Field(0.1, gt=0, description="digital silence at an end that counts as padding")
    max_length_ratio: float = Field(
        5.0, gt=1, description="between a clip's length and the median, either way"
    )
    max_imbalance: float = Field(10.0, gt=1, description="largest class over smallest")
    min_groups: int = Field(5, ge=2, description="groups of a class, so that each of five folds has it")
    matching: MatchConfig = MatchConfig()
    n_folds: int = Field(5, ge=2, le=20)
    n_repeats: int = Field(3, ge=1, description="times that folds are dealt anew, for leaks and labels")
    max_repeat_clips: int = Field(3_000, ge=10, description="beyond it once is enough")
    n_trees: int = Field(100, ge=1)
    max_nuisance_clips: int = Field(3_000, ge=10, description="clips that shortcuts are looked for in")
    max_model_clips: int = Field(
        20_000, ge=10, description="clips, in whole groups, that leaks and labels are looked for in"
    )
    seed: int = Field(0, ge=0, lt=2**32)
