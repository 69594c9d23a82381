"""The page: one file that needs nothing else and says what the world's folder holds."""

import json
import math
import re
import shutil
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from manyheads.cli.evaluate import evaluate
from manyheads.cli.report import report
from manyheads.cli.train import train
from manyheads.cli.watch import watch
from manyheads.errors import ManyheadsError
from manyheads.report.contents import gather
from manyheads.report.metrics import Metrics
from manyheads.report.page import DASH, MINUS, counted, interval, number, share, write_report
from manyheads.storage import evaluations
from manyheads.storage.evaluations import Interval

TASK = """
version: 1
environment: gymnasium/CartPole-v1
reward:
  source: spec
  spec:
    version: 1
    environment: gymnasium/CartPole-v1
    goal: Keep the cart <left> of the centre.
    reward:
      x: {signal: cart_position}
      to: {shape: tolerance, upper: -0.01, margin: 0.5}
success:
  when: {op: lt, x: {signal: cart_position}, than: 0.0}
episode_steps: 60
goal: Keep the cart <left> of the centre.
"""
DECISION = {
    "call": "decision",
    "about": "keep the cart left",
    "question": "which signal",
    "answer": "cart_position",
    "step": "retrieval",
    "margin": 0.37,
    "why": "nearest in meaning",
    "options": [],
}
SMALL = {
    "world.size": "demo",
    "world.deter": 16,
    "world.hidden": 8,
    "world.groups": 2,
    "world.classes": 4,
    "world.units": 8,
    "training.batch": 4,
    "training.length": 8,
    "training.num_envs": 2,
    "training.train_ratio": 2,
    "training.compile": False,
}


def run(command, *arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds")
    (folder / "left.yaml").write_text(TASK)
    settings = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
    path = folder / "small"
    run(train, path, "gymnasium/CartPole-v1-balance", folder / "left.yaml", "--steps", 240, *settings)
    run(evaluate, path, "--episodes", 2)
    with Metrics(path) as metrics:
        for step in range(0, 240, 10):
            metrics.write(step, step // 2, {"left/return": step / 10, "left/imagined_return": 1.0, "world/dyn": 1.0})
        metrics.write(240, 120, {"world/dyn": math.nan})
    journal = path / "heads" / "left" / "goal.jsonl"
    journal.write_text(json.dumps({"call": "score"}) + "\n" + json.dumps(DECISION) + "\n")
    return path


@pytest.fixture(scope="module")
def page(world):
    return write_report(gather(world, video_steps=25)).read_text(encoding="utf-8")


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.outside, self.anchors, self.names, self.open = [], [], set(), []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.names.add(attributes.get("id"))
        for key in ("src", "href", "srcset", "poster"):
            value = attributes.get(key) or attributes.get(f"xlink:{key}") or ""
            if value.startswith("#"):
                self.anchors.append(value[1:])
            elif value and not value.startswith("data:"):
                self.outside.append(value)
        if tag not in ("meta", "path", "use", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()


def test_the_page_needs_nothing_else_and_its_links_lead_somewhere(page):
    links = Links()
    links.feed(page)
    assert links.outside == []
    assert "<script" not in page
    assert "@import" not in page
    assert not re.search(r"url\((?!#|data:)", page)
    assert set(links.anchors) <= links.names
    assert links.open == []


def test_the_page_says_what_was_trained_and_how_well(page, world):
    results = evaluations.read(world)
    for record in results:
        assert interval(record.returns) in page
        assert page.count(record.task) > 2
    assert "240" in page
    assert "Keep the cart &lt;left&gt; of the centre." in page
    assert "<left>" not in page
    assert "cart position" in page  # the specification in plain words
    assert "shape: tolerance" in page  # and as a file
    assert "recorded steps earn more than 0.05" in page
    assert page.count("<video") == 2
    assert page.count("Trained jointly with the world:") == 2
    assert "torch" in page


def test_the_page_says_which_step_decided_what(page):
    for text in ("How the sentence became this reward", "nearest in meaning", "retrieval", ">0.37<"):
        assert page.count(text) == 1


def test_the_page_shows_learning_and_numbers_that_were_none(page):
    assert "return of left while training" in page
    assert "imagined_return of left while training" in page
    assert "world: dyn against updates" in page
    assert "1 number of the metrics was NaN or infinite" in page


def test_what_is_gathered_is_what_lies_in_the_folder(world):
    heard = []
    contents = gather(world, video_steps=0, done=heard.append)
    assert heard == ["gymnasium/CartPole-v1-balance", "left"]
    assert contents.rows == 240
    assert contents.updates > 0
    left = contents.heads[1]
    assert left.coverage is not None
    assert left.coverage.rows == 240 - contents.episodes
    assert left.succeeded is not None
    assert left.succeeded[1] == contents.episodes
    assert left.video == ""
    rows = next(iter(contents.signals.values()))
    position = next(row for row in rows if row.signal.name == "cart_position")
    assert position.quantiles is not None
    assert position.quantiles[0] <= position.quantiles[1] <= position.quantiles[2]


def test_a_damaged_journal_is_named(world):
    journal = world / "heads" / "left" / "goal.jsonl"
    whole = journal.read_text()
    try:
        journal.write_text(whole + '{"call": "deci\n')
        assert "goal.jsonl can't be read" in gather(world, video_steps=0).unreadable["left"]
    finally:
        journal.write_text(whole)


def test_a_head_that_cannot_be_read_is_said_and_the_rest_is_shown(world, tmp_path):
    damaged = shutil.copytree(world, tmp_path / "damaged")
    file = damaged / "heads" / "left" / "task.yaml"
    file.write_text("version: [")
    said = CliRunner().invoke(report, [str(damaged), "--video-steps", "0"], catch_exceptions=False)
    assert f"The head left can't be shown: {file}:2: no valid YAML" in said.output
    page = (damaged / "report.html").read_text()
    assert "This head can't be shown" in page
    assert "gymnasium__CartPole-v1-balance" in page


def test_a_folder_without_a_world_is_said(tmp_path):
    with pytest.raises(ManyheadsError, match="holds no world"):
        gather(tmp_path)


def test_commands_write_a_page_and_a_video(world, tmp_path):
    said = run(report, world, "--out", tmp_path / "page.html", "--video-steps", 0)
    assert "page.html" in said
    assert "Videos were left out" in (tmp_path / "page.html").read_text()
    said = run(watch, world, "left", "--steps", 20, "--out", tmp_path / "left.mp4")
    assert "return" in said
    assert (tmp_path / "left.mp4").stat().st_size > 1000
    with pytest.raises(ManyheadsError, match="Did you mean left"):
        run(watch, world, "lefd")


@pytest.mark.parametrize(
    ("value", "text"),
    [(812.34, "812.3"), (0.045123, "0.04512"), (1204.4, "1,204"), (-3.5, f"{MINUS}3.5"), (None, DASH), (0, "0")],
)
def test_numbers_read_easily(value, text):
    assert number(value) == text


def test_small_words():
    assert [share(x) for x in (None, 0, 0.0004, 0.0321, 0.43, 1)] == [DASH, "0%", "under 0.1%", "3.2%", "43%", "100%"]
    assert counted(1, "head") == "1 head"
    assert counted(1200, "step") == "1,200 steps"
    assert interval(Interval(812.3, -79.6, 834)) == f"812 [{MINUS}80, 834]"
