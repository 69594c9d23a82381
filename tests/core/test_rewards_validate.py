"""Each thing that can be wrong with a specification has a code, a place and a message to act on."""

import copy
import json

import pytest
import yaml

from manyheads.environment.contract import Environment, Signal
from manyheads.errors import ManyheadsError
from manyheads.rewards.spec import RewardSpec
from manyheads.rewards.validate import (
    catalogue_hash,
    check,
    check_success,
    check_text,
    read_spec,
    require_sound,
)

SIGNALS = (
    Signal("reward"),
    Signal("torso_height", "m", low=0.0, description="metres above the floor"),
    Signal("cart_position", "m", low=-1.8, high=1.8),
    Signal("speed", "m/s"),
    Signal("angle", "rad", "angle", -3.15, 3.15),
    Signal("other_angle", "rad", "angle", -3.15, 3.15),
    Signal("caught", "1", "boolean"),
    Signal("control[0]"),
)
GOOD = {
    "version": 1,
    "environment": "test/thing",
    "goal": "stand at the left",
    "reward": {
        "combine": "product",
        "of": [
            {
                "x": {"signal": "torso_height"},
                "to": {"shape": "tolerance", "lower": 1.2, "margin": 0.5},
            },
            {"x": {"signal": "cart_position"}, "to": {"shape": "ramp", "low": 0.0, "high": -1.0}},
        ],
    },
    "effort": {"weight": 0.1},
    "success": {"when": {"op": "lt", "x": {"signal": "cart_position"}, "than": -1.0}, "held_for": 5},
}


def changed(*path, to):
    """GOOD with one place replaced."""
    document = copy.deepcopy(GOOD)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return document


def codes(document, kind=json.dumps):
    spec, findings = check_text(kind(document), SIGNALS)
    assert (spec is None) == any(finding.severity == "error" for finding in findings)
    return [(finding.code, finding.severity, finding.path) for finding in findings]


TERM = ("reward", "of", 0)
HEIGHT = {"signal": "torso_height"}


def term(x, low=0.0, high=1.0):
    return {"x": x, "to": {"shape": "ramp", "low": low, "high": high}}


def many_terms(count):
    return {"combine": "min", "of": [term({"signal": "speed"}) for _ in range(count)]}


def nest(op, times, inside):
    for _ in range(times):
        inside = {"op": op, "of": inside}
    return inside


