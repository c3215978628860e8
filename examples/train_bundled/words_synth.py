"""Words and sentences spoken by speech synthesizers (espeak-ng, flite, festival) -> clips for training.

Some voices are kept out of training; `make_samples.py` records the demo clips with those.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from words_data import COMMANDS, DIGITS, IDS, UNKNOWN, Clip, clip_of, read_sound

logger = logging.getLogger(__name__)

ESPEAK_VOICES = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc")
ESPEAK_VARIANTS = (
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "f1",
    "f2",
    "f3",
    "f5",
    "klatt",
    "klatt2",
    "adam",
    "Alex",
    "Alicia",
    "Andrea",
    "Andy",
    "Annie",
    "antonio",
    "belinda",
    "benjamin",
    "boris",
    "caleb",
    "david",
    "ed",
    "edward",
    "Gene",
    "grandma",
    "Henrique",
    "Hugo",
    "iven",
    "john",
    "kaukovalta",
    "Lee",
    "linda",
    "marcelo",
    "Marco",
    "max",
    "michel",
    "miguel",
    "mike",
    "norbert",
    "pablo",
    "paul",
    "pedro",
    "quincy",
    "rob",
    "robert",
    "steph",
    "travis",
    "victor",
    "zac",
)
FLITE_VOICES = ("kal", "kal16", "awb")
FESTIVAL_VOICES = ("kal_diphone", "ked_diphone")

# Kept out of training: espeak-ng en-gb-scotland and en-029 (with the variants m7, f4, Diogo), flite rms and
# slt, festival cmu_us_slt_arctic_hts.
RUNNING_SPEECH = Path(__file__).with_name("running_speech.txt")
OTHER_SPEECH = Path(__file__).with_name("other_speech.txt")
"""Words and sentences outside the vocabulary, one a line; none sounds like one of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One synthesizer call: its argument vector with the text last, and what it will have said."""

    speaker: str
    token: int
    argv: tuple[str, ...]
    """`{out}` stands for the path to write."""


def _espeak(text: str, rng: np.random.Generator, token: int) -> Job:
    voice = str(rng.choice(ESPEAK_VOICES))
    variant = str(rng.choice(ESPEAK_VARIANTS))
    argv = ["espeak-ng", "-v", f"{voice}+{variant}", "-s", str(rng.integers(110, 230))]
    argv += ["-p", str(rng.integers(20, 80)), "-w", "{out}", text]
    return Job(speaker=f"espeak-{voice}-{variant}", token=token, argv=tuple(argv))


def _flite(text: str, rng: np.random.Generator, token: int) -> Job:
    voice = str(rng.choice(FLITE_VOICES))
    argv = ["flite", "-voice", voice, "--setf", f"duration_stretch={rng.uniform(0.75, 1.35):.2f}"]
    argv += ["--setf", f"int_f0_target_mean={rng.uniform(80, 180):.0f}", "-o", "{out}", "-t", text]
    return Job(speaker=f"flite-{voice}", token=token, argv=tuple(argv))


def _festival(text: str, rng: np.random.Generator, token: int) -> Job:
    voice = str(rng.choice(FESTIVAL_VOICES))
    stretch = f"(Parameter.set 'Duration_Stretch {rng.uniform(0.8, 1.3):.2f})"
    save = f'(utt.save.wave (SynthText "{text}") "{{out}}" \'riff)'
    return Job(
        speaker=f"festival-{voice}", token=token, argv=("festival", "-b", f"(voice_{voice})", stretch, save)
    )


MAKERS = {"espeak-ng": (_espeak, 0.6), "flite": (_flite, 0.3), "festival": (_festival, 0.1)}


def plan(seed: int, takes: int, other_takes: int) -> list[Job]:
    """`takes` recordings of each vocabulary word, `other_takes` of each other word and sentence."""
    present = [name for name in MAKERS if shutil.which(name)]
    for name in MAKERS.keys() - set(present):
        logger.warning("%s is not installed: its voices are missing from training", name)
    if not present:
        return []
    rng = np.random.default_rng(seed)
    shares = np.array([MAKERS[name][1] for name in present])
    shares /= shares.sum()
    texts = [(word, IDS[word]) for word in (*DIGITS, *COMMANDS) for _ in range(takes)]
    for text in OTHER_SPEECH.read_text(encoding="utf-8").splitlines():
        # A sentence is worth three words: there are few of them.
        texts += [(text, UNKNOWN)] * (other_takes * (3 if " " in text else 1))
    return [
        MAKERS[present[int(rng.choice(len(present), p=shares))]][0](text, rng, token) for text, token in texts
    ]


def plan_running_speech(seed: int, takes: int) -> list[Job]:
    """Phrases in which words of the vocabulary occur, and other numbers: all of it outside the vocabulary."""
    present = [name for name in MAKERS if shutil.which(name)]
    rng = np.random.default_rng((seed, 1))
    texts = [text for text in RUNNING_SPEECH.read_text(encoding="utf-8").splitlines() for _ in range(takes)]
    return [
        MAKERS[present[int(rng.integers(len(present)))]][0](text, rng, UNKNOWN) for text in texts if present
    ]


def synthesize(jobs: Sequence[Job], threads: int = 4) -> list[Clip]:
    """Run the jobs; one that fails or writes no sound is left out with a warning."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(threads) as pool:
        paths = [Path(folder) / f"{number}.wav" for number in range(len(jobs))]
        done = list(pool.map(_run, jobs, paths))
        return list(_clips(jobs, paths, done))


def _run(job: Job, path: Path) -> bool:
    argv = [part.replace("{out}", str(path)) for part in job.argv]
    finished = subprocess.run(argv, capture_output=True, timeout=600, check=False)
    return finished.returncode == 0 and path.is_file() and path.stat().st_size > 2000


def _clips(jobs: Sequence[Job], paths: Sequence[Path], done: Sequence[bool]) -> Iterator[Clip]:
    for job, path, good in zip(jobs, paths, done, strict=True):
        if not good:
            logger.warning("no sound from: %s", " ".join(job.argv))
            continue
        yield clip_of(read_sound(path), job.token, job.speaker, "synthesized")
