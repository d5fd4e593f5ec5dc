"""A file from the network, or an error in good time: no mirror is waited for that hangs."""

import threading
import time
import urllib.request

PATIENCE = 30.0  # seconds in which something must come
SLOWEST = 1000  # bytes a second, or another mirror is better
LARGEST = 10**9  # bytes


def fetch(url: str) -> bytes:
    """The bytes at an address.

    A socket's own time limit does not hold for names that are looked up, nor for a server that sends a byte now and
    then. So a thread reads, and is left behind where too little comes; it ends with the process.

    Raises:
        OSError: it cannot be reached, sends no file, or sends too little for ``PATIENCE`` seconds.
    """
    got, failed = bytearray(), []

    def read() -> None:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "diffbench"})
            # Twice as long, so that it is the wait below that ends first and says how little came.
            with urllib.request.urlopen(request, timeout=2 * PATIENCE) as response:
                while (piece := response.read1(1 << 16)) and len(got) < LARGEST:
                    got.extend(piece)
        except Exception as error:  # besides OSError those of a server that speaks no HTTP, or of an odd address
            failed.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    while reader.is_alive():
        before, started = len(got), time.monotonic()
        reader.join(PATIENCE)
        if reader.is_alive() and len(got) - before < SLOWEST * (time.monotonic() - started):
            raise TimeoutError(f"{len(got) - before} bytes in {PATIENCE:g} s")
    if failed:
        said = " ".join(str(getattr(failed[0], "reason", None) or failed[0]).split())  # a server's words, lines and all
        raise OSError(said[:100] or type(failed[0]).__name__)
    return bytes(got)
