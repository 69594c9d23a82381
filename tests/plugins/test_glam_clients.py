"""Language models behind an interface: real clients against a real server on this machine that speaks the protocol."""

import json
import os
import re
import shlex
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from helpers import python
from manyheads import ManyheadsError, load_task
from manyheads_glam import command
from manyheads_glam.models.cache import Answers
from manyheads_glam.models.choose import choose
from manyheads_glam.models.settings import ModelSettings, config_file
from manyheads_glam.models.word_vectors import word_vectors

KEY = "sk-secret-4711"
GOAL = "park the cart on the left"
SPEC = {
    "reward": {"x": {"signal": "cart_position"}, "to": {"shape": "tolerance", "upper": -1.0, "margin": 1.0}},
    "success": {"when": {"op": "le", "x": {"signal": "cart_position"}, "than": -0.9}, "held_for": 20},
}
WRONG = json.loads(json.dumps(SPEC).replace("cart_position", "cart_positoin"))
DRAFT = json.dumps(SPEC)


class Reply:
    """What the server answers to one request."""

    def __init__(self, body, status=200, headers=(), delay=0.0, kind="application/json"):
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.status, self.headers, self.delay, self.kind = status, dict(headers), delay, kind


def said(text, finish="stop", **message):
    """A chat completion."""
    message = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    usage = {"prompt_tokens": 3000, "completion_tokens": 200, "total_tokens": 3200}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def message(*blocks, stop="end_turn"):
    """A message of Anthropic's interface."""
    usage = {"input_tokens": 3000, "output_tokens": 200}
    whole = {"id": "1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    return {**whole, "content": list(blocks), "stop_reason": stop, "usage": usage}


def wrong(status, text, **headers):
    """An error as the interfaces answer it."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply({"error": {"message": text, "type": "error"}}, status, names)


class Server:
    """Answers POSTs by what is lined up, GET /models by `models`; keeps what it was asked."""

    def __init__(self):
        self.replies, self.asked, self.keys, self.models = [], [], [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.asked.append(body)
                outer.keys.append(self.headers.get("authorization") or self.headers.get("x-api-key"))
                reply = outer.replies.pop(0) if len(outer.replies) > 1 else outer.replies[0]
                reply = reply(body) if callable(reply) else reply
                self.answer(reply if isinstance(reply, Reply) else Reply(reply))

            def do_GET(self):
                rows = [{"id": name, "object": "model", "created": 1, "owned_by": "me"} for name in outer.models]
                found = {"object": "list", "data": rows, "has_more": False}
                self.answer(Reply(found) if rows else wrong(404, "no such path"))

            def answer(self, reply):
                time.sleep(reply.delay)
                self.send_response(reply.status)
                for name, value in {"content-type": reply.kind, **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(reply.body)))
                self.end_headers()
                with suppress(BrokenPipeError):
                    self.wfile.write(reply.body)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.root = f"http://127.0.0.1:{self.http.server_port}"
        self.url = f"{self.root}/v1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def line_up(self, *replies):
        """The last of them is given again and again."""
        self.replies = list(replies)
        return self


@pytest.fixture
def server():
    pytest.importorskip("openai")
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Own folders, no keys, no proxies; examples are chosen by words, which takes no seconds to load."""
    monkeypatch.setattr("manyheads_glam.models.chat.encoder", lambda: word_vectors)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path / "llm"))
    monkeypatch.setenv("NO_PROXY", "*")
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "MANYHEADS_MODEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(server):
    """`manyheads goal` with a model at the server, agreed to."""

    def invoke(*args, model="openai:m", url=None, goal=GOAL):
        arguments = [goal, "--environment", "gymnasium/CartPole-v1", "--yes"]
        arguments += ["--model", model] if model else []
        arguments += ["--base-url", url or server.url] if model and url != "" else []
        found = CliRunner().invoke(command.goal, [*arguments, *args])
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        return found

    return invoke


