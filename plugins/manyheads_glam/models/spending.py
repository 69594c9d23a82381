"""What answers cost: counted, and stopped before a limit is passed. Prices are the user's; none are known here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from manyheads import ManyheadsError
from manyheads_glam.models.settings import ModelSettings

BYTES_PER_TOKEN = 2.5
"""cautious: English has about 4, JSON and numbers about 3"""


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, rather too many than too few."""
    return int(len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN)


@dataclass
class Spending:
    """The tokens and the cost of one command's answers; `free`: the model runs on this machine."""

    settings: ModelSettings
    free: bool = False
    asked: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    _prices: tuple[float, float] | None = field(init=False)

    def __post_init__(self) -> None:
        if self.settings.price is not None:
            read, written = self.settings.price.split("/")
            self._prices = (float(read) / 1e6, float(written) / 1e6)
        else:
            self._prices = (0.0, 0.0) if self.free else None
        if self.settings.max_cost is not None and self._prices is None:
            raise ManyheadsError(
                f"--max-cost {self.settings.max_cost:g} needs the price of {self.settings.model}: add "
                "--price READ/WRITTEN, for a million tokens each (for example --price 2.5/10)."
            )

    @property
    def used(self) -> bool:
        """Whether there was any answer, new or kept."""
        return self.asked + self.cached > 0

    @property
    def cost(self) -> float | None:
        """What the answers so far cost; None without a price."""
        return self._cost(self.tokens_in, self.tokens_out)

    def limits(self, prompt: str) -> str:
        """The limits in words, to be shown before anything is asked."""
        one, tries = self.settings, self.settings.tries
        read = estimated_tokens(prompt)
        most = self._cost(tries * read, tries * one.max_tokens)
        each = f"{one.max_tokens} tokens and {one.timeout:g} s each"
        text = f"at most {_answers(tries)} of {each}; the prompt has about {read} tokens"
        if most is None:
            return f"{text}; no price given"
        if not any(self._prices or ()):
            return f"{text}; free"
        capped = f", stopping at {one.max_cost:g}" if one.max_cost is not None else ""
        return f"{text}; at {one.price} for a million at most about {most:.4f}{capped}"

    def require_room(self, prompt: str) -> None:
        """Raises ManyheadsError where the next answer could pass the limit on cost."""
        next_one = self._cost(estimated_tokens(prompt), self.settings.max_tokens)
        if self.settings.max_cost is None or self.cost is None or next_one is None:
            return
        if self.cost + next_one > self.settings.max_cost:
            raise ManyheadsError(
                f"{self.settings.model} was not asked: the next answer may cost {next_one:.4f} on top of the "
                f"{self.cost:.4f} spent, and --max-cost is {self.settings.max_cost:g}. Raise it, or lower --max-tokens."
            )

    def add(self, tokens_in: int, tokens_out: int) -> None:
        """Counts one answer."""
        self.asked += 1
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out

    def record(self) -> dict[str, Any]:
        """As plain data, for the task's journal."""
        counts = {
            "asked": self.asked,
            "cached": self.cached,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
        }
        return {"call": "usage", "model": self.settings.model, **counts, "cost": self.cost}

    def summary(self) -> str:
        """What was used, in words."""
        cost = f", cost {self.cost:.4f}" if self.cost else ""
        cached = f", {self.cached} from the cache" if self.cached else ""
        tokens = f"{self.tokens_in} tokens read, {self.tokens_out} written"
        return f"{_answers(self.asked)} asked for{cached}; {tokens}{cost}"

    def _cost(self, tokens_in: int, tokens_out: int) -> float | None:
        if self._prices is None:
            return None
        return tokens_in * self._prices[0] + tokens_out * self._prices[1]


def _answers(count: int) -> str:
    return f"{count} {'answer' if count == 1 else 'answers'}"
