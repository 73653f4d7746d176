"""How a driver ends otherwise than by completing its study."""


class Fatal(RuntimeError):
    """Nothing more can be written or run; the message is one line."""


class Unasked(RuntimeError):
    """The study is dear, and nobody is there to ask whether it may start; the message is one line."""


class Paused(RuntimeError):
    """The study is to go on another time: a limit is reached, or somebody asked for it; the message is one line."""