def fails(run, *args, **options):
    """The one message that a person sees."""
    with pytest.raises(ManyheadsError) as caught:
        run(*args, **options)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


def journal(tmp_path):
    return (tmp_path / "park_the_cart_on_the_left.jsonl").read_text()


# --- answers of a server with OpenAI's interface --------------------------------------------------------------


def test_a_schema_that_is_kept_becomes_a_task(run, server, tmp_path):
    server.line_up(said(DRAFT))
    found = run()
    assert load_task(tmp_path / "park_the_cart_on_the_left.yaml").goal == GOAL
    [asked] = server.asked
    form = asked["response_format"]["json_schema"]
    assert form["strict"] is True
    assert asked["max_tokens"] == 4000
    assert "1 answer asked for; 3000 tokens read, 200 written" in found.output
    assert '"usage"' in journal(tmp_path)


def test_strict_schemas_require_every_key_and_take_null_for_what_is_left_out(run, server):
    server.line_up(said(json.dumps({**SPEC, "effort": None})))
    run()
    schema = server.asked[0]["response_format"]["json_schema"]["schema"]

    def check(node):
        if isinstance(node, dict):
            if isinstance(node.get("properties"), dict):
                assert node["required"] == list(node["properties"])
                assert node["additionalProperties"] is False
            for key, child in node.items():
                assert key not in ("minimum", "maxItems", "exclusiveMinimum", "oneOf", "maxLength"), node
                check(child)
        elif isinstance(node, list):
            for child in node:
                check(child)

    check(schema)
    assert "goal" not in schema["properties"]


@pytest.mark.parametrize(
    "text",
    [
        f"Here you are {{with care}}:\n```json\n{DRAFT}\n```\nIt pays for the left.",
        f'<think>maybe {{"reward": 1}}</think>{DRAFT}',
        json.dumps({**SPEC, "effort": None, "environment": "dmc/walker", "goal": "another", "version": None}),
    ],
    ids=["prose and a fence", "thoughts", "nulls and other names"],
)
def test_a_schema_that_is_ignored_does_no_harm(run, server, tmp_path, text):
    server.line_up(said(text))
    run()
    task = load_task(tmp_path / "park_the_cart_on_the_left.yaml")
    assert task.goal == GOAL
    assert len(server.asked) == 1


def test_a_schema_that_is_refused_is_left_out_from_then_on(run, server):
    def answer(body):
        return wrong(400, "response_format is not supported") if "response_format" in body else said(json.dumps(WRONG))

    server.line_up(answer, answer, said(DRAFT))
    run()
    assert ["response_format" in body for body in server.asked] == [True, False, False]


def test_refusals_go_back_to_the_model_with_its_answer(run, server):
    server.line_up(said("I can't."), said(json.dumps(WRONG)), said(DRAFT))
    run()
    prompts = [body["messages"][0]["content"] for body in server.asked]
    assert "no whole JSON object" in prompts[1]
    assert "Did you mean cart_position" in prompts[2]
    assert "cart_positoin" in prompts[2]


def test_wrong_json_ends_after_the_tries_with_what_was_wrong(run, server):
    server.line_up(said('{"reward": {"x": 1,'))
    assert "came of 2 attempts" in fails(run, "--tries", "2")
    assert len(server.asked) == 2


def test_an_answer_that_is_cut_off_says_how_to_get_it_whole(run, server):
    server.line_up(said(DRAFT[:40], finish="length"))
    assert "cut off after 500 tokens. --max-tokens 1000" in fails(run, "--max-tokens", "500")
    assert len(server.asked) == 1


def test_a_refusal_is_shown(run, server):
    server.line_up(said(None, refusal="I don't park carts"))
    assert "openai:m refused to answer: I don't park carts." in fails(run)
    server.line_up(said("", finish="content_filter"))
    assert "content filter" in fails(run)


