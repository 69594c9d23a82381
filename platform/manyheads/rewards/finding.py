"""What a check found: a stable code, a place in the document, and a message to act on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that a check found; `path` leads to it (`reward.of[0].x`; empty: the whole document)."""

    code: str
    severity: Literal["error", "warning"]
    path: str
    message: str

    @property
    def advice(self) -> str:
        """What whoever writes the specification, a language model too, should do about it."""
        return ADVICE.get(self.code, "Correct this place and leave the rest as it is.")

    def __str__(self) -> str:
        return f"{self.code}{f' at {self.path}' if self.path else ''}: {self.message}"


ADVICE: Mapping[str, str] = {
    "L0_SIZE": "Write a shorter specification: fewer terms, a shorter goal.",
    "L0_JSON": "Answer with one JSON object and nothing before or after it.",
    "L0_YAML": "Use plain mappings, lists, numbers and strings.",
    "L0_DUPLICATE_KEY": "Keep one of the two keys.",
    "L0_DEPTH": "Nest less: combine terms in one list.",
    "L0_NUMBER": "Use a finite number within ±1e6.",
    "L1_SCHEMA": "Use the keys and values of the grammar, spelt exactly so.",
    "L2_OPERANDS": "Give the operation the parts that it takes; let every expression read a signal.",
    "L2_BOUNDS": "Give bounds that differ and are in order.",
    "L2_SIGMOID": "Leave `value_at_margin` out, or take `linear`, `quadratic` or `cosine` to reach 0.",
    "L2_DEPTH": "Write the same thing with fewer nested operations.",
    "L2_SIZE": "Drop the terms that refine least, or shorten the windows.",
    "L2_STAGE": "End every stage but the last by `advance_when`, and the last one by nothing.",
    "L2_TIME": "Take a signal that is a speed instead of `rate` or `progress`.",
    "L2_EPISODE": "Ask for fewer steps than an episode has.",
    "L2_ENVIRONMENT": "Name this environment.",
    "L2_UNKNOWN_SIGNAL": "Use one of the signals that the environment measures.",
    "L2_UNIT": "Combine only what has one unit.",
    "L2_NO_CONTROL": "Leave `effort` out.",
    "L2_CATALOGUE": "Read the descriptions of the signals again, then leave `catalogue` out.",
    "L2_UNREACHABLE": "Choose numbers inside the signal's range.",
    "L2_TRIVIAL": "Choose numbers that the signal does not always satisfy, or drop the part.",
    "L2_ANGLE": "Put `wrap_angle` around it.",
    "L2_OWN_REWARD": "Use signals of the body instead of `reward`.",
    "L3_UNREACHABLE": "Choose numbers inside the range that was measured, or a margin that reaches into it.",
    "L3_TRIVIAL": "Choose numbers that not all that was measured satisfies already.",
    "L3_MARGIN": "Take a margin about as wide as the range that was measured.",
    "L4_ROWS": "Treat the other findings from data as hints.",
    "L4_NOT_FINITE": "Do not use this signal.",
    "L4_FLAT": "Widen the margins, so that some of what was recorded earns more than the rest.",
    "L4_FLAT_TERM": "Widen this term's margin, or drop the term.",
    "L4_SATURATED": "Ask for more: nearly everything earns full reward already.",
    "L4_SPARSE": "Widen the margins or take `long_tail`, so that the way to the goal is rewarded, too.",
    "L4_NO_GRADIENT": "Take tolerances with a margin, or ramps, instead of indicators.",
    "L4_DUPLICATE_TERM": "Drop one of the two terms.",
    "L4_STILL": "Add or raise the term for what is to be done; take away what is paid for standing still.",
    "L4_STAGE": "Make the stage before it easier to finish.",
    "L5_PARAPHRASE": "Read the goal again: other wordings of it led to other rewards.",
    "L5_OPPOSITE": "Read the goal again: the opposite goal is rewarded alike. Is a sign the wrong way round?",
}
"""What to do about a finding, by its code."""


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Those that forbid the use of a specification."""
    return [finding for finding in findings if finding.severity == "error"]


def under(at: str, finding: Finding) -> Finding:
    """The same finding where its document lies at `at` in a larger one."""
    path = ".".join(part for part in (at, finding.path) if part)
    return Finding(finding.code, finding.severity, path, finding.message)
