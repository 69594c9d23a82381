"""What ale-py holds and how it is played, as tables that need no import of ale-py; a test keeps them equal."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from manyheads.environment.contract import Options

ROMS = (
    "adventure", "air_raid", "alien", "amidar", "assault", "asterix", "asteroids", "atlantis", "atlantis2",
    "backgammon", "bank_heist", "basic_math", "battle_zone", "beam_rider", "berzerk", "blackjack", "bowling",
    "boxing", "breakout", "carnival", "casino", "centipede", "chopper_command", "crazy_climber", "crossbow",
    "darkchambers", "defender", "demon_attack", "donkey_kong", "double_dunk", "earthworld", "elevator_action",
    "enduro", "entombed", "et", "fishing_derby", "flag_capture", "freeway", "frogger", "frostbite", "galaxian",
    "gopher", "gravitar", "hangman", "haunted_house", "hero", "human_cannonball", "ice_hockey", "jamesbond",
    "journey_escape", "kaboom", "kangaroo", "keystone_kapers", "king_kong", "klax", "koolaid", "krull",
    "kung_fu_master", "laser_gates", "lost_luggage", "mario_bros", "miniature_golf", "montezuma_revenge",
    "mr_do", "ms_pacman", "name_this_game", "othello", "pacman", "phoenix", "pitfall", "pitfall2", "pong",
    "pooyan", "private_eye", "qbert", "riverraid", "road_runner", "robotank", "seaquest", "sir_lancelot",
    "skiing", "solaris", "space_invaders", "space_war", "star_gunner", "superman", "surround", "tennis",
    "tetris", "tic_tac_toe_3d", "time_pilot", "trondead", "turmoil", "tutankham", "up_n_down", "venture",
    "video_checkers", "video_chess", "video_cube", "video_pinball", "wizard_of_wor", "word_zapper",
    "yars_revenge", "zaxxon",
)  # fmt: skip
"""Every game with a mode for one player; combat, joust, maze_craze and warlords have none, and ALE refuses them."""

GAMES = {rom.title().replace("_", ""): rom for rom in ROMS}
"""Names, spelt as Gymnasium's `ALE/<Game>-v5` spells them, and their ROMs."""

_SHARED = {"frame_skip": 4, "noops": 30, "max_frames": 108_000}

PROTOCOLS: dict[str, dict[str, Any]] = {
    "100k": {**_SHARED, "sticky": 0.0, "actions": "minimal", "size": 64, "grey": False},
    "57": {**_SHARED, "sticky": 0.25, "actions": "all", "size": 96, "grey": True},
}
"""The numbers of DreamerV3's Atari 100k and Atari 57 runs (configurations `atari100k` and `atari` of its code)."""


class AtariOptions(Options):
    """A protocol by its name; every number that it sets may be given on its own."""

    protocol: Literal["100k", "57"] = "100k"
    frame_skip: Annotated[int, Field(ge=1, le=60)] = 4
    """frames that an action is held for; what is seen is the maximum of the last two"""
    sticky: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """probability, each frame, that the action of the frame before is held on (Machado et al. 2018)"""
    noops: Annotated[int, Field(ge=0, le=1000)] = 30
    """an episode begins after 0 to this many frames without an action"""
    actions: Literal["minimal", "all"] = "minimal"
    """the actions that the game uses, or all 18 of the joystick"""
    size: Annotated[int, Field(ge=16, le=512)] = 64
    """side in pixels of the square picture that is observed"""
    grey: bool = False
    max_frames: Annotated[int, Field(ge=1, le=10_000_000)] = 108_000
    """frames until an episode is truncated; 108,000 are half an hour"""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_protocol(cls, values: dict[str, Any]) -> dict[str, Any]:
        protocol = str(values.get("protocol", "100k"))  # YAML reads 57 as a number
        return {**PROTOCOLS.get(protocol, {}), **values, "protocol": protocol}