def test_a_busy_server_is_asked_again_when_it_wants(run, server):
    server.line_up(wrong(429, "slow down", retry_after="0.6"), said(DRAFT))
    start = time.monotonic()
    found = run()
    assert time.monotonic() - start > 0.6
    assert "openai:m is busy: 429, slow down. Asking again in 0.6 s." in found.output


def test_a_server_that_stays_busy_is_not_waited_for_beyond_the_limit(run, server):
    server.line_up(wrong(429, "slow down", retry_after="60"))
    start = time.monotonic()
    assert "asks to wait 60 s. Try again later, or with a longer --timeout than 2" in fails(run, "--timeout", "2")
    assert time.monotonic() - start < 5
    server.line_up(wrong(503, "loading"))
    assert "503, loading" in fails(run, "--timeout", "1")


def test_a_quota_that_is_used_up_is_not_waited_for(run, server):
    body = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    server.line_up(Reply(body, 429))
    assert "wants payment" in fails(run)
    assert len(server.asked) == 1


def test_no_answer_in_time(run, server):
    server.line_up(Reply(said(DRAFT), delay=3.0))
    start = time.monotonic()
    assert "no whole answer within 0.5 s" in fails(run, "--timeout", "0.5")
    assert time.monotonic() - start < 3


def test_a_connection_that_is_refused(run):
    assert "Nothing answers at http://127.0.0.1:1/v1 (Connection refused). Is the server running" in fails(
        run, url="http://127.0.0.1:1/v1"
    )


def test_a_wrong_key_is_named_by_its_variable(run, server, monkeypatch):
    server.line_up(wrong(401, f"Incorrect API key provided: {KEY}"))
    assert "asks for a key (401): put it into the environment variable OPENAI_API_KEY" in fails(run)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert "does not accept the key in OPENAI_API_KEY" in fails(run)
    assert server.keys[-1] == f"Bearer {KEY}"


def test_an_unknown_model_is_answered_with_near_names(run, server):
    server.line_up(wrong(404, "model not found"))
    server.models = ["qwen3:8b", "llama3.2:3b"]
    assert "Did you mean llama3.2:3b?" in fails(run, model="openai:llama3.2")
    server.models = []
    assert "often ends in /v1" in fails(run, model="openai:llama3.2")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>Welcome</html>", kind="text/html"),
        Reply(b"{half", kind="application/json"),
        Reply({"hello": "world"}),
        Reply({"choices": []}),
    ],
    ids=["a page", "half", "other JSON", "no choice"],
)
def test_what_is_no_chat_completion_is_said(run, server, reply):
    server.line_up(reply)
    assert "Is --base-url right?" in fails(run)


