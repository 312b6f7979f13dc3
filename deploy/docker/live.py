"""The container's health check: exit code 0 where /livez answers 200. Law: standard library only, bounded, no proxy."""

import http.client
import os
import sys

TIMEOUT_SECONDS = 3.0


def main() -> int:
    """0 alive, 1 not, with a line that says why. The port is ARMSTREAM__METRICS__PORT, else the default."""
    port = int(os.environ.get("ARMSTREAM__METRICS__PORT", "9464"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return _say(f"port {port}: {error!r}", 1)
    return _say(f"{answer.status}: {said}", 0 if answer.status == 200 else 1)


def _say(line: str, code: int) -> int:
    sys.stdout.write(f"{line}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
