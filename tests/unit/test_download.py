"""A download ends in good time with whole files or one line, whatever the mirrors do."""

import gzip
import hashlib
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from diffbench.data.sources import idx
from diffbench.errors import UserError
from diffbench.runtime import download

CONTENT = {name: gzip.compress(name.encode() * 50, mtime=0) for name in idx.FILES}
HEAD = "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n"


def silent(connection, name):
    """Accepts, reads the request and says nothing."""
    time.sleep(60)


def trickling(connection, name):
    """Sends a byte now and then, so that no limit of the socket's is ever met."""
    connection.sendall(HEAD.format(10**6).encode())
    while True:
        connection.sendall(b"x")
        time.sleep(0.1)


def slow_head(connection, name):
    """As that, but before the file begins."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: 1\r\n")
        time.sleep(0.1)


def half(connection, name):
    """Sends half of the file and stops, as behind a broken line."""
    connection.sendall(HEAD.format(len(CONTENT[name])).encode() + CONTENT[name][: len(CONTENT[name]) // 2])


def no_http(connection, name):
    connection.sendall(b"220 welcome\r\n")


def sign_in(connection, name):
    """The page of a network that wants one to sign in."""
    connection.sendall(HEAD.format(9).encode() + b"<sign in>")


def missing(connection, name):
    connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


def good(connection, name):
    connection.sendall(HEAD.format(len(CONTENT[name])).encode() + CONTENT[name])


@pytest.fixture
def mirror(monkeypatch):
    """Starts servers on this machine, by what they do with a request; gives their addresses."""
    monkeypatch.setattr(download, "PATIENCE", 0.5)
    listening = []

    def start(behaviour):
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)

        def answer(connection):
            try:
                with connection:
                    behaviour(connection, Path(connection.recv(4096).decode().split()[1]).name)
            except OSError:  # the client has gone
                pass

        def serve():
            try:
                while True:
                    threading.Thread(target=answer, args=server.accept()[:1], daemon=True).start()
            except OSError:  # the test is over
                pass

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/"

    yield start
    for server in listening:
        server.close()


def published(*mirrors):
    resources = [(name, hashlib.md5(content).hexdigest()) for name, content in CONTENT.items()]
    return idx.Files("MNIST", Path("data"), "MNIST_DIR", lambda: SimpleNamespace(mirrors=mirrors, resources=resources))


BAD = {
    silent: "0 bytes in 0.5 s",
    trickling: "bytes in 0.5 s",
    slow_head: "0 bytes in 0.5 s",
    half: "sends another file",
    no_http: "220 welcome",
    sign_in: "sends another file",
    missing: "Not Found",
}


@pytest.mark.parametrize("bad", BAD, ids=lambda behaviour: behaviour.__name__)
def test_a_mirror_that_gives_no_file_is_passed_over_and_named(mirror, tmp_path, monkeypatch, bad):
    monkeypatch.chdir(tmp_path)
    broken, started = mirror(bad), time.monotonic()
    with pytest.raises(UserError) as error:
        published(broken).download()
    said = str(error.value)
    assert time.monotonic() - started < 10 and "\n" not in said
    assert said.startswith(f"data/{idx.FILES[0]}: no mirror of MNIST gives it ({broken} ") and BAD[bad] in said
    assert "connect to a network" in said and "MNIST_DIR" in said
    assert not list(tmp_path.rglob("*.gz")), "no half file that would be taken for the whole one"
    asked = []
    published(broken, mirror(lambda connection, name: (asked.append(name), good(connection, name)))).download()
    assert {name: Path("data", name).read_bytes() for name in idx.FILES} == CONTENT
    assert time.monotonic() - started < 15 and len(asked) == 4


def test_after_a_mirror_that_hangs_the_good_one_is_asked_first(mirror, tmp_path, monkeypatch):
    """Or each of four files would wait for the first."""
    monkeypatch.chdir(tmp_path)
    asked = []
    published(mirror(lambda connection, name: (asked.append(name), silent(connection, name))), mirror(good)).download()
    assert len(asked) == 1


def test_a_folder_that_cannot_be_written_is_not_the_networks_fault(mirror, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data").write_text("a file in its place")
    with pytest.raises(UserError, match=r"^data/train-images-idx3-ubyte.gz: cannot be written"):
        published(mirror(good)).download()