def test_a_request_that_is_not_accepted_is_shown_in_the_servers_words_without_keys(run, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.line_up(wrong(400, f"context of 2048 tokens is too short for {KEY}\n" + "x" * 2000))
    shown = fails(run)
    assert "(400): context of 2048 tokens is too short for [key]" in shown
    assert len(shown) < 500


# --- keys, limits, cache, the remembered default -------------------------------------------------------------------


def test_a_key_gets_into_no_file_and_no_output(run, server, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level("DEBUG")
    server.line_up(said(f"{DRAFT} {KEY}"))
    found = run("--remember")
    assert server.keys == [f"Bearer {KEY}"]
    assert KEY not in found.output
    assert KEY not in caplog.text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert not [path for path in files if KEY in path.read_text()]


def test_a_key_never_goes_unencrypted_to_another_machine(run, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert "unencrypted to http://192.0.2.1/v1" in fails(run, url="http://192.0.2.1/v1")


def test_the_providers_own_address_needs_a_key(run):
    assert "environment variable OPENAI_API_KEY" in fails(run, url="")
    assert "environment variable ANTHROPIC_API_KEY" in fails(run, url="", model="anthropic:claude")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://a/v1", f"https://me:{KEY}@a/v1", f"https://a/v1?key={KEY}"])
def test_an_address_is_checked(run, url):
    with pytest.raises(ManyheadsError, match="--base-url"):
        run(url=url)


def test_limits_are_shown_before_anything_is_asked(run, server):
    shown = []

    def answer(body):
        shown.append(True)
        return said(DRAFT)

    server.line_up(answer)
    found = run("--price", "2.5/10", "--max-tokens", "800", "--tries", "2", "--timeout", "30")
    first = found.output.index("at most 2 answers of 800 tokens and 30 s each")
    assert first < found.output.index("1 answer asked for")
    assert "at 2.5/10 for a million at most about" in found.output
    assert f"cost {3000 * 2.5e-6 + 200 * 10e-6:.4f}" in found.output


def test_a_limit_on_cost_needs_a_price_and_stops_before_it_is_passed(run, server, monkeypatch):
    server.line_up(said(json.dumps(WRONG)))
    assert "was not asked" in fails(run, "--price", "1000/1000", "--max-cost", "0.01")
    assert not server.asked
    assert "was not asked: the next answer may cost" in fails(run, "--price", "0/1000", "--max-cost", "4.1")
    assert len(server.asked) == 1
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert "needs the price" in fails(run, "--max-cost", "1", url="https://example.org/v1")


def test_a_model_on_this_machine_is_free(run, server):
    server.line_up(said(DRAFT))
    assert "; free." in run("--max-cost", "0.01").output


def test_the_same_question_is_asked_once(run, server, tmp_path):
    server.line_up(said(json.dumps(WRONG)), said(DRAFT))
    run()
    assert len(server.asked) == 2
    found = run()
    assert len(server.asked) == 2
    assert "0 answers asked for, 2 from the cache" in found.output
    run("--no-cache")
    assert len(server.asked) == 3
    run("--max-tokens", "900", "--out", "other.yaml")
    assert len(server.asked) == 4
    kept = list((tmp_path / "cache" / "manyheads" / "answers").glob("*.json"))
    assert len(kept) == 3


def test_a_damaged_answer_is_asked_for_again(run, server, tmp_path):
    server.line_up(said(DRAFT))
    run()
    [kept] = (tmp_path / "cache").rglob("*.json")
    kept.write_text('{"text": 3}')
    run()
    assert len(server.asked) == 2


def test_everything_that_an_answer_depends_on_is_in_its_key():
    answers = Answers(None)
    one = {"model": "m", "address": "a", "prompt": "p", "schema": None, "max_tokens": 1}
    keys = {answers.key(**{**one, name: "other"}) for name in one}
    assert len(keys | {answers.key(**one)}) == 6


def test_a_default_is_remembered_and_said_when_used(run, server, tmp_path):
    found = CliRunner().invoke(
        command.goal, ["--model", "openai:m", "--base-url", server.url, "--tries", "2", "--remember"]
    )
    assert found.exit_code == 0
    assert "openai:m is the default from now on" in found.output
    assert not server.asked
    server.line_up(said(DRAFT))
    found = run(model=None)
    assert f"Model openai:m, as remembered in {config_file()}; --model takes another." in found.output
    assert "at most 2 answers" in found.output
    assert "at most 3 answers" in run("--tries", "3", "--no-cache", model=None).output


def test_a_remembered_default_that_was_edited_wrongly_is_named_with_its_line(run):
    config_file().parent.mkdir(parents=True)
    config_file().write_text("model: openai:m\nmax_tokens: lots\n")
    assert "goal.yaml:2: max_tokens:" in fails(run, model=None)
    config_file().write_text("model: openai:m\napi_key: abc\n")
    assert "api_key" in fails(run, model=None)


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (("--timeout", "0"), "--timeout 0.0: Input should be greater than 0"),
        (("--tries", "0"), "--tries 0"),
        (("--price", "cheap"), "--price cheap"),
        (("--model", "openai:"), "openai:NAME"),
        (("--model", "openia:m"), "no model named 'openia:m'"),
    ],
)
def test_wrong_flags_are_named(run, flags, shown):
    assert shown in fails(run, *flags)


def test_a_missing_package_is_named_with_its_extra(run, monkeypatch):
    monkeypatch.setattr("manyheads.models.missing_modules", lambda names: list(names))
    assert "pip install 'manyheads[openai]'" in fails(run)
    assert "pip install 'manyheads[llm-cli]'" in fails(run, model="llm:gpt", url="")


# --- Anthropic ----------------------------------------------------------------------------------------------------


@pytest.fixture
def ask_claude(run, server):
    pytest.importorskip("anthropic")
    return lambda *args: run(*args, model="anthropic:claude", url=server.root)


def test_anthropic_answers_through_a_tool(ask_claude, server, tmp_path, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    server.line_up(
        message({"type": "tool_use", "id": "1", "name": "reward_specification", "input": SPEC}, stop="tool_use")
    )
    ask_claude()
    [asked] = server.asked
    assert KEY in server.keys[0]
    assert asked["tool_choice"] == {"type": "tool", "name": "reward_specification"}
    assert asked["tools"][0]["input_schema"]["required"] == ["success"]
    assert load_task(tmp_path / "park_the_cart_on_the_left.yaml").success.held_for == 20


def test_an_anthropic_model_that_can_not_be_forced_to_a_tool_is_offered_it(ask_claude, server):
    def answer(body):
        if "tool_choice" in body:
            return wrong(400, "tool_choice forces tool use, which this model does not take")
        return message({"type": "text", "text": f"Here:\n{DRAFT}"})

    server.line_up(answer)
    ask_claude()
    assert ["tool_choice" in body for body in server.asked] == [True, False]


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (message({"type": "text", "text": "{"}, stop="max_tokens"), "cut off"),
        (message({"type": "text", "text": "No parking"}, stop="refusal"), "refused to answer: No parking."),
        (wrong(401, "invalid x-api-key"), "environment variable ANTHROPIC_API_KEY"),
        (wrong(404, "model: claude"), "Did you mean claude-big?"),
        (Reply(b"<html>", kind="text/html"), "Is --base-url right?"),
    ],
    ids=["cut off", "refusal", "key", "unknown model", "a page"],
)
def test_what_goes_wrong_with_anthropic_is_said(ask_claude, server, reply, shown):
    server.models = ["claude-big", "other"]
    server.line_up(reply)
    assert shown in fails(ask_claude)


