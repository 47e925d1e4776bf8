"""Networks trained elsewhere: which there are, how each is shaped, and where its weights lie."""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError
from torch import Tensor

from earshot.errors import ConfigError, complaint, rule_of
from earshot.files import sha256_of

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_FETCHED = ("config.json", "model.safetensors", "model-*.safetensors", "model.safetensors.index.json")

_Size = Annotated[int, Field(ge=1, le=8192)]
_Sizes = Annotated[tuple[_Size, ...], Field(min_length=1, max_length=16)]
_Depth = Annotated[int, Field(ge=1, le=64)]
_Epsilon = Annotated[float, Field(gt=0, le=0.1)]
_Activation = Literal["gelu", "gelu_new", "relu", "selu", "silu"]
_Weights = Annotated[str, Field(min_length=1, max_length=1000, description="folder, or name on the hub")]
_FILLED_IN = "architecture of the weights; the training fills it in"
_S = TypeVar("_S", bound="BackboneShape")


@dataclass(frozen=True, config={"extra": "forbid"})
class BackboneShape:
    """The fields of a transformers configuration that shape the network, with names and defaults as there.

    Nothing else of such a file is kept: it may name code to fetch and run.
    """

    model_type: ClassVar[str]
    switched_off: ClassVar[dict[str, Any]] = {}


@dataclass(frozen=True, config={"extra": "forbid"})
class ResNetShape(BackboneShape):
    """Stages of convolutions."""

    model_type: ClassVar[str] = "resnet"
    num_channels: Literal[3] = 3
    embedding_size: _Size = 64
    hidden_sizes: _Sizes = (256, 512, 1024, 2048)
    depths: Annotated[tuple[_Depth, ...], Field(min_length=1, max_length=16)] = (3, 4, 6, 3)
    layer_type: Literal["basic", "bottleneck"] = "bottleneck"
    hidden_act: _Activation = "relu"
    downsample_in_first_stage: bool = False
    downsample_in_bottleneck: bool = False


@dataclass(frozen=True, config={"extra": "forbid"})
class TransformerShape(BackboneShape):
    """Layers of attention."""

    hidden_size: _Size = 768
    num_hidden_layers: _Depth = 12
    num_attention_heads: _Size = 12
    intermediate_size: Annotated[int, Field(ge=1, le=32_768)] = 3072
    hidden_act: _Activation = "gelu"