WRONG = {
    "unknown signal": (
        changed(*TERM, "x", "signal", to="torso_hight"),
        "L2_UNKNOWN_SIGNAL",
        "reward.of[0].x",
    ),
    "extra key": (changed(*TERM, "wieght", to=1.0), "L1_SCHEMA", "reward.of[0].wieght"),
    "missing key": (
        changed(*TERM, "to", to={"shape": "ramp", "low": 1.0}),
        "L1_SCHEMA",
        "reward.of[0].to.high",
    ),
    "unknown shape": (changed(*TERM, "to", to={"shape": "step"}), "L1_SCHEMA", "reward.of[0].to"),
    "unknown sigmoid": (changed(*TERM, "to", "sigmoid", to="cubic"), "L1_SCHEMA", "reward.of[0].to.sigmoid"),
    "no expression": (changed(*TERM, "x", to={"sginal": "speed"}), "L1_SCHEMA", "reward.of[0].x"),
    "text for number": (changed(*TERM, "to", "margin", to="0.5"), "L1_SCHEMA", "reward.of[0].to.margin"),
    "yes for version": (changed("version", to=True), "L1_SCHEMA", "version"),
    "newer version": (changed("version", to=2), "L1_SCHEMA", "version"),
    "yes for number": (changed(*TERM, "to", "margin", to=True), "L1_SCHEMA", "reward.of[0].to.margin"),
    "heavy effort": (changed("effort", "weight", to=0.9), "L1_SCHEMA", "effort.weight"),
    "full floor": (changed(*TERM, "floor", to=1.0), "L1_SCHEMA", "reward.of[0].floor"),
    "long hold": (changed("success", "held_for", to=201), "L1_SCHEMA", "success.held_for"),
    "no goal text": (changed("goal", to="x" * 501), "L1_SCHEMA", "goal"),
    "bounds": (changed(*TERM, "to", "upper", to=1.0), "L2_BOUNDS", "reward.of[0].to"),
    "no bounds": (changed(*TERM, "to", to={"shape": "tolerance"}), "L2_BOUNDS", "reward.of[0].to"),
    "flat ramp": (changed("reward", "of", 1, "to", "high", to=0.0), "L2_BOUNDS", "reward.of[1].to"),
    "sigmoid": (changed(*TERM, "to", "value_at_margin", to=0.0), "L2_SIGMOID", "reward.of[0].to"),
    "operands": (changed(*TERM, "x", to={"op": "diff", "of": [HEIGHT]}), "L2_OPERANDS", "reward.of[0].x"),
    "no signal": (changed(*TERM, "x", to={"constant": 1.0}), "L2_OPERANDS", "reward.of[0].x"),
    "deep": (changed(*TERM, "x", to=nest("abs", 4, HEIGHT)), "L2_DEPTH", "reward.of[0].x"),
    "many terms": (changed("reward", "of", to=[many_terms(7), many_terms(6)]), "L2_SIZE", "reward"),
    "units": (
        changed(*TERM, "x", to={"op": "diff", "of": [HEIGHT, {"signal": "speed"}]}),
        "L2_UNIT",
        "reward.of[0].x",
    ),
    "wrapped metres": (changed(*TERM, "x", to=nest("wrap_angle", 1, HEIGHT)), "L2_UNIT", "reward.of[0].x"),
    "out of range": (
        changed("reward", "of", 1, "to", to={"shape": "tolerance", "lower": 2.0}),
        "L2_UNREACHABLE",
        "reward.of[1]",
    ),
    "success out of range": (changed("success", "when", "than", to=-2.0), "L2_UNREACHABLE", "success.when"),
    "other catalogue": (changed("catalogue", to="0" * 32), "L2_CATALOGUE", "catalogue"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("kind", [json.dumps, yaml.safe_dump])
def test_errors_have_a_code_and_a_place(name, kind):
    document, code, path = WRONG[name]
    assert (code, "error", path) in codes(document, kind)


WARNED = {
    "beyond range": (changed("reward", "of", 1, "to", "high", to=-3.0), "L2_UNREACHABLE", "reward.of[1]"),
    "always": (
        changed("reward", "of", 1, "to", to={"shape": "tolerance", "upper": 5.0}),
        "L2_TRIVIAL",
        "reward.of[1]",
    ),
    "always successful": (changed("success", "when", "than", to=9.0), "L2_TRIVIAL", "success.when"),
    "own reward": (changed(*TERM, "x", "signal", to="reward"), "L2_OWN_REWARD", "reward"),
    "angles": (
        changed(*TERM, "x", to={"op": "diff", "of": [{"signal": "angle"}, {"signal": "other_angle"}]}),
        "L2_ANGLE",
        "reward.of[0].x",
    ),
}


@pytest.mark.parametrize("name", WARNED)
def test_warnings_have_a_code_and_a_place_and_forbid_nothing(name):
    document, code, path = WARNED[name]
    assert (code, "warning", path) in codes(document)
    assert check_text(json.dumps(document), SIGNALS)[0] is not None


def test_a_good_specification_has_no_findings():
    assert codes(GOOD) == codes(GOOD, yaml.safe_dump) == []
    wrapped = nest("wrap_angle", 1, {"op": "diff", "of": [{"signal": "angle"}, {"signal": "other_angle"}]})
    assert codes(changed(*TERM, "x", to=wrapped)) == []


def test_soft_ranges_give_way_a_little():
    soft = [*SIGNALS[:2], Signal("cart_position", "m", low=-1.8, high=1.8, soft=True), *SIGNALS[3:]]
    for than, fine in [(-1.9, True), (-2.5, False)]:
        spec, _ = check_text(json.dumps(changed("success", "when", "than", to=than)), soft)
        assert (spec is not None) == fine
        assert check_text(json.dumps(changed("success", "when", "than", to=than)), SIGNALS)[0] is None


def test_an_effort_needs_controls():
    without = [signal for signal in SIGNALS if signal.name != "control[0]"]
    [finding] = check(RewardSpec.model_validate(GOOD), without)
    assert (finding.code, finding.path) == ("L2_NO_CONTROL", "effort")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a": NaN}', "L0_NUMBER"),
        ('{"a": -Infinity}', "L0_NUMBER"),
        ('{"a": 1e400}', "L0_NUMBER"),
        ('{"a": 1000001}', "L0_NUMBER"),
        ('{"a": ' + "9" * 5000 + "}", "L0_NUMBER"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "L0_DUPLICATE_KEY"),
        ('{"a": 1} {"b": 2}', "L0_JSON"),
        ('{"a": 1,}', "L0_JSON"),
        ('{"a": ' * 30 + "1" + "}" * 30, "L0_DEPTH"),
        ('{"a": ' + "[" * 10000, "L0_DEPTH"),
        ('{"a": "' + "x" * 16384 + '"}', "L0_SIZE"),
        ("a: .nan", "L0_NUMBER"),
        ("a: -.inf", "L0_NUMBER"),
        ("a: 1e400", "L0_NUMBER"),
        ("a: 1000001", "L0_NUMBER"),
        ("a: " + "9" * 5000, "L0_NUMBER"),
        ("a: 1\nb: {c: 1, c: 2}", "L0_DUPLICATE_KEY"),
        ("a: 1\n---\nb: 2", "L0_YAML"),
        ("a: &anchor 1\nb: *anchor", "L0_YAML"),
        ("a: !!python/object/apply:os.system [ls]", "L0_YAML"),
        ("? [a, b]\n: 1", "L0_YAML"),
        ("a: [1", "L0_YAML"),
        ("[" * 10000, "L0_DEPTH"),
        ("a: " + "x" * 16384, "L0_SIZE"),
        ("", "L1_SCHEMA"),
        ("just words", "L1_SCHEMA"),
        ('{"a": "\ud800"}', "L1_SCHEMA"),
    ],
)
def test_text_that_is_not_plain_data_is_refused(text, code):
    spec, findings = check_text(text)
    assert spec is None
    assert code in {finding.code for finding in findings}