def test_an_overloaded_anthropic_is_asked_again(ask_claude, server):
    server.line_up(wrong(529, "Overloaded"), message({"type": "text", "text": DRAFT}))
    assert "is busy: 529, Overloaded." in ask_claude().output


# --- the llm package ----------------------------------------------------------------------------------------------


@pytest.fixture
def ask_llm(run, server, tmp_path):
    """A model that the llm package knows from its own settings: its OpenAI plugin at our server."""
    pytest.importorskip("llm")
    (tmp_path / "llm").mkdir()
    (tmp_path / "llm" / "extra-openai-models.yaml").write_text(
        f"- model_id: mine\n  model_name: m\n  api_base: {server.url}\n  supports_schema: true\n"
    )
    return lambda *args, model="llm:mine": run(*args, model=model, url="")


def test_any_model_of_the_llm_package_can_write(ask_llm, server, tmp_path):
    server.line_up(said(DRAFT))
    found = ask_llm("--max-tokens", "700")
    assert load_task(tmp_path / "park_the_cart_on_the_left.yaml").goal == GOAL
    assert server.asked[0]["max_tokens"] == 700
    assert server.asked[0]["response_format"]["type"] == "json_schema"
    assert "3000 tokens read, 200 written" in found.output


def test_what_goes_wrong_with_llm_is_said(ask_llm, server):
    assert "Did you mean mine" in fails(ask_llm, model="llm:mien")
    server.line_up(wrong(400, "no"))
    assert re.search("Does `(LLM_LOAD_PLUGINS=.*)?llm -m mine hello` work", fails(ask_llm))
    server.line_up(said("{", finish="length"))
    assert "cut off" in fails(ask_llm)
    server.line_up(Reply(said(DRAFT), delay=3.0))
    assert "no whole answer within 0.5 s" in fails(ask_llm, "--timeout", "0.5")
    assert "--base-url is for" in fails(ask_llm, "--base-url", server.url)


