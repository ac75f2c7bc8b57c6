"""Options of `run` and `create` that are about a container that stays, and the table of `create`."""

from __future__ import annotations

from cloche.cli.table import FLAG, LIST, VALUE, Option

KEEPING, HEALTH, LOGS = "Keeping", "Health", "Logs"

DETACH_KEYS = Option(
    ("--detach-keys",), VALUE, KEEPING, "KEYS", "the keys that leave its terminal, such as ctrl-p,ctrl-q, the default"
)
LEAVE_KEYS = Option(DETACH_KEYS.names, VALUE, "Options", "KEYS", DETACH_KEYS.help)
OPTIONS = (
    Option(
        ("-a", "--attach"),
        LIST,
        KEEPING,
        "STREAM",
        "let only this be that of the command: stdin, stdout, stderr",
        complete="stdin stdout stderr",
    ),
    Option(
        ("--restart",),
        VALUE,
        KEEPING,
        "POLICY",
        "start it again when it ends: no, always, unless-stopped, on-failure[:TIMES]",
        default="no",
        complete="no always unless-stopped on-failure",
    ),
    DETACH_KEYS,
    Option(
        ("--log-driver",),
        VALUE,
        LOGS,
        "DRIVER",
        "where what it writes is kept: json-file, local, journald, syslog, none",
        complete="json-file local journald syslog none",
    ),
    Option(("--log-opt",), LIST, LOGS, "KEY=VALUE", "options of that: max-size=10m, max-file=3, compress=true"),
    Option(("--health-cmd",), VALUE, HEALTH, "COMMAND", "run this in the container to see whether it is well"),
    Option(("--health-interval",), VALUE, HEALTH, "DURATION", "the time between two such looks"),
    Option(("--health-timeout",), VALUE, HEALTH, "DURATION", "how long one may take"),
    Option(("--health-retries",), VALUE, HEALTH, "NUMBER", "how many have to fail in a row"),
    Option(("--health-start-period",), VALUE, HEALTH, "DURATION", "how long failures do not count after its start"),
    Option(("--health-start-interval",), VALUE, HEALTH, "DURATION", "the time between looks in that period"),
    Option(
        ("--health-on-failure",),
        VALUE,
        HEALTH,
        "ACTION",
        "what is done when it is not well any more: none, kill, restart, stop",
        default="none",
        complete="none kill restart stop",
    ),
    Option(("--no-healthcheck",), FLAG, HEALTH, "", "do not look, whatever the image says"),
)
