"""The mission's words as numbers: how often each word of the package's vocabulary is in it."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from manyheads.errors import ManyheadsError

VOCABULARY = """
a after and at avoid ball behind blue box door end fetch find from front get go goal green grey hallway in key lava left
matching must near next object of on open opening pick purple put reach red right room rooms square the then to traverse
unlock up use yellow you your
"""
WORDS = tuple(VOCABULARY.split())
"""Entry `mission[i]` counts word i, in every world: new words are appended, never sorted in."""
MOST = 64
"""more often than any mission says a word"""

_PLACES = {word: place for place, word in enumerate(WORDS)}


def count_words(mission: str) -> npt.NDArray[np.float32]:
    """How often each word of `WORDS` is in a mission, (words,); their order is not told."""
    counts = np.zeros(len(WORDS), np.float32)
    for word in re.findall(r"[a-z]+", mission.lower()):
        if word not in _PLACES:
            raise ManyheadsError(
                f"The mission {mission!r} has the word {word!r}, which manyheads_minigrid does not know. "
                "Install a version of minigrid that it was tested with: `pip install 'manyheads[minigrid]'`."
            )
        counts[_PLACES[word]] += 1
    return counts
