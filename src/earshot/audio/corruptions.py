"""A standard suite of damaged sounds, each in 5 severities, to measure how much a model bears.

Conventions
-----------
- Waveforms are float32 [T], full scale 1; a corruption keeps the length (what is missing is zeros) and the input.
- Severity 1 is the mildest, 5 the worst; `Corruption.values` says what each means, in `Corruption.unit`.
- All that is random is drawn from `rng`; `rng_of` makes one of a seed, a clip, a corruption and a severity, so that
  neither order nor choice of clips changes a result.
- A level is always relative to the clip's own power: silence stays silence.

Source: the form of the suite, 5 severities of types that are not trained on, is that of Hendrycks and Dietterich,
"Benchmarking neural network robustness to common corruptions and perturbations", 2019.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earshot.audio import damage
from earshot.audio.augment import AugmentConfig
from earshot.audio.codecs import CODECS
from earshot.audio.damage import Samples, Scene
from earshot.errors import ConfigError, complaint

SEVERITIES = (1, 2, 3, 4, 5)
_SNRS_DB = (30.0, 22.5, 15.0, 7.5, 0.0)
# Transforms of audiomentations that raise or lower some frequencies.
_EQUALISERS = (
    "BandStopFilter",
    "PeakingFilter",
    "SevenBandParametricEQ",
    "LowShelfFilter",
    "HighShelfFilter",
)
_TEMPOS = (1.05, 1.1, 1.2, 1.35, 1.5)


@dataclass(frozen=True)
class Corruption:
    """One kind of damage.

    Attributes:
        change: waveform, value, scene -> waveform of any length.
        values: one a severity.
        unit: what the values are.
        group: the name under which kinds of its sort are asked for together.
        taught_by: the keys of `AugmentConfig`, kinds of steps and transforms of audiomentations that train on
            something like it.
        needs_pool: it is left out where there are no other clips.
        codec: key of `CODECS`, which this machine's libsndfile may lack.
    """

    change: Callable[[Samples, float, Scene], NDArray[np.floating]]
    values: tuple[float, float, float, float, float]
    unit: str
    group: str
    taught_by: tuple[str, ...] = ()
    needs_pool: bool = False
    codec: str = ""

    def apply(
        self,
        waveform: Samples,
        *,
        rate_hz: int,
        severity: int,
        rng: np.random.Generator,
        pool: Sequence[Samples] = (),
    ) -> Samples:
        """The damaged sound.

        Args:
            severity: 1 to 5.
            pool: clips of other recordings at the same rate; only `background` needs them.

        Shape: [T] -> [T].

        Raises:
            ValueError: not one axis, a severity that is not known, or no pool where one is needed.
        """
        if waveform.ndim != 1 or severity not in SEVERITIES:
            raise ValueError(f"shape {waveform.shape}, severity {severity}; expected [T] and 1 to 5")
        if self.needs_pool and not any(len(each) for each in pool):
            raise ValueError("pool is empty; expected clips of other recordings")
        given = np.array(waveform, dtype=np.float32)
        if not given.any():
            return given
        made = self.change(given, self.values[severity - 1], Scene(rate_hz, rng, pool))
        return _fitted(made, len(given))


def _fitted(samples: NDArray[np.floating], n_samples: int) -> Samples:
    kept = np.zeros(n_samples, np.float32)
    n = min(n_samples, len(samples))
    kept[:n] = samples[:n]
    return kept


CORRUPTIONS: dict[str, Corruption] = {
    "white_noise": Corruption(
        damage.white_noise,
        _SNRS_DB,
        "SNR in dB",
        "noise",
        (
            "noise_probability",
            "noise",
            "coloured_noise",
            "AddGaussianNoise",
            "AddGaussianSNR",
            "AddColorNoise",
        ),
    ),
    "pink_noise": Corruption(
        damage.pink_noise,
        _SNRS_DB,
        "SNR in dB",
        "noise",
        ("noise_probability", "noise", "coloured_noise", "AddColorNoise"),
    ),
    "babble": Corruption(damage.babble_noise, _SNRS_DB, "SNR in dB", "noise"),
    "background": Corruption(
        damage.background,
        _SNRS_DB,
        "SNR in dB",
        "noise",
        ("mix_probability", "background_probability", "AddBackgroundNoise", "AddShortNoises"),
        needs_pool=True,
    ),
    "reverberation": Corruption(
        damage.reverberation,
        (0.2, 0.4, 0.8, 1.4, 2.5),
        "time to fall by 60 dB, in s",
        "room",
        ("RoomSimulator", "ApplyImpulseResponse"),
    ),
    "low_pass": Corruption(
        damage.low_pass,
        (8000, 4000, 2000, 1000, 500),
        "cut-off in Hz",
        "filter",
        (
            *("n_frequency_masks", "band_limit", "LowPassFilter", "BandPassFilter", "AirAbsorption"),
            *_EQUALISERS,
        ),
    ),
    "high_pass": Corruption(
        damage.high_pass,
        (100, 200, 400, 800, 1600),
        "cut-off in Hz",
        "filter",
        ("n_frequency_masks", "band_limit", "HighPassFilter", "BandPassFilter", *_EQUALISERS),
    ),
    "clipping": Corruption(
        damage.clipping,
        (0.01, 0.03, 0.1, 0.2, 0.4),
        "share of samples cut",
        "level",
        ("ClippingDistortion", "Clip", "TanhDistortion", "Limiter"),
    ),
    "gain": Corruption(
        damage.gain,
        (-10, -20, -30, -40, -50),
        "gain in dB, then 16 bits",
        "level",
        ("gain_db", "level", "Gain", "GainTransition", "Normalize", "LoudnessNormalization"),
    ),
    "speed": Corruption(damage.speed, _TEMPOS, "factor, either way", "tempo", ("speed_octaves", "Resample")),
    "time_stretch": Corruption(
        damage.time_stretch,
        _TEMPOS,
        "factor, either way",
        "tempo",
        ("speed_octaves", "time_resize", "time_stretch", "TimeStretch", "Resample"),
    ),
    "pitch_shift": Corruption(
        damage.pitch_shift,
        (1, 2, 3, 5, 7),
        "semitones, either way",
        "pitch",
        ("speed_octaves", "frequency_resize", "pitch_shift", "PitchShift", "Resample"),
    ),
    "resampling": Corruption(
        damage.resampling,
        (16000, 11025, 8000, 4000, 2000),
        "rate in Hz",
        "codec",
        ("band_limit", "Resample", "Aliasing", "AirAbsorption", "LowPassFilter"),
    ),
    "vorbis": Corruption(
        damage.coded("vorbis"),
        (0.6, 0.7, 0.8, 0.9, 1.0),
        "compression level",
        "codec",
        ("Mp3Compression",),
        codec="vorbis",
    ),
    "opus": Corruption(
        damage.coded("opus"), (64, 32, 16, 10, 6), "kbit/s", "codec", ("Mp3Compression",), codec="opus"
    ),
    "mp3": Corruption(
        damage.coded("mp3"),
        (0.6, 0.8, 0.9, 0.95, 0.99),
        "compression level",
        "codec",
        ("Mp3Compression",),
        codec="mp3",
    ),
    "mu_law": Corruption(damage.mu_law, (8, 7, 6, 5, 4), "bits a sample", "codec", ("BitCrush",)),
    "dropouts": Corruption(
        damage.dropouts,
        (0.05, 0.1, 0.2, 0.3, 0.5),
        "share of 50 ms gaps",
        "loss",
        ("n_time_masks", "gaps", "TimeMask", "Padding", "AdjustDuration"),
    ),
    "time_shift": Corruption(
        damage.time_shift,
        (0.05, 0.1, 0.2, 0.3, 0.5),
        "share of the clip",
        "loss",
        ("shift", "time_translate", "time_shift", "Shift", "Trim", "Padding", "AdjustDuration", "RepeatPart"),
    ),
}


def rng_of(corruption: str, severity: int, *, clip_id: str, seed: int) -> np.random.Generator:
    """The generator of one clip under one corruption, whatever else is made, and in whatever order.

    >>> first, again = (rng_of("gain", 1, clip_id="a", seed=0) for _ in range(2))
    >>> first.random() == again.random()
    True
    """
    text = "\0".join((str(seed), clip_id, corruption, str(severity)))
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return np.random.default_rng(np.frombuffer(digest, "<u4"))


def corruptions_of(wanted: str, *, has_pool: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The corruptions that an option asks for, and a note for each that cannot be made here.

    Args:
        wanted: "standard" for all, or names and groups with commas between.
        has_pool: there are clips of other recordings.

    Raises:
        ConfigError: a name is neither a corruption nor a group, or nothing is left.

    >>> corruptions_of("noise,speed", has_pool=False)[0]
    ('white_noise', 'pink_noise', 'babble', 'speed')
    """
    groups = tuple(dict.fromkeys(each.group for each in CORRUPTIONS.values()))
    asked = [part.strip() for part in wanted.split(",")]
    for part in asked:
        if part not in {"standard", *groups, *CORRUPTIONS}:
            rule = f"standard, or some of {', '.join((*groups, *CORRUPTIONS))}"
            raise ConfigError(complaint("--corruptions", "name", part, rule))
    names, notes = [], []
    for name, each in CORRUPTIONS.items():
        if not {"standard", each.group, name} & set(asked):
            continue
        if each.needs_pool and not has_pool:
            notes.append(f"{name} is left out: it needs clips of other recordings")
        elif each.codec and not CODECS[each.codec].is_there():
            notes.append(f"{name} is left out: this libsndfile cannot write it")
        else:
            names.append(name)
    if not names:
        raise ConfigError(complaint("--corruptions", "names", wanted, "one that can be made", notes[0] + "."))
    return tuple(names), tuple(notes)


def taught_by(config: AugmentConfig) -> frozenset[str]:
    """The corruptions that are like something in this training; all others are held out."""
    if not config.enabled:
        return frozenset()
    used = {name for name in AugmentConfig.model_fields if getattr(config, name)}
    used |= {getattr(step, "name", step.kind) for step in (*config.steps, *config.last_steps)}
    return frozenset(name for name, each in CORRUPTIONS.items() if used & set(each.taught_by))
