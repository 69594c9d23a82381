"""The lexicon's tables: English words that say where, how fast, how much, and of what.

An axis has two opposite poles, +1 and -1. Words are compared by their stems, so `raise` covers `raising`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

PHRASES = {
    r"upside[ -]down": "dangling",
    r"(?:anti|counter)[ -]?clockwise": "counterclockwise",
    r"\b(?:back|to) and (?:forth|fro)\b|\bup and down\b|\bfrom side to side\b": "oscillating",
    r"\bleft and right\b": "oscillating",
    r"\b(?:close|closer|nearer|next) to\b": "near",
    r"\bas (\w+) as (?:it can|you can|possible|it gets)\b": r"\1 utmost",
    r"\b(?:at|to a|in) (?:rest|standstill)\b": "motionless",
    r"\b(?:all the way|as far as it goes)\b": "far",
    r"\bfrom (?:the )?[a-z]+ (?=to\b(?! the (?:left|right)))": "",
    r"\bup to (?=the\b)": "to ",
    r"\bup (?=(?:in(?! the air)|inside|at|on|near|by)\b)": "",
    r"\bin the (?:middle|centre|center)\b|\bcent(?:red|ered)\b": "at the centre",
    r"\bmiddle\b|\bcenter\b|\borigin\b": "centre",
    r"\ba (?:little )?(?:bit|little)\b|\bsomewhat\b|\ba touch\b": "slightly",
    r"\b(?:no|any) longer\b": "not",
    r"\bno matter\b": "",
    r"\b(?:anywhere|everywhere|anything) (?:but|except)(?: for)?\b|\bother than\b": "away",
    r"\b(?:cannot|can't|won't|mustn't|shouldn't|isn't|aren't|doesn't|don't|do not)\b": "not",
    r"\b(?:never|without|avoid|prevent|no|not|from(?= \w+ing\b))\b": "not",
    r"\bstraight (?:up|upright)\b|\bright way up\b": "upright",
    r"\bstraight down\b": "hanging",
    r"\b(?:out of the way of|away from|clear of|out of|outside(?: of)?)\b": "away",
    r"\boff(?: of)? the (?:ground|floor)\b": "up",
    r"\boff(?: of)? (?=the\b)": "away ",
    r"\bmoving\b": "moving speed",
}
"""Phrases that stand for one word, tried in this order."""

AXES: dict[str, tuple[str, str]] = {
    "lateral": ("right rightward rightwards", "left leftward leftwards"),
    "vertical": (
        "up upward upwards above high higher raise lift rise top tall jump leap over elevate",
        "down downward downwards below under low lower bottom drop sink crouch squat duck lying",
    ),
    "forward": (
        "forward forwards ahead front onward advance",
        "backward backwards back reverse behind retreat rearward",
    ),
    "pace": (
        "fast faster quick quickly rapid rapidly swift swiftly speedy speedily sprint race dash hurry rush",
        "slow slower slowly sluggish leisurely unhurried creep",
    ),
    "motion": (
        "spin oscillate whirl twirl shake wiggle",
        "still rest stop motionless stationary freeze halt idle park settle immobile steady calm quiet",
    ),
    "opening": ("open wide", "close closed shut"),
    "turning": ("counterclockwise", "clockwise"),
    "posture": (
        "upright vertical straight stand balance erect",
        "hang dangle fall topple inverted lie collapse",
    ),
    "nearness": (
        "near reach touch approach meet catch hit toward towards at_target",
        "far away distant apart leave",
    ),
    "amount": (
        "high higher large larger big bigger more much great greater increase maximise maximize most hard",
        "low lower small smaller little less decrease reduce minimise minimize least",
    ),
}
"""axis: (words at its +1 pole, words at its -1 pole)"""

WEAK_MOTION = "move swing turn rotate go travel roll wave kick flap"
"""They say `moving` only where nothing else is said: `move left` is a place, `move` alone is a motion."""

ENDS = "end edge border extreme"
"""With a direction they name a place far out: `the left end`."""

MAKING_WAY = "walk hop run jog sprint crawl gallop swim drive travel race trot march stride cruise"
"""Ways of going somewhere: a speed, forward unless said otherwise."""

QUANTITIES = {
    "speed": "speed velocity pace walk run jog sprint crawl gallop swim drive race trot march stride cruise",
    "turning": "spin rotation angular whirl twirl rotating turning",
    "height": "height altitude tall elevation jump leap",
    "angle": "angle tilt lean bend degree",
    "distance": "distance gap near reach touch approach",
    "posture": "upright vertical stand balance hang dangle erect fall topple",
    "position": "position place location spot centre park",
    "contact": "touch contact press",
    "force": "force press pressure",
}

SYNONYMS = {
    "pole": "rod stick bar broom beam",
    "cart": "trolley wagon",
    "car": "vehicle automobile",
    "torso": "body trunk chest",
    "target": "goal aim",
    "foot": "feet toe heel",
    "leg": "legs",
    "hand": "gripper",
    "fingertip": "tip",
    "pendulum": "weight bob",
    "velocity": "speed",
    "hinge": "spinner",
    "ground": "floor",
    "carrying": "hold pick grab have take",
}
"""a signal's word: other words for it"""

