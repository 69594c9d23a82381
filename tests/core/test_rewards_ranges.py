"""Interval arithmetic contains what the compiler computes."""

import json
import math
import re

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from reward_grammar import NAMES, expressions, predicates, terms

from manyheads.environment.contract import Signal
from manyheads.rewards import compile as compiled
from manyheads.rewards import ranges
from manyheads.rewards.nodes import Expression, Predicate
from manyheads.rewards.spec import Term

LOW, HIGH = -2.0, 3.0
CATALOGUE = {name: Signal(name, low=LOW, high=HIGH) for name in NAMES}
rows = st.fixed_dictionaries({name: st.lists(st.floats(LOW, HIGH), min_size=5, max_size=5) for name in CATALOGUE})


def parse(kind, document):
    """The node, where it is valid and can be computed from a row alone."""
    try:
        node = TypeAdapter(kind).validate_python(document)
    except ValidationError:
        assume(False)
    assume(not re.search(r'"(rate|window|held_for|progress)"', json.dumps(document)))
    return node


@settings(max_examples=150, deadline=None)
@given(expressions, rows)
def test_values_lie_in_the_range(document, columns):
    node = parse(Expression, document)
    low, high = ranges.of_expression(node, CATALOGUE)
    values = compiled.value(node, tensors(columns))
    slack = 1e-9 * (1 + values.abs())
    assert bool(((low - slack <= values) & (values <= high + slack)).all())


@settings(max_examples=100, deadline=None)
@given(predicates, rows)
def test_what_is_impossible_never_happens(document, columns):
    node = parse(Predicate, document)
    reach = ranges.of_predicate(node, CATALOGUE)
    holds = compiled.holds(node, tensors(columns))
    assert reach.possible or not holds.any()
    assert reach.avoidable or holds.all()


@settings(max_examples=150, deadline=None)
@given(terms, rows)
def test_what_a_term_cannot_pay_it_never_pays(document, columns):
    node = parse(Term, document)
    pay = ranges.of_term(node, CATALOGUE)
    value = compiled.term(node, tensors(columns))
    assert pay.something or bool((value <= 1e-9).all())
    assert pay.less or bool((value >= 1 - 1e-9).all())


def tensors(columns):
    return {name: torch.tensor(column, dtype=torch.float64) for name, column in columns.items()}


def test_unbounded_signals_reach_everything():
    free = {"x": Signal("x")}
    assert ranges.of_expression(parse(Expression, {"signal": "x"}), free) == (-math.inf, math.inf)
    assert ranges.of_expression(parse(Expression, {"op": "norm", "of": [{"signal": "x"}]}), free) == (
        0,
        math.inf,
    )
