"""The page's server: who is answered, what is shown of a world, and that nothing leads out of the folder."""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from click.testing import CliRunner
from web_server import Server, make_world, serving

import manyheads_web
from manyheads import RewardSpec
from manyheads.environment.contract import Signal
from manyheads_web.command import web
from manyheads_web.folder import Shown
from manyheads_web.numbers import changed, numbers
from manyheads_web.problems import Gone, Outside, Refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small world, `carts`."""
    root = tmp_path_factory.mktemp("web")
    make_world(root)
    (root.parent / "secret.txt").write_text("secret")
    return root


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(folder) as running:
        yield running


# --- who is answered ------------------------------------------------------------------------------------


def test_the_printed_address_opens_the_page_and_leaves_a_cookie(server: Server) -> None:
    status, headers, page = server.ask(f"/?token={server.token}", Authorization=None)
    assert status == 200
    assert b"<title>manyheads</title>" in page
    cookie, *rules = headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict"} <= {*rules}
    status, headers, worlds = server.ask("/api/worlds", Authorization=None, Cookie=cookie)
    assert status == 200
    assert [world["name"] for world in json.loads(worlds)] == ["carts"]
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/api/worlds", "/api/events"])
def test_nothing_is_shown_without_the_token(server: Server, path: str) -> None:
    status, _, answer = server.ask(path, Authorization=None)
    assert status == 403
    assert b"needs the token of the address that `manyheads web` printed" in answer


@pytest.mark.parametrize("given", ["Bearer wrong", "Bearer ", "Basic Og==", "Bearer \xff"])
def test_a_wrong_token_is_said(server: Server, given: str) -> None:
    status, message = server.refusal("/api/worlds", Authorization=given)
    assert status == 403
    assert "token" in message
    assert server.ask("/?token=wrong", Authorization=None)[0] == 403


def test_a_name_that_was_rebound_is_refused(server: Server) -> None:
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::1", ""):
        status, message = server.refusal("/api/worlds", Host=host)
        assert status == 403
        assert "answers to 127.0.0.1 and localhost alone" in message
    assert server.ask("/api/worlds", Host=f"localhost:{server.port}")[0] == 200


def test_requests_of_other_pages_are_refused(server: Server) -> None:
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{server.port + 1}"):
        status, message = server.refusal("/api/stop", {"job": 1}, Origin=origin)
        assert status == 403
        assert "other origins" in message
    for site in ("cross-site", "same-site"):
        assert server.refusal("/api/worlds", Sec_Fetch_Site=site)[0] == 403
    followed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert server.ask(f"/?token={server.token}", Authorization=None, **followed)[0] == 200
    assert server.ask("/", **followed)[0] == 403
    own = f"http://127.0.0.1:{server.port}"
    assert server.ask("/api/judge", {"draft": 99}, Origin=own)[0] == 404


def test_only_small_json_is_read(server: Server) -> None:
    assert "Content-Type" in server.refusal("/api/stop", {"job": 1}, Content_Type="text/plain")[1]
    assert "at most" in server.refusal("/api/stop", b" " * 70_000)[1]
    assert "Invalid JSON" in server.refusal("/api/stop", b"{")[1]
    assert "job" in server.refusal("/api/stop", {"job": "1; rm"})[1]
    assert "Extra inputs" in server.refusal("/api/stop", {"job": 1, "more": 2})[1]
    assert "command" in server.refusal("/api/run", {"world": "carts", "command": "demo"})[1]


# --- what is shown --------------------------------------------------------------------------------------


def test_a_world_is_shown_with_heads_curves_and_replay(server: Server) -> None:
    world = server.json("/api/world?world=carts")
    assert world["steps"] == 200
    [head] = world["heads"]
    assert head["task"] == "upright"
    assert head["goal"] == "Keep the pole upright."
    assert head["summary"] == "the simulator's own reward"
    assert head["video"] is None
    assert world["tasks"] == ["upright"]
    curves = server.json("/api/curves?world=carts&owner=upright")["curves"]
    assert curves.keys() == {"upright/return", "upright/simulator"}
    assert curves["upright/return"]["step"][-1] <= 200
    replay = server.json("/api/replay?world=carts")
    assert replay["rows"] == 200
    episode = server.json(f"/api/episode?world=carts&episode={replay['newest'][0]['episode']}")
    assert len(episode["signals"]["pole_angle"]) == replay["newest"][0]["rows"]
    assert server.json("/api/show?world=carts")["observes"] == "4 numbers"


@pytest.mark.parametrize("name", ["../secret.txt", "../../etc/passwd", "/etc", "carts/../../x", "..", "a\x00b"])
def test_no_name_leads_out_of_the_folder(server: Server, name: str) -> None:
    for path in ("world", "replay", "show", "video", "curves"):
        status, message = server.refusal(f"/api/{path}?world={quote(name)}&owner=x&head=upright")
        assert status == 403, path
        assert "This page shows that folder alone" in message or "is not a path in" in message
    for command in ({"command": "report"}, {"command": "train", "steps": 1}):
        assert server.refusal("/api/run", {"world": name, **command})[0] == 403
    assert server.refusal("/api/video?world=carts&head=../../secret")[0] == 400
    for path in (f"/static/../{name}", f"/static/..%2f..%2f{name}", f"/static/{name}"):
        assert server.ask(path.replace("\x00", "%00"))[0] in (400, 404)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "world.yaml").write_text("format: 2")
    inside = tmp_path / "inside"
    (inside / "deep" / "world").mkdir(parents=True)
    (inside / "deep" / "world" / "world.yaml").write_text("format: 2")
    (inside / "link").symlink_to(outside)
    shown = Shown(inside)
    assert [*shown.worlds()] == ["deep/world"]
    with pytest.raises(Outside):
        shown.path("link")
    with pytest.raises(Gone, match="deleted, moved or renamed"):
        shown.path("deep")
    assert [*Shown(outside).worlds()] == ["."]
    assert Shown(outside).title(".") == "outside"


def test_what_is_not_there_is_said(server: Server) -> None:
    assert server.refusal("/api/world?world=none")[0] == 404
    assert "Say which world" in server.refusal("/api/world")[1]
    assert "no head 'nobody'" in server.refusal("/api/run", {"world": "carts", "command": "watch", "head": "nobody"})[1]
    assert "has not been filmed yet" in server.refusal("/api/video?world=carts&head=upright")[1]
    assert "restarted" in server.refusal("/api/draft?draft=7")[1]
    assert "no job 77" in server.refusal("/api/stop", {"job": 77})[1]
    assert "a number, not" in server.refusal("/api/episode?world=carts&episode=x")[1]
    assert server.refusal("/api/other")[0] == 404
    asked = {"world": "carts", "sentence": "Stay left", "environment": "dmc/cartpole"}
    assert "knows gymnasium/CartPole-v1" in server.refusal("/api/goal", asked)[1]


def test_a_damaged_world_is_said_and_the_others_are_shown(folder: Path, server: Server) -> None:
    damaged = shutil.copytree(folder / "carts", folder / "damaged")
    (damaged / "world.yaml").write_text("format: [")
    try:
        cards = {card["name"]: card for card in server.json("/api/worlds")}
        assert cards["carts"]["problem"] == ""
        assert "world.yaml" in cards["damaged"]["problem"]
        assert "world.yaml" in server.refusal("/api/world?world=damaged")[1]
    finally:
        shutil.rmtree(damaged)


def test_events_follow_a_world_that_grows_and_is_deleted(folder: Path, server: Server) -> None:
    world = shutil.copytree(folder / "carts", folder / "growing")
    os.utime(world / "metrics.jsonl", (1e9, 1e9))  # long ago: nobody trains it now
    stream = server.events("/api/events?world=growing", 6)
    first = dict(next(stream) for _ in range(3))
    assert first.keys() == {"jobs", "curves", "world"}
    assert first["world"]["title"] == "growing"
    line = {"step": 9000, "updates": 9000, "time": 1e6, "numbers": {"upright/return": 77.0}}
    with (world / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line)[:20])
        file.flush()
        time.sleep(1.5)
        file.write(json.dumps(line)[20:] + "\n")
    seen = [next(stream), next(stream)]
    curves = dict(seen)["curves"]["curves"]["upright/return"]
    assert (curves["step"][-1], curves["value"][-1]) == (9000, 77.0)
    assert dict(seen)["world"]["fresh"] is True
    shutil.rmtree(world)
    name, message = next(stream)
    assert name == "gone"
    assert "There is no world 'growing'" in message
    stream.close()


def test_trouble_that_passes_is_not_said_and_that_which_stays_is(folder: Path, server: Server) -> None:
    world = shutil.copytree(folder / "carts", folder / "written")
    try:
        stream = server.events("/api/events?world=written", 5)
        for _ in range(3):
            next(stream)
        whole = (world / "checkpoint.json").read_bytes()
        (world / "checkpoint.json").write_bytes(whole[:100])
        name, message = next(stream)
        assert name == "trouble"
        assert "checkpoint.json" in message
        (world / "checkpoint.json").write_bytes(whole)
        assert [next(stream)][0][0] in ("trouble", "world")
        stream.close()
    finally:
        shutil.rmtree(world)


# --- what is started ------------------------------------------------------------------------------------


def wait_for(server: Server, number: int, *states: str, seconds: float = 300) -> dict:  # type: ignore[type-arg]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        job = next(one for one in server.json("/api/jobs") if one["id"] == number)
        if job["state"] in states:
            return job
        time.sleep(0.2)
    raise AssertionError(job)


def test_training_is_stopped_and_saved_and_a_second_one_waits(folder: Path, server: Server) -> None:
    world = shutil.copytree(folder / "carts", folder / "trained")
    try:
        job = server.json("/api/run", {"world": "trained", "command": "train", "steps": 1_000_000})
        assert job["commands"][0]["line"] == "manyheads train --yes --steps=1000200 -- trained"
        status, message = server.refusal("/api/run", {"world": "trained", "command": "train", "steps": 5})
        assert status == 409
        assert "is at work on this world" in message
        until = time.monotonic() + 300
        while time.monotonic() < until:
            job = next(one for one in server.json("/api/jobs") if one["id"] == job["id"])
            if job["progress"] and job["progress"]["done"] > 200:
                break
            time.sleep(0.2)
        assert job["progress"]["total"] == 1_000_200
        server.json("/api/stop", {"job": job["id"]})
        job = wait_for(server, job["id"], "stopped")
        assert job["error"] == ""
        assert any("Stopping after this update" in line for line in job["lines"])
        steps = server.json("/api/world?world=trained")["steps"]
        assert steps > 200
        assert server.json("/api/replay?world=trained")["rows"] == steps
    finally:
        shutil.rmtree(world)


def test_a_command_that_fails_says_so_in_its_own_words(folder: Path, server: Server) -> None:
    world = shutil.copytree(folder / "carts", folder / "broken")
    try:
        weights = next(world.glob("world.*.safetensors"))
        weights.write_bytes(b"none")
        job = server.json("/api/run", {"world": "broken", "command": "evaluate", "head": "upright"})
        job = wait_for(server, job["id"], "failed")
        assert weights.name in job["error"]
        assert "Traceback" not in job["error"]
    finally:
        shutil.rmtree(world)


def test_ending_the_page_saves_what_it_trains(folder: Path) -> None:
    world = shutil.copytree(folder / "carts", folder / "kept")
    try:
        with serving(folder) as server:
            job = server.json("/api/run", {"world": "kept", "command": "train", "steps": 1_000_000})
            until = time.monotonic() + 300
            while time.monotonic() < until and not (job["progress"] and job["progress"]["done"] > 200):
                job = next(one for one in server.json("/api/jobs") if one["id"] == job["id"])
                time.sleep(0.2)
            events = server.events("/api/events?world=kept", 1)
            next(events)
        assert server.process.returncode == 130
        checkpoint = json.loads((world / "checkpoint.json").read_text())
        assert checkpoint["state"]["steps"] > 200
    finally:
        shutil.rmtree(world)


def test_ctrl_c_ends_a_page_in_the_background_of_a_script_alike(tmp_path: Path) -> None:
    with serving(tmp_path, background=True) as server:
        assert server.json("/api/worlds") == []
    assert server.process.returncode == 130


def test_a_port_that_is_taken_and_a_folder_that_is_none_are_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(web, [str(tmp_path), "--port", str(port)])
    assert f"Port {port} can't be used: Address already in use" in str(result.exception)
    assert "--port 0 takes a free one" in str(result.exception)
    assert "is not a folder" in str(CliRunner().invoke(web, [str(tmp_path / "none")]).exception)


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manyheads_web.command.find_spec", lambda name: None)
    result = CliRunner().invoke(web, [str(tmp_path)])
    assert "pip install 'manyheads[web]'" in str(result.exception)


def test_the_page_needs_nothing_from_elsewhere() -> None:
    static = Path(manyheads_web.__file__).parent / "static"
    for path in static.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
        assert "http://" not in text, path.name
        assert "https://" not in text, path.name
        assert "innerHTML" not in text, path.name


# --- the numbers of a goal ------------------------------------------------------------------------------

SPEC = {
    "version": 1,
    "environment": "sailing/boat",
    "reward": {
        "combine": "weighted_mean",
        "of": [
            {"x": {"signal": "north"}, "to": {"shape": "tolerance", "lower": 2.0, "margin": 1.0}, "weight": 2.0},
            {"x": {"op": "abs", "of": {"signal": "speed"}}, "to": {"shape": "ramp", "low": 1.0, "high": 0.0}},
        ],
    },
    "success": {"when": {"op": "ge", "x": {"signal": "north"}, "than": 2.0}, "held_for": 10},
}
SIGNALS = [Signal("north", "m", description="metres north"), Signal("speed", "m/s", description="speed")]


def known_numbers() -> tuple[RewardSpec, list]:  # type: ignore[type-arg]
    spec = RewardSpec.model_validate(SPEC)
    return spec, numbers(spec, SIGNALS, lambda x: np.array([-3.0, 5.0]))


def test_every_number_is_a_slider_and_a_shared_bound_is_one() -> None:
    _, found = known_numbers()
    values = {number.label: number.value for number in found}
    assert values == {
        "weight of: north at least 2 m": 2.0,
        "weight of: the size of speed as low as 0 m/s": 1.0,
        "north at least": 2.0,
        "north: fades out over": 1.0,
        "the size of speed earns nothing at": 1.0,
        "the size of speed earns all at": 0.0,
        "success: held for": 10,
    }
    north = next(number for number in found if number.label == "north at least")
    assert north.paths == ["reward.of[0].to.lower", "success.when.than"]
    assert north.low <= -3.0
    assert north.high >= 5.0
    assert north.unit == "m"


def test_a_moved_number_changes_every_place_where_it_stands() -> None:
    spec, found = known_numbers()
    at = {number.label: index for index, number in enumerate(found)}
    moved = changed(spec, found, {at["north at least"]: 3.5, at["success: held for"]: 12.4})
    assert moved.reward.of[0].to.lower == 3.5  # type: ignore[union-attr]
    assert moved.success is not None
    assert moved.success.when.than == 3.5  # type: ignore[union-attr]
    assert moved.success.held_for == 12
    assert changed(spec, found, {}) == spec


def test_numbers_that_make_no_sense_are_refused() -> None:
    spec, found = known_numbers()
    at = {number.label: index for index, number in enumerate(found)}
    with pytest.raises(Refused, match="must differ"):
        changed(spec, found, {at["the size of speed earns all at"]: 1.0})
    with pytest.raises(Refused, match="do not go together"):
        changed(spec, found, {at["success: held for"]: 1000})
    with pytest.raises(Refused, match="none with the index 40"):
        changed(spec, found, {40: 1.0})