@dataclass(frozen=True, config={"extra": "forbid"})
class AstShape(TransformerShape):
    """A transformer on patches of a picture of num_mel_bins x max_length."""

    model_type: ClassVar[str] = "audio-spectrogram-transformer"
    layer_norm_eps: _Epsilon = 1e-12
    patch_size: _Size = 16
    qkv_bias: bool = True
    frequency_stride: _Size = 10
    time_stride: _Size = 10
    max_length: _Size = 1024
    num_mel_bins: _Size = 128

    def grid(self, n_bands: int, n_frames: int) -> tuple[int, int]:
        """Patches over frequency and over time."""
        sides = ((n_bands, self.frequency_stride), (n_frames, self.time_stride))
        over_frequency, over_time = (max(0, (n - self.patch_size) // stride + 1) for n, stride in sides)
        return over_frequency, over_time


@dataclass(frozen=True, config={"extra": "forbid"})
class Wav2Vec2Shape(TransformerShape):
    """Convolutions on a waveform and a transformer on their outputs."""

    model_type: ClassVar[str] = "wav2vec2"
    # Masks would come from NumPy's global generator.
    switched_off: ClassVar[dict[str, Any]] = {"layerdrop": 0.0, "mask_time_prob": 0.0}
    layer_norm_eps: _Epsilon = 1e-5
    conv_dim: _Sizes = (512,) * 7
    conv_kernel: _Sizes = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: _Sizes = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    feat_extract_norm: Literal["group", "layer"] = "group"
    feat_extract_activation: _Activation = "gelu"
    num_conv_pos_embeddings: _Size = 128
    num_conv_pos_embedding_groups: _Size = 16
    do_stable_layer_norm: bool = False

    def shortest(self) -> int:
        """Samples that one output of the convolutions sees."""
        strides = [math.prod(self.conv_stride[:i]) for i in range(len(self.conv_stride))]
        return 1 + sum((k - 1) * s for k, s in zip(self.conv_kernel, strides, strict=False))


class PretrainedConfig(BaseModel):
    """`weights`: a folder with config.json and model.safetensors, or the name of such a repository on the hub.

    With `freeze` nothing but the new last layer learns. `backbone` is filled in by `resolved`, not by hand.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    is_network: ClassVar[bool] = True
    shape_type: ClassVar[type[BackboneShape]]
    weights: _Weights
    freeze: bool = Field(True, description="only the new last layer learns")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of the embedding zeroed in training")
    backbone: BackboneShape | None = Field(None, description=_FILLED_IN)

    def resolved(self) -> Self:
        """A copy that holds the architecture, so that the network can be built without `weights`.

        Raises:
            ConfigError: `weights` is not there, or is of another architecture.
        """
        if self.backbone is not None:
            return self
        wanted: Any = self.shape_type
        path = weights_folder(self.weights) / "config.json"
        try:
            raw = dict(json.loads(path.read_bytes()))
            if raw.get("model_type") != wanted.model_type:
                raise ConfigError(complaint(path, "model_type", raw.get("model_type"), wanted.model_type))
            shape = wanted(**{field.name: raw[field.name] for field in fields(wanted) if field.name in raw})
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(
                complaint(path, str(first["loc"][0]), first["input"], rule_of(first))
            ) from error
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(complaint(path, "content", error, "a transformers configuration")) from error
        return self.model_copy(update={"backbone": shape})


class ResNetConfig(PretrainedConfig):
    """A ResNet (ResNet-18 by default) for colour pictures, or a time-frequency picture repeated to 3 channels."""

    ranks: ClassVar[frozenset[int]] = frozenset({2, 3})
    shape_type: ClassVar[type[BackboneShape]] = ResNetShape
    kind: Literal["resnet"] = Field("resnet", description="convolutions trained on pictures")
    weights: _Weights = "microsoft/resnet-18"
    backbone: ResNetShape | None = Field(None, description=_FILLED_IN)


class AstConfig(PretrainedConfig):
    """The audio spectrogram transformer, for log-mel pictures of any size from one patch on."""

    ranks: ClassVar[frozenset[int]] = frozenset({2})
    shape_type: ClassVar[type[BackboneShape]] = AstShape
    kind: Literal["ast"] = Field("ast", description="the audio spectrogram transformer")
    weights: _Weights = "MIT/ast-finetuned-audioset-10-10-0.4593"
    backbone: AstShape | None = Field(None, description=_FILLED_IN)


class Wav2Vec2Config(PretrainedConfig):
    """Wav2Vec2 for waveforms, which should be at the rate of its training: 16 kHz for the published ones."""

    ranks: ClassVar[frozenset[int]] = frozenset({1})
    shape_type: ClassVar[type[BackboneShape]] = Wav2Vec2Shape
    kind: Literal["wav2vec2"] = Field("wav2vec2", description="a transformer on waveforms of speech")
    weights: _Weights = "facebook/wav2vec2-base-960h"
    backbone: Wav2Vec2Shape | None = Field(None, description=_FILLED_IN)


def weights_folder(weights: str, *, offline: bool = False) -> Path:
    """The folder itself, or that of a copy of the repository: the one place that may use the network.

    Args:
        offline: take a copy that is here already.

    Raises:
        ConfigError: it is neither, or cannot be fetched.
    """
    local = Path(weights).expanduser()
    if local.is_dir():
        return local
    rule = "a folder, or the name of a repository on the hub, as in microsoft/resnet-18"
    # A name below a folder that exists was meant as a path.
    if not _HUB_ID.fullmatch(weights) or local.parent.is_dir():
        raise ConfigError(complaint("model", "weights", weights, rule, "There is no such folder."))
    fetch = library("huggingface_hub").snapshot_download
    try:
        return Path(fetch(weights, allow_patterns=list(_FETCHED), local_files_only=offline))
    except Exception as error:  # of the hub's client, of its HTTP library or of the system
        fix = f"It could not be fetched ({type(error).__name__}): go online once, or give a folder that holds it."
        raise ConfigError(complaint("model", "weights", weights, rule, fix)) from error


def pretrained_digest(model: Any) -> str:
    """Hash of the weights that the training of a model starts from; empty where it starts from none.

    The name of a folder or of a repository says nothing of what lies there.
    """
    if not isinstance(model, PretrainedConfig):
        return ""
    try:
        folder = weights_folder(model.weights, offline=True)
        stat = [(path, path.stat()) for path in sorted(folder.glob("*.safetensors"))]
    except (ConfigError, OSError):
        return "none"  # who trains is told so
    digests = [_digest(path, about.st_size, about.st_mtime_ns) for path, about in stat]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


@functools.cache
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    """Of a file as it was when it was this large and this old."""
    return sha256_of(path)


def stored_weights(folder: Path, shape: BackboneShape, network: type[Any]) -> dict[str, Tensor]:
    """The backbone's tensors in a folder, by the names of this version of transformers; heads are left out.

    Raises:
        ConfigError: they are not in safetensors, do not fit the folder's own configuration, or some are missing.
    """
    if not any((folder / name).is_file() for name in _FETCHED[1:]):
        fix = "Pickled .bin files can run code and are not read; save it again with save_pretrained."
        files = sorted(path.name for path in folder.iterdir())
        raise ConfigError(complaint(folder, "content", files, "a model.safetensors", fix))
    safe = {"use_safetensors": True, "local_files_only": True, "dtype": torch.float32}
    try:
        with quiet():
            model, about = network.from_pretrained(
                folder, config=library_config(shape), output_loading_info=True, **safe
            )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise ConfigError(complaint(folder, "weights", error, "those of its config.json")) from error
    for name in sorted(about["missing_keys"]):
        raise ConfigError(complaint(folder, "missing weight", name, "all weights of its config.json"))
    return dict(model.state_dict())


def library(name: str = "transformers") -> Any:
    """The module, or a ConfigError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"model: no {name} ({error}): pip install transformers") from error


def library_config(shape: BackboneShape, **changes: int) -> Any:
    """The library's configuration of a shape."""
    values = asdict(shape) | shape.switched_off | changes
    return library().AutoConfig.for_model(shape.model_type, **values)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the library's progress bar and its table of unused weights, which are those of the old head."""
    logging = library().utils.logging
    level, had_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        (logging.enable_progress_bar if had_bar else logging.disable_progress_bar)()


def known_shape(shape: _S | None) -> _S:
    """The shape, or a ConfigError where it has not been read yet."""
    if shape is None:
        raise ConfigError(complaint("model", "backbone", None, "an architecture", "Call resolved() first."))
    return shape
