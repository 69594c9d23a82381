"""What the page refuses, each with the status of the answer."""

from manyheads import ManyheadsError


class Refused(ManyheadsError):
    """A request that makes no sense."""

    status = 400


class Outside(Refused):
    """A path that leads out of the folder."""

    status = 403


class Gone(Refused):
    """What was asked for is not there, or not any more."""

    status = 404


class Busy(Refused):
    """Something else is at work there."""

    status = 409
