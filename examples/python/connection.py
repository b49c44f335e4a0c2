"""How the examples reach NATS. The environment says where, and, for a server that asks who comes, by what:

NATS_URL            servers; without it nats://127.0.0.1:4222
NATS_PASSWORD_FILE  file with the user in its first line and the password in its second, as `spatialflow nats-config` makes it
NATS_USER           the user, when the file has the password alone
NATS_INBOX_PREFIX   where this user's answers may come: _INBOX_ and the name of its role, as _INBOX_yard
NATS_CA             certificates (PEM) of the authorities that may have signed the server's; the connection is TLS then
"""
import os
import pathlib
import ssl

import nats


def login():
    """User and password as they are now."""
    lines = pathlib.Path(os.environ["NATS_PASSWORD_FILE"]).read_text().splitlines()
    return [os.environ["NATS_USER"], *lines] if "NATS_USER" in os.environ else lines


def connect(**options):
    """nats.connect, as the environment says. The password is read for every connection, so that a new one needs no restart."""
    if "NATS_PASSWORD_FILE" in os.environ:
        options |= {"user": lambda: login()[0], "password": lambda: login()[1]}
    if "NATS_INBOX_PREFIX" in os.environ:
        options["inbox_prefix"] = os.environ["NATS_INBOX_PREFIX"]
    if "NATS_CA" in os.environ:
        options["tls"] = ssl.create_default_context(cafile=os.environ["NATS_CA"])
    return nats.connect(os.getenv("NATS_URL", "nats://127.0.0.1:4222").split(","), **options)