AGENTS = (
    "robot agent it itself body creature animal machine thing self you yourself its all everything whole system "
    "they them"
)
"""They name the whole of whatever the environment moves."""

SLIGHT = "slightly barely just"
STRONG = "far very extremely really completely fully totally hard well entirely"
UTMOST = "utmost maximise maximize minimise minimize most least maximum minimum"
GENTLE = "gently gentle softly soft smoothly smooth effortlessly lazily lazy economical energy effort efficiently"

FILLER = (
    "a an the of to in on at by for with as and or so that this these those be is are was its it's his her your my me "
    "i we us let make keep get put hold bring set have has do does go please try want would like should must can will "
    "stay remain become always ever while until when where there here then than one side direction way hand end "
    "part into onto off out around about along through across point exactly right-hand left-hand possible start "
    "begin finish attempt learn teach train show use take hurry again back step second time long forever constantly "
    "continuously not push pull give run maintain need without too also only even both toward move send steer "
    "flip throw point face place lay sit carry drag slide guide nudge steer perform achieve look fully "
    "target-position state level value simply now first next same time nearly almost quite rather edge "
    "border extreme half using"
)

DIRECTIONS = (
    "right rightward left leftward up upward above higher raise lift down downward below lower forward ahead front "
    "backward back behind open close clockwise counterclockwise"
)
"""The words of place that say which way a signal's values point; verbs like `hop` and `fall` don't."""

SIDES = "left right front back lower upper top bottom"
"""Right before a thing, they name that thing: `the left foot`."""

UNITS: dict[str, tuple[str, float]] = {
    r"rad(?:ian)?s?(?: ?/ ?s(?:ec(?:ond)?)?| (?:per|a|each) second)": ("rad/s", 1.0),
    r"(?:deg(?:ree)?s?|°)(?: ?/ ?s(?:ec(?:ond)?)?| (?:per|a|each) second)": ("rad/s", math.pi / 180),
    r"rpm|(?:turn|revolution|rotation)s? (?:per|a) minute": ("rad/s", 2 * math.pi / 60),
    r"(?:turn|revolution|rotation)s? (?:per|a) second": ("rad/s", 2 * math.pi),
    r"(?:m|met(?:re|er)s?) ?(?:/ ?s(?:ec(?:ond)?)?\b| ?(?:per|a|each) second)": ("m/s", 1.0),
    r"cm(?: ?/ ?s|(?: per second))": ("m/s", 0.01),
    r"km ?/ ?h|kph|kilomet(?:re|er)s? (?:per|an) hour": ("m/s", 1 / 3.6),
    r"mph|miles? (?:per|an) hour": ("m/s", 0.44704),
    r"rad(?:ian)?s?": ("rad", 1.0),
    r"deg(?:ree)?s?|°": ("rad", math.pi / 180),
    r"(?:full )?(?:turn|revolution)s?": ("rad", 2 * math.pi),
    r"km|kilomet(?:re|er)s?": ("m", 1000.0),
    r"cm|centimet(?:re|er)s?": ("m", 0.01),
    r"mm|millimet(?:re|er)s?": ("m", 0.001),
    r"m|met(?:re|er)s?": ("m", 1.0),
    r"f(?:oo|ee)t": ("m", 0.3048),
    r"inch(?:es)?": ("m", 0.0254),
    r"N|newtons?": ("N", 1.0),
    r"%|per ?cent\b": ("share", 0.01),
    r"steps?": ("steps", 1.0),
    r"s|sec(?:ond)?s?": ("s", 1.0),
}
"""A unit as written: (the unit of signals, factor); tried in this order."""

NUMBER_WORDS = {
    "zero": 0, "half": 0.5, "a half": 0.5, "quarter": 0.25, "a quarter": 0.25, "a": 1, "an": 1, "one": 1, "two": 2,
    "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "twelve": 12,
    "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "forty-five": 45, "fifty": 50, "sixty": 60, "ninety": 90,
    "hundred": 100, "a hundred": 100,
}  # fmt: skip

AT_LEAST = (
    "at least,more than,greater than,over,above,faster than,higher than,exceed,exceeds,exceeding,beyond,further than,"
    "farther than,minimum of,>=,>,≥"
)
AT_MOST = (
    "at most,less than,under,below,slower than,lower than,up to,maximum of,closer than,nearer than,within,inside,<=,<,≤"
)
"""What is said before a number that it bounds; a negation anywhere before turns one into the other."""

