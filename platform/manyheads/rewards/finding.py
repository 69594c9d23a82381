"""What a check found: a stable code, a place in the document, and a message to act on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that a check found; `path` leads to it (`reward.of[0].x`; empty: the whole document)."""

    code: str
    severity: Literal["error", "warning"]
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}{f' at {self.path}' if self.path else ''}: {self.message}"


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Those that forbid the use of a specification."""
    return [finding for finding in findings if finding.severity == "error"]


def under(at: str, finding: Finding) -> Finding:
    """The same finding where its document lies at `at` in a larger one."""
    path = ".".join(part for part in (at, finding.path) if part)
    return Finding(finding.code, finding.severity, path, finding.message)
