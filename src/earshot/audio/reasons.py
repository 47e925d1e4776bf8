"""Why a sound was refused, or accepted with a remark: codes, explanations, likely fixes."""

from __future__ import annotations

import os

from earshot.errors import DecodeError, complaint

REASONS: dict[str, str] = {
    "bad_range": "The start and end times do not lie inside the sound; correct start_s and end_s.",
    "bad_rate": "The header is damaged, or the limit on the rate must be raised.",
    "changed": "The file was being written while it was read; run again when it is complete.",
    "compressed": "The samples are packed in a way that is not read here; unpack them (SPHERE: `sph2pipe -p`).",
    "crashed": "The decoder died on this file; re-encode it or leave it out.",
    "empty": "There is nothing to hear in it; record or export it again.",
    "missing": "The file is not there (any more); check the path.",
    "no_memory": "Decoding needed more memory than a worker may have; cut the recording into pieces.",
    "not_a_file": "It is a folder, a pipe, a device or a loop of links; give the path of a sound file.",
    "not_audio": "The contents are no sound in a known format, whatever the name says; export it again.",
    "not_finite": "It holds NaN or infinite samples; export it again from its source.",
    "out_of_range": "Float samples must lie about within -1 to 1; divide whole numbers by full scale.",
    "outside_root": "A link leads out of the data folder; copy the file into the folder.",
    "permission": "This user may not read the file; change its permissions.",
    "timed_out": "The decoder did not come to an end; re-encode the file or leave it out.",
    "too_long": "Cut the recording into pieces (or use start_s and end_s), or raise the limit.",
    "too_many_channels": "Mix the recording down, or raise the limit on channels.",
    "truncated": "The file breaks off inside its header; copy or export it again.",
    "unreadable": "The file is damaged; re-encode it or leave it out.",
}
"""Code of a failure -> what it means and what helps."""

WARNINGS: dict[str, str] = {
    "bad_header": "sizes or chunks in the header contradict the file; the audio found was used",
    "cancelled": "the channels cancel each other where they are averaged, so nothing is left; keep one of them",
    "clipped": "float samples beyond full scale were clipped to [-1, 1]",
    "many_channels": "more than 8 channels were averaged",
    "no_length": "the header states no length; everything up to the end was read",
    "one_sample": "the sound is a single sample",
    "partial": "the data end before the length that the file states",
    "range_cut": "end_s lies beyond the end of the sound; what there is was used",
    "silent": "every sample is zero, once channels are averaged",
}
"""Code of an oddity in a sound that was accepted -> what it means."""


def failure(reason: str, where: str, field: str, value: object, rule: str) -> DecodeError:
    """The error for `reason` in the house form, with the likely fix from `REASONS`."""
    return DecodeError(reason, complaint(where, field, value, rule, REASONS[reason]))


def printable(path: object) -> str:
    """A path on one line in valid Unicode, whatever bytes it holds."""
    text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