def test_yaml_has_the_scalars_of_json_alone():
    for odd in ("0o17", "017", "1:30", "0x10", "1_000", "yes", "2020-01-01"):
        assert ("L1_SCHEMA", "error", "reward.of[0].to.margin") in codes(
            changed(*TERM, "to", "margin", to="MARGIN"), lambda d, odd=odd: json_like(d, odd)
        )
    assert codes(changed(*TERM, "to", "margin", to="MARGIN"), lambda d: json_like(d, "1e-3")) == []


def json_like(document, scalar):
    return yaml.safe_dump(document).replace("MARGIN", scalar)


def test_messages_say_what_to_do():
    [finding] = check_text(json.dumps(changed(*TERM, "x", "signal", to="torso_hight")), SIGNALS)[1]
    assert str(finding) == (
        "L2_UNKNOWN_SIGNAL at reward.of[0].x: This environment measures no signal 'torso_hight'. "
        "Did you mean torso_height?"
    )
    [finding] = check_text(json.dumps(changed("success", "when", "than", to=-2.0)), SIGNALS)[1]
    assert finding.message == "This never holds. cart_position lies in [-1.8, 1.8] m."


def test_the_catalogue_hash_follows_meaning_and_nothing_else():
    spec = RewardSpec.model_validate(GOOD)
    bound = catalogue_hash(spec, SIGNALS)
    assert check(spec.model_copy(update={"catalogue": bound}), SIGNALS) == []
    assert catalogue_hash(spec, SIGNALS[::-1]) == bound
    assert catalogue_hash(spec, [s for s in SIGNALS if s.name != "speed"]) == bound
    turned = [Signal("torso_height", "m", low=0.0, description="metres below the roof"), *SIGNALS[2:]]
    assert catalogue_hash(spec, turned) != bound


TASK = {
    "version": 1,
    "environment": "test/thing",
    "reward": {"source": "spec", "spec": GOOD},
    "success": {"when": {"op": "gt", "x": {"signal": "speed"}, "than": 1.0}},
}


def test_a_task_files_specification_is_found_with_its_path_and_success():
    spec, findings = check_text(yaml.safe_dump(TASK), SIGNALS)
    assert findings == []
    assert spec.success.when.x.signal == "speed"
    task = copy.deepcopy(TASK)
    task["reward"]["spec"]["reward"]["of"][0]["x"]["signal"] = "speeed"
    task["success"]["when"]["x"]["signal"] = "sped"
    _, findings = check_text(yaml.safe_dump(task), SIGNALS)
    assert [finding.path for finding in findings] == ["reward.spec.reward.of[0].x", "success.when.x"]
    _, [finding] = check_text(yaml.safe_dump({**TASK, "reward": {"source": "environment"}}), SIGNALS)
    assert finding.path == "reward"


def test_check_success_alone():
    spec = RewardSpec.model_validate(GOOD)
    assert check_success(spec.success, SIGNALS) == []
    [finding] = check_success(spec.success, SIGNALS[:2])
    assert (finding.code, finding.path) == ("L2_UNKNOWN_SIGNAL", "success.when.x")


def test_read_spec_names_file_and_findings(tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(changed("effort", "weight", to=0.9)))
    with pytest.raises(ManyheadsError, match=r"(?s)spec\.yaml holds no valid.*L1_SCHEMA at effort\.weight"):
        read_spec(file)
    with pytest.raises(ManyheadsError, match=r"absent\.yaml can't be read"):
        read_spec(tmp_path / "absent.yaml")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ManyheadsError, match="UTF-8"):
        read_spec(file)


def test_a_specification_must_fit_its_instance():
    spec = RewardSpec.model_validate(GOOD)
    thing = Environment("test/thing", factory=lambda options: None, signals=SIGNALS[1:])
    require_sound(spec, thing.instance())
    other = Environment("test/other", factory=lambda options: None, signals=SIGNALS[1:3])
    with pytest.raises(ManyheadsError, match=r"(?s)L2_ENVIRONMENT.*test/other.*L2_NO_CONTROL"):
        require_sound(spec, other.instance())
