"""Names of things as names of files."""

import re


def file_name(name: str) -> str:
    """A name as one part of a path, different for different names: `dmc__walker-walk` for `dmc/walker-walk`.

    A slash is two underscores; whatever could be mistaken for one, starts with a dot or is refused by some file system
    is written as its percent-encoded code.
    """
    name = re.sub(r'[%\\:*?"<>|\x00-\x1f\x7f]|^\.|_(?=[_/])|(?<=[_/])_', lambda m: f"%{ord(m[0]):02X}", name)
    return name.replace("/", "__")
