"""Fitted models on disk: networks as safetensors, scikit-learn pipelines as skops with a list of allowed types."""

from __future__ import annotations

import functools
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from earshot.errors import BundleError, complaint
from earshot.files import write_whole
from earshot.models import MODELS
from earshot.models.member import ClassicalMember, Member, NetworkMember
from earshot.training.members import MemberConfig, build_front_end
from earshot.training.optimise import scoring_precision

_MAX_UNPACKED_BYTES = 2 * 2**30
_MAX_ZIP_RATIO = 100
# What skops does not know to be harmless: arrays of nodes, which `_check_trees` looks through.
_TRUSTED = ("sklearn.tree._tree.Tree",)


def weights_suffix(config: MemberConfig) -> str:
    """File suffix of a member's weights."""
    return ".safetensors" if config.is_network else ".skops"


def write_weights(path: Path, member: Member) -> None:
    """Writes a fitted member's parameters, whole or not at all."""
    if isinstance(member, NetworkMember):
        tensors = {k: v.cpu().contiguous() for k, v in member.network.state_dict().items()}
        write_whole(path, safetensors.torch.save(tensors))
    elif isinstance(member, ClassicalMember):
        import skops.io

        # A forest of 1,000 trees names every array of every tree in text that packs well.
        packed = skops.io.dumps(member.estimator, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
        write_whole(path, packed)
    else:
        raise TypeError(f"no weights format for {type(member).__name__}")


def read_member(
    path: Path,
    config: MemberConfig,
    *,
    rate_hz: int,
    window_samples: int,
    n_classes: int,
    multilabel: bool,
    device: str,
    temperature: float = 1.0,
) -> Member:
    """A fitted member, ready to score.

    Raises:
        BundleError: the file does not hold exactly the parameters of `config`, or holds a type that is not allowed.
    """
    front_end = build_front_end(config, rate_hz)
    input_shape = config.features.output_shape(window_samples, rate_hz=rate_hz)
    builder = functools.partial(
        MODELS[config.model.kind], config.model, input_shape=input_shape, n_classes=n_classes
    )
    if not config.is_network:
        estimator = _read_estimator(path, n_features=math.prod(input_shape))
        _check_parts(path, estimator, builder(), multilabel=multilabel)
        return ClassicalMember(
            front_end, estimator, n_classes=n_classes, temperature=temperature, multilabel=multilabel
        )
    network = _read_network(path, builder)
    precision = scoring_precision(config.training.precision, network, device)
    return NetworkMember(
        front_end,
        network,
        temperature=temperature,
        multilabel=multilabel,
        device=device,
        precision=precision,
    )


def _read_network(path: Path, build: Callable[[], nn.Module]) -> nn.Module:
    try:
        tensors = safetensors.torch.load(path.read_bytes())
    except (SafetensorError, KeyError, ValueError) as error:
        raise BundleError(f"{path}: the weights cannot be read ({error}). Train again.") from error
    with torch.device("meta"):  # shapes without memory, for a configuration may ask for any size
        wanted = build().state_dict()
    for name in sorted(set(wanted) ^ set(tensors)):
        raise BundleError(complaint(path, "tensor", name, "exactly the tensors of the configured network"))
    for name, tensor in sorted(tensors.items()):
        if tensor.shape != wanted[name].shape or tensor.dtype != wanted[name].dtype:
            rule = f"{tuple(wanted[name].shape)} of {wanted[name].dtype}"
            raise BundleError(complaint(path, name, tuple(tensor.shape), rule, "Train again."))
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BundleError(complaint(path, name, "not finite", "finite weights", "Train again."))
    network = build()
    network.load_state_dict(tensors)
    return network


def _read_estimator(path: Path, *, n_features: int) -> Any:
    import skops.io

    _check_zip(path)
    content = path.read_bytes()
    try:
        strange = set(skops.io.get_untrusted_types(data=content)) - set(_TRUSTED)
        if strange:
            rule = "scikit-learn types only"
            raise BundleError(complaint(path, "types", sorted(strange), rule, "Such a file could run code."))
        estimator = skops.io.loads(content, trusted=list(_TRUSTED))
    except (KeyError, TypeError, ValueError, AttributeError, ImportError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path}: the model cannot be read ({error}). Train again.") from error
    expects = getattr(estimator, "n_features_in_", None)
    scores = any(hasattr(estimator, name) for name in ("decision_function", "predict_proba"))
    if expects != n_features or not scores:
        rule = f"a classifier on the {n_features} features of the configuration"
        raise BundleError(complaint(path, "number of features", expects, rule, "Train again."))
    return estimator


def _check_parts(path: Path, estimator: Any, wanted: Any, *, multilabel: bool) -> None:
    """The pipeline must be the configured one, part by part: harmless types can still be put together badly."""
    from sklearn.multiclass import OneVsRestClassifier

    rule = "the parts of the configured model"
    is_fitted = not multilabel or hasattr(estimator, "estimators_")
    if isinstance(estimator, OneVsRestClassifier) != multilabel or not is_fitted:
        raise BundleError(complaint(path, "model", type(estimator).__name__, rule, "Train again."))
    # A label that all or none of the clips had has a constant instead of a pipeline.
    pipelines = [p for p in estimator.estimators_ if hasattr(p, "steps")] if multilabel else [estimator]
    for pipeline in pipelines:
        parts = [type(step).__name__ for _, step in getattr(pipeline, "steps", [])]
        if parts != [type(step).__name__ for _, step in wanted.steps]:
            raise BundleError(complaint(path, "parts", parts, rule, "Train again."))
        _check_trees(path, pipeline)
        _check_support(path, pipeline)


def _check_support(path: Path, pipeline: Any) -> None:
    """libsvm reads as many coefficients as the numbers of support vectors say, whether they are there or not."""
    from sklearn.svm import SVC

    svm = pipeline[-1]
    if not isinstance(svm, SVC):
        return
    n_classes = len(svm.classes_)
    n_vectors = len(svm.support_vectors_)
    shapes = {
        "support_vectors_": (n_vectors, svm.n_features_in_),
        "support_": (n_vectors,),
        "_n_support": (n_classes,),
        "_dual_coef_": (n_classes - 1, n_vectors),
        "_intercept_": (n_classes * (n_classes - 1) // 2,),
    }
    for name, shape in shapes.items():
        values = np.asarray(getattr(svm, name))
        if values.shape != shape or not np.isfinite(values).all():
            rule = f"finite numbers of shape {shape}"
            raise BundleError(complaint(path, name, values.shape, rule, "Train again."))
    if min(svm._n_support) < 0 or sum(svm._n_support.tolist()) != n_vectors:
        rule = f"counts that add up to {n_vectors}"
        raise BundleError(complaint(path, "_n_support", svm._n_support.tolist(), rule, "Train again."))


def _check_trees(path: Path, pipeline: Any) -> None:
    """scikit-learn walks trees without looking where it steps: a node must lead onwards to a node, by a feature."""
    from sklearn.ensemble import RandomForestClassifier

    forest = pipeline[-1]
    for grown in forest.estimators_ if isinstance(forest, RandomForestClassifier) else ():
        tree = grown.tree_
        if not 1 <= tree.node_count <= tree.capacity:
            raise BundleError(complaint(path, "tree", "damaged", "as many nodes as it says", "Train again."))
        here = np.arange(tree.node_count)
        is_leaf = tree.children_left == -1
        inside = (tree.feature >= 0) & (tree.feature < forest.n_features_in_)
        onwards = [(c > here) & (c < tree.node_count) for c in (tree.children_left, tree.children_right)]
        if not (is_leaf | (inside & onwards[0] & onwards[1])).all():
            raise BundleError(complaint(path, "tree", "damaged", "nodes that lead to nodes", "Train again."))


def _check_zip(path: Path) -> None:
    """Sizes are checked in the directory of the archive, before anything is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
    except zipfile.BadZipFile as error:
        raise BundleError(f"{path}: the model cannot be read ({error}). Train again.") from error
    limit = min(_MAX_UNPACKED_BYTES, _MAX_ZIP_RATIO * max(1, path.stat().st_size))
    if unpacked > limit:
        raise BundleError(complaint(path, "unpacked size", unpacked, f"at most {limit} bytes"))
