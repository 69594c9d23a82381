"""Which byte of a game's memory says what: the facts of AtariARI (Anand et al. 2019, "Unsupervised State Representation
Learning in Atari"), each checked against the game's pictures or points, with where it lies on the screen measured."""

from manyheads_atari.memory import Cell, bcd, count, packed_x, x, y

GHOSTS = ("sue", "inky", "pinky", "blinky")


def _punches(byte: int) -> float:
    """Two decimal digits; a knock-out, the hundredth, is kept as KO."""
    return 100 if byte == 0xC0 else bcd(byte)


ANNOTATIONS: dict[str, tuple[Cell, ...]] = {
    "asteroids": (
        *(y(f"asteroid_{i}_y", a, 25, f"top of asteroid {i}", 2) for i, a in enumerate((3, 4, 5, 6, 12, 13, 14, 15))),
        y("missile_1_y", 86, 17, "top of the ship's first missile", 2),
        y("missile_2_y", 87, 19, "top of the ship's second missile", 2),
    ),
    "battle_zone": (x("tank_x", 48, 4, "left edge of the nearer tank"),),
    "berzerk": (
        x("player_x", 19, 4, "left edge of the player"),
        y("player_y", 11, 4, "top of the player"),
        x("missile_x", 22, 2, "left edge of the player's shot"),
        y("missile_y", 23, 3, "top of the player's shot", 2),
        x("robot_missile_x", 29, 2, "left edge of the robots' shot"),
        y("robot_missile_y", 30, 3, "top of the robots' shot", 2),
        *(x(f"robot_{i}_x", 65 + i, 6, f"left edge of robot {i}") for i in range(5)),
        *(y(f"robot_{i}_y", 56 + i, 3, f"top of robot {i}; the bottom where there is none", 2) for i in range(5)),
    ),
    "bowling": (
        x("ball_x", 30, 7, "left edge of the ball"),
        y("ball_y", 41, 163, "top of the ball", -2),
        x("player_x", 29, 8, "left edge of the bowler"),
    ),
    "boxing": (
        x("player_x", 32, 5, "left edge of the player's white boxer"),
        y("player_y", 34, 38, "top of the player's white boxer"),
        x("enemy_x", 33, 5, "left edge of the opponent's black boxer"),
        y("enemy_y", 35, 38, "top of the opponent's black boxer"),
        count("player_score", 18, "punches that the player has landed; 100 wins", "points", _punches),
        count("enemy_score", 19, "punches that the opponent has landed; 100 wins", "points", _punches),
        count("clock_seconds", 17, "seconds of the present minute that are left", decode=bcd),
    ),
    "breakout": (
        x("ball_x", 99, -49, "left edge of the ball; the left edge of the screen where there is none"),
        y("ball_y", 101, 9, "top of the ball"),
        x("player_x", 72, -47, "left edge of the paddle"),
        count("blocks_hit", 77, "blocks that are broken"),
    ),
    "demon_attack": (
        packed_x("player_x", 22, 12, "left edge of the player's cannon"),
        *(packed_x(f"enemy_{i}_x", 17 + i, 9, f"left edge of demon {i}, from the top") for i in range(3)),
        *(y(f"enemy_{i}_y", 69 + i, 176, f"top of demon {i}, from the top", -1) for i in range(3)),
        y("missile_y", 21, 174, "top of the player's shot", -1),
    ),
    "freeway": (
        y("player_y", 14, 193, "top of the player's chicken; it starts at the bottom and scores at the top", -1),
        *(x(f"car_{i}_x", 108 + i, -2, f"left edge of the car in lane {i}, from the bottom") for i in range(10)),
    ),
    "frostbite": (
        *(x(f"ice_{i}_x", 34 - i, -8, f"left edge of the floes of row {i}, from the top") for i in range(4)),
        *(x(f"enemy_{i}_x", 84 + i, 0, f"left edge of the animals of row {i}, from the bottom") for i in range(4)),
        x("player_x", 102, 0, "left edge of the player"),
        y("player_y", 100, 40, "top of the player"),
        count("igloo_blocks", 77, "blocks of the igloo that stand; 16 are all", decode=lambda byte: (byte + 1) % 256),
    ),
    "hero": (
        x("player_x", 27, 2, "left edge of the player"),
        y("player_y", 31, 141, "top of the player", -1),
        count("power", 43, "power that is left, as the bar shows it"),
    ),
    "montezuma_revenge": (
        x("player_x", 42, -1, "left edge of the player"),
        y("player_y", 43, 314, "top of the player", -1),
        x("skull_x", 47, 32, "left edge of the skull in the first room"),
    ),
    "ms_pacman": (
        x("player_x", 10, -12, "left edge of Ms. Pac-Man"),
        y("player_y", 16, 1, "top of Ms. Pac-Man"),
        *(x(f"{ghost}_x", 6 + i, -12, f"left edge of the ghost {ghost.title()}") for i, ghost in enumerate(GHOSTS)),
        *(y(f"{ghost}_y", 12 + i, 1, f"top of the ghost {ghost.title()}") for i, ghost in enumerate(GHOSTS)),
        count("dots_eaten", 119, "dots that are eaten"),
    ),
    "pitfall": (
        x("player_x", 97, 3, "left edge of the player"),
        y("player_y", 105, 72, "top of the player"),
        x("logs_x", 98, 1, "left edge of the first log"),
        x("scorpion_x", 99, 0, "left edge of the scorpion"),
        count("clock_seconds", 89, "seconds of the present minute that are left", decode=bcd),
    ),
    "pong": (
        y("player_y", 51, -13, "top of the player's green paddle, on the right"),
        y("enemy_y", 50, -15, "top of the opponent's orange paddle, on the left"),
        x("ball_x", 49, -49, "left edge of the ball; the left edge of the screen where there is none"),
        y("ball_y", 54, -14, "top of the ball"),
        count("player_score", 14, "points that the player has made; 21 win", "points"),
        count("enemy_score", 13, "points that the opponent has made; 21 win", "points"),
    ),
    "private_eye": (
        x("player_x", 63, 0, "left edge of the player's car"),
        x("dove_x", 48, 15, "left edge of the dove"),
    ),
    "qbert": (
        x("player_x", 43, -3, "left edge of Q*bert"),
        y("player_y", 67, 0, "top of Q*bert"),
    ),
    "riverraid": (
        x("player_x", 51, 1, "left edge of the jet"),
        x("missile_x", 117, -1, "left edge of the jet's shot"),
        y("missile_y", 50, 157, "top of the jet's shot", -1),
        count("fuel", 55, "fuel that is left, as the gauge shows it; 255 is full"),
    ),
    "seaquest": (
        x("player_x", 70, 0, "left edge of the submarine"),
        y("player_y", 97, 33, "top of the submarine"),
        *(x(f"enemy_{i}_x", 30 + i, 0, f"left edge of the sharks or submarines of row {i}") for i in range(4)),
        *(
            x(f"diver_{i}_x", 71 + i, 1, f"left edge of the diver, or the enemy's shot, of row {i}")
            for i in range(1, 4)
        ),
        x("missile_x", 103, 0, "left edge of the submarine's shot"),
        count("oxygen", 102, "oxygen that is left, as the bar shows it; 64 is full"),
    ),
    "skiing": (
        x("player_x", 25, 1, "left edge of the skier"),
        *(y(f"object_{i}_y", 87 + i, 181, f"top of gate or tree {i}, from the bottom", -1) for i in range(1, 6)),
    ),
    "space_invaders": (
        x("player_x", 28, -1, "left edge of the player's cannon"),
        x("invaders_x", 26, -1, "left edge of the block of invaders"),
        count("invaders_left", 17, "invaders that are left"),
    ),
    "tennis": (
        x("player_x", 26, -2, "left edge of the player"),
        y("player_y", 24, 166, "top of the player", -1),
        x("enemy_x", 27, -2, "left edge of the opponent"),
        y("enemy_y", 25, 167, "top of the opponent", -1),
        x("ball_x", 16, -2, "left edge of the ball"),
    ),
    "venture": (
        x("player_x", 85, -1, "left edge of the player"),
        y("player_y", 26, 25, "top of the player", 2),
        *(x(f"sprite_{i}_x", 79 + i, -1, f"left edge of monster {i}") for i in range(6)),
        *(y(f"sprite_{i}_y", 20 + i, 27, f"top of monster {i}", 2) for i in range(6)),
    ),
    "video_pinball": (
        x("ball_x", 67, 0, "left edge of the ball"),
        y("ball_y", 68, -2, "top of the ball"),
    ),
    "yars_revenge": (
        x("player_x", 32, 0, "left edge of Yar"),
        y("player_y", 31, 3, "top of Yar"),
        y("missile_y", 37, 2, "top of Yar's missile"),
        x("qotile_x", 43, 2, "left edge of the Qotile"),
        y("qotile_y", 42, 3, "top of the Qotile"),
        y("destroyer_y", 46, 0, "top of the destroyer missile"),
    ),
}
"""Cells by ROM. Scores and lives are left out where the signals `score` and `lives` say the same.

Of the published table these are left out too:
- the place or amount was not found where the byte says: asteroids' ship, x and third group of rocks, battle_zone's
  tank size, second tank, missile and compass, bowling's frame and player_y, montezuma_revenge's skull_y and key,
  pong's player_x and enemy_x, private_eye's player_y and dove_y, qbert's columns, riverraid's second fuel byte,
  skiing's objects 0 and 6, space_invaders' missiles_y and enemies_y, tennis's ball_y, video_pinball's paddles,
  yars_revenge's x of both missiles;
- random play did not get to where it could be checked: berzerk's Otto and robots after the fifth, frostbite's bear,
  ms_pacman's fruit, seaquest's first diver and divers on board, pitfall's minutes;
- no check here tells whether they are right: directions, colours, levels, rooms, other clocks, pins and blocks one by
  one, pitfall's rope, ms_pacman's and asteroids' counts of enemies.
"""
