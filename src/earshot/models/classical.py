"""Classical models from scikit-learn, on one row of features per window."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class SvmConfig(BaseModel):
    """Standardised features into a support vector machine with a Gaussian (RBF) kernel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["svm"] = "svm"
    c: float = Field(10.0, gt=0)
    gamma_scale: float = Field(0.5, gt=0, description="kernel width: gamma = gamma_scale / D on standardised features")
    balanced: bool = Field(False, description="weigh each class by the inverse of its number of clips")


def build_svm(config: SvmConfig, *, n_features: int, n_classes: int) -> Any:
    """An unfitted scikit-learn pipeline: StandardScaler, then SVC."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return make_pipeline(
        StandardScaler(),
        SVC(
            C=config.c,
            gamma=config.gamma_scale / n_features,
            class_weight="balanced" if config.balanced else None,
            decision_function_shape="ovr",
        ),
    )
