"""Classical models from scikit-learn, on one row of features per window.

Conventions
-----------
- Rows are float [N, D]. A builder gives an unfitted pipeline: a StandardScaler if `standardise`, and the model.
  `training.tuning.fit_estimator` fits it, `member.decision_values` reads it.
- `balance` is a field of the models that can weigh classes. The nearest centroid has no use for it; k-NN, naive
  Bayes and the MLP of scikit-learn take the clips as they come.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Balance = Annotated[
    Literal["auto", "on", "off"],
    Field(description="weigh classes by the inverse of their size; auto: where they differ beyond 2:1"),
]
Positive = Annotated[float, Field(gt=0)]


class ClassicalConfig(BaseModel):
    """What every classical model has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_network: ClassVar[bool] = False
    ranks: ClassVar[frozenset[int]] = frozenset({1, 2, 3})
    kind: str
    standardise: bool = Field(True, description="bring every feature to mean 0 and deviation 1 first")
    max_windows: int = Field(
        10_000, ge=1, description="training windows at the most, for they are all in memory"
    )


class CentroidConfig(ClassicalConfig):
    """The class whose mean is nearest."""

    kind: Literal["nearest_centroid"] = Field(
        "nearest_centroid", description="the class whose mean is nearest"
    )


class KnnConfig(ClassicalConfig):
    """A vote of the nearest training windows."""

    kind: Literal["knn"] = Field("knn", description="a vote of the nearest windows")
    n_neighbours: int = Field(
        3, ge=1, le=10_000, description="windows that vote; fewer where there are fewer"
    )
    weights: Literal["uniform", "distance"] = Field("uniform", description="distance: nearer ones count more")


class NaiveBayesConfig(ClassicalConfig):
    """Each feature a Gaussian of its own in every class."""

    kind: Literal["naive_bayes"] = Field("naive_bayes", description="a Gaussian a feature and class")
    smoothing: float = Field(1e-9, gt=0, le=1, description="added to variances, in parts of the largest")


class ForestConfig(ClassicalConfig):
    """The mean of decision trees on resampled windows and features."""

    kind: Literal["random_forest"] = Field("random_forest", description="decision trees")
    standardise: bool = Field(False, description="trees do not care")
    n_trees: int = Field(500, ge=1, le=10_000, description="trees that vote")
    min_leaf: int = Field(
        1, ge=1, description="training windows in a leaf at the least; more makes it smaller"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of the draws, with the recipe's")
    balance: Balance = "auto"


class LinearSvmConfig(ClassicalConfig):
    """A support vector machine without a kernel, one class against the rest."""

    kind: Literal["linear_svm"] = Field("linear_svm", description="a support vector machine without a kernel")
    c: float = Field(0.1, gt=0, description="penalty of a training error (C); less is smoother")
    c_grid: tuple[Positive, ...] = Field((), max_length=20, description="values of c to choose from by group")
    balance: Balance = "auto"


class SvmConfig(ClassicalConfig):
    """A support vector machine with a Gaussian (RBF) kernel."""

    kind: Literal["svm"] = "svm"
    c: float = Field(10.0, gt=0)
    gamma_scale: float = Field(
        0.5, gt=0, description="kernel width: gamma = gamma_scale / D on standardised features"
    )
    c_grid: tuple[Positive, ...] = Field((), max_length=20, description="values of c to choose from by group")
    gamma_scale_grid: tuple[Positive, ...] = Field(
        (), max_length=20, description="values of gamma_scale to choose from by group"
    )
    max_windows: int = Field(
        10_000, ge=1, description="training windows at the most: the cost grows with their square"
    )
    balance: Balance = "auto"


class ClassicalMlpConfig(ClassicalConfig):
    """A multilayer perceptron fitted by L-BFGS on all windows at once."""

    kind: Literal["mlp_lbfgs"] = Field("mlp_lbfgs", description="scikit-learn's perceptron")
    hidden: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field(
        (512, 128), min_length=1, max_length=16, description="units of each layer below the last"
    )
    iterations: int = Field(200, ge=1, le=100_000, description="at the most")
    weight_decay: float = Field(1e-4, ge=0, description="L2 penalty on weights")
    seed: int = Field(0, ge=0, lt=2**32, description="of the weights at the start, with the recipe's")


# Models whose fit depends on their `seed`.
SEEDED = (ForestConfig, ClassicalMlpConfig)


def build_centroid(config: CentroidConfig, *, input_shape: tuple[int, ...], n_classes: int) -> Any:
    """An unfitted pipeline that ends with NearestCentroid."""
    from sklearn.neighbors import NearestCentroid

    return _pipeline(config, NearestCentroid())


def build_knn(config: KnnConfig, *, input_shape: tuple[int, ...], n_classes: int) -> Any:
    """An unfitted pipeline that ends with KNeighborsClassifier."""
    from sklearn.neighbors import KNeighborsClassifier

    # Trees do not help with more than some twenty features, and could not be read back from disk without trust.
    return _pipeline(
        config, KNeighborsClassifier(config.n_neighbours, weights=config.weights, algorithm="brute")
    )


def build_naive_bayes(config: NaiveBayesConfig, *, input_shape: tuple[int, ...], n_classes: int) -> Any:
    """An unfitted pipeline that ends with GaussianNB."""
    from sklearn.naive_bayes import GaussianNB

    return _pipeline(config, GaussianNB(var_smoothing=config.smoothing))


def build_forest(config: ForestConfig, *, input_shape: tuple[int, ...], n_classes: int) -> Any:
    """An unfitted pipeline that ends with RandomForestClassifier."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        config.n_trees,
        min_samples_leaf=config.min_leaf,
        random_state=config.seed,
        class_weight=_class_weight(config.balance),
    )
    return _pipeline(config, forest)


def build_linear_svm(config: LinearSvmConfig, *, input_shape: tuple[int, ...], n_classes: int) -> Any:
    """An unfitted pipeline that ends with LinearSVC."""
    from sklearn.svm import LinearSVC

    return _pipeline(
        config, LinearSVC(C=config.c, class_weight=_class_weight(config.balance), random_state=0)
    )


def build_svm(config: SvmConfig, *, input_shape: tuple[int, ...], n_classes: int) -> Any:
    """An unfitted pipeline that ends with SVC."""
    from sklearn.svm import SVC

    machine = SVC(
        C=config.c,
        gamma=config.gamma_scale / math.prod(input_shape),
        class_weight=_class_weight(config.balance),
        decision_function_shape="ovo",  # votes, as in "ovr", hardly tell how sure it is: see `decision_values`
    )
    return _pipeline(config, machine)


def build_classical_mlp(config: ClassicalMlpConfig, *, input_shape: tuple[int, ...], n_classes: int) -> Any:
    """An unfitted pipeline that ends with MLPClassifier."""
    from sklearn.neural_network import MLPClassifier

    network = MLPClassifier(
        config.hidden,
        solver="lbfgs",
        max_iter=config.iterations,
        alpha=config.weight_decay,
        random_state=config.seed,
    )
    return _pipeline(config, network)


def _pipeline(config: ClassicalConfig, model: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(*([StandardScaler()] if config.standardise else []), model)


def _class_weight(balance: str) -> str | None:
    return "balanced" if balance == "on" else None
