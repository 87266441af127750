"""What is raised when a Redis server does not answer."""


class RedisUnavailableError(Exception):
    """The server cannot be reached, does not answer in time, or refuses commands. The message has no password."""