MORE = r"\s*(?:or|and) (?:more|above|over|faster|higher|further|farther|greater|up)\b|\s*(?:at least|upwards)\b"
LESS = r"\s*(?:or|and) (?:less|below|under|slower|lower|closer|fewer)\b|\s*(?:at most|tops)\b"
"""What is said after a number that it bounds."""

TURNING = "neither nor except unless instead rather opposite contrary hardly scarcely"
"""Words that turn a meaning in ways that no rule here reads: a goal with one is refused, never guessed."""

SEQUENCE = (
    r"^first\b|[,;.] ?first\b"
    r"|\b(?:afterwards?|after that|thereafter|then|next|finally|once there|before|only after)\b"
)
"""What says that one thing is to be done after another."""

SCALES = {
    "m": 1.0, "m/s": 1.0, "m/s^2": 10.0, "rad": math.pi, "rad/s": math.pi, "rad/s^2": 10.0, "N": 10.0, "N*m": 1.0,
    "kg*m/s": 1.0, "1": 1.0, "s": 1.0, "steps": 100.0, "count": 10.0, "byte": 255.0, "points": 10.0, "px": 10.0,
}  # fmt: skip
"""What counts as much in each unit where a signal has neither a declared nor a measured range."""

_SUFFIXES = ("ingly", "edly", "ing", "ies", "ly", "ed", "es", "s")


def stem(word: str) -> str:
    """A word without its ending: `swinging`, `swings` and `swing` are one."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3 and not word.endswith("ss"):
            word = word[: -len(suffix)] + ("y" if suffix == "ies" else "")
            break
    word = word.removesuffix("e") if len(word) > 3 else word
    return re.sub(r"([bdfglmnprt])\1$", r"\1", word)


def stems(words: str) -> frozenset[str]:
    """The stems of words written with blanks between."""
    return frozenset(stem(word) for word in words.split())


POLES: dict[str, list[tuple[str, int]]] = {}
"""a stem: the axes that it lies on, with its pole"""
for _axis, _words in AXES.items():
    for _pole, _side in ((1, _words[0]), (-1, _words[1])):
        for _stem in stems(_side):
            POLES.setdefault(_stem, []).append((_axis, _pole))


def names_a_part(roots: Sequence[str], i: int) -> bool:
    """Whether a word of place stands right before a thing (`left foot`), and so only tells it apart."""
    if roots[i] not in _SIDES or i + 1 == len(roots):
        return False
    after = roots[i + 1]
    return not (after in _NO_THING or after in POLES)


def plain_numbers(text: str) -> str:
    """Numbers as people write them, as plain decimals: −1, minus 1, 0,5, 1/2, 1e-1, one and a half, ±0.5."""
    for pattern, write in NUMERALS:
        text = re.sub(pattern, write, text)
    return text


def _fraction(match: re.Match[str]) -> str:
    return f"{float(match[1] or 0) + float(match[2]) / float(match[3]):.6g}" if float(match[3]) else match[0]


NUMERALS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"[\u2212\u2013](?=\s?[\d.])\s?", "-"),
    (r"\b(?:minus|negative) (?=[\d.])", "-"),
    (r"(?<![\d,.])([1-9]\d{0,2}(?:,\d{3})+)(?![\d,])", lambda match: match[1].replace(",", "")),
    (r"(?<=\d),(?=\d)", "."),
    (r"(?<![\d./])(?:(\d+) )?(\d+)/(\d+)(?![\d./])", _fraction),
    (r"-?\d+(?:\.\d+)?e[-+]?\d+\b", lambda match: f"{float(match[0]):.10g}"),
    (rf"\b({'|'.join(sorted((w for w in NUMBER_WORDS if ' ' not in w), key=len, reverse=True))}) and a half\b",
     lambda match: f"{NUMBER_WORDS[match[1]] + 0.5:g}"),
    (r"(?:within |to within )?(?:±|\+/-|\+-) ?(\d+(?:\.\d+)?)", r"between -\1 and \1"),
)  # fmt: skip
"""How each way of writing a number becomes a decimal, in this order."""


def spoken(text: str) -> str:
    """Lower case, plain numbers, each phrase of the table replaced by its word."""
    text = re.sub(r"(?<=[a-z])'s\b", "", " ".join(text.replace("\u2019", "'").split()).lower())
    text = plain_numbers(text)
    for pattern, word in PHRASES.items():
        text = re.sub(pattern, word, text)
    return text


_SIDES = stems(SIDES)
_NO_THING = stems(f"{FILLER} {WEAK_MOTION} centre")