# --- the contract ------------------------------------------------------------------------------------------------


def test_models_behind_an_interface_keep_the_contract(server):
    from manyheads import LanguageModel

    model = choose(ModelSettings(model="openai:m", base_url=server.url), print)
    assert isinstance(model, LanguageModel)
    with pytest.raises(ManyheadsError, match="can't weigh options"):
        model.score("a", ["b"])
    vectors = model.embed(["walk forward", "walk on", "a bowl of soup"])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_a_registered_kind_takes_its_name_from_the_environment(monkeypatch):
    with pytest.raises(ManyheadsError, match="set MANYHEADS_MODEL"):
        choose(ModelSettings(model="glam/openai"), print)
    monkeypatch.setenv("MANYHEADS_MODEL", "m")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert choose(ModelSettings(model="glam/openai"), print).name == "openai:m"


PAGE = (Path(__file__).parents[2] / "docs" / "language_models.md").read_text(encoding="utf-8")


def test_the_pages_commands_run_and_its_limits_are_shown(ask_llm, server, tmp_path, monkeypatch):
    """Each as it stands but for the addresses, which are our server's."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.root)
    settings = tmp_path / "llm" / "extra-openai-models.yaml"
    settings.write_text(settings.read_text().replace("model_id: mine", "model_id: gpt-5-own\n  aliases: [gpt-5]"))

    def answer(body):
        draft = DRAFT if "dmc/cartpole" in json.dumps(body) else DRAFT.replace("cart_position", "horizontal_velocity")
        return message({"type": "text", "text": draft}) if "tools" in body else said(draft)

    server.line_up(answer)
    commands = re.findall(r"^\$ manyheads (goal .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 6
    for line in commands:
        line = re.sub(r"http://127\.0\.0\.1:\d+/v1", server.url, line)
        out = ["--out", f"{len(server.asked)}.yaml"]
        found = CliRunner().invoke(command.goal, [*shlex.split(line)[1:], *out])
        assert found.exit_code == 0, f"{line}\n{found.output}\n{found.exception}"


def test_a_broken_plugin_of_llm_leaves_the_others_usable(tmp_path):
    """In its own process, as plugins are loaded once."""
    pytest.importorskip("llm")
    package = tmp_path / "site"
    (package / "llm_broken-1.0.dist-info").mkdir(parents=True)
    (package / "llm_broken.py").write_text("import a_module_that_is_nowhere")
    (package / "llm_broken-1.0.dist-info" / "METADATA").write_text("Name: llm-broken\nVersion: 1.0\n")
    (package / "llm_broken-1.0.dist-info" / "entry_points.txt").write_text("[llm]\nbroken = llm_broken\n")
    code = """
from manyheads_glam.models.choose import choose
from manyheads_glam.models.settings import ModelSettings
print(choose(ModelSettings(model="llm:gpt-4o"), print).name)
try:
    choose(ModelSettings(model="llm:gtp-4o"), print)
except Exception as error:
    print(error)
"""
    shown = python(code, env={**os.environ, "PYTHONPATH": str(package)}).stdout
    assert shown.startswith("llm:gpt-4o\n")
    assert "Its plugin broken did not load (ModuleNotFoundError: No module named 'a_module_that_is_nowhere')" in shown
    assert "LLM_LOAD_PLUGINS=" in shown
