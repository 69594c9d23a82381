"""How computations run. Eager execution is the definition; every other way gives the same numbers, faster."""
