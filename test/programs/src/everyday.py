"""everyday runs what Python scripts commonly use: threading, subprocess,
sqlite3 in /tmp, sockets, signal. It ends with "everyday: ok"."""

import os
import queue
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time


def threads():
    """Eight workers take 200 numbers from one queue and square them."""
    todo, done, lock = queue.Queue(), [], threading.Lock()

    def work():
        while (n := todo.get()) is not None:
            with lock:
                done.append(n * n)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for w in workers:
        w.start()
    for n in range(200):
        todo.put(n)
    for _ in workers:
        todo.put(None)
    for w in workers:
        w.join()
    assert sorted(done) == [n * n for n in range(200)]


def processes():
    """Children: output, input, status, time limit."""
    code = "import sys; print(sys.stdin.read().upper(), end=''); sys.exit(5)"
    p = subprocess.run([sys.executable, "-S", "-c", code], input="kiln\n",
                       capture_output=True, text=True)
    assert (p.stdout, p.returncode) == ("KILN\n", 5), p
    try:
        subprocess.run([sys.executable, "-S", "-c", "import time; time.sleep(60)"], timeout=0.5)
        raise AssertionError("the time limit did not hold")
    except subprocess.TimeoutExpired:
        pass
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(w, b"child")
        os._exit(3)
    assert os.read(r, 10) == b"child"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3


def database():
    """A transaction that is kept, one that is rolled back, on disk."""
    with tempfile.TemporaryDirectory(dir="/tmp") as d:
        path = os.path.join(d, "test.db")
        db = sqlite3.connect(path)
        db.execute("create table t (n integer primary key, s text)")
        with db:
            db.executemany("insert into t values (?, ?)", ((n, f"row {n}") for n in range(500)))
        try:
            with db:
                db.execute("delete from t")
                raise KeyError
        except KeyError:
            pass
        db.close()
        again = sqlite3.connect(path)
        assert again.execute("select count(*), sum(n) from t").fetchone() == (500, 124750)
        assert again.execute("pragma integrity_check").fetchone() == ("ok",)
        again.execute("pragma journal_mode=wal")
        with again:
            again.execute("update t set s = 'x' where n < 10")
        again.close()


def sockets():
    """An echo server in a thread, ten clients."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        for _ in range(10):
            conn, _ = server.accept()
            with conn:
                while data := conn.recv(4096):
                    conn.sendall(data[::-1])

    t = threading.Thread(target=serve)
    t.start()
    for n in range(10):
        with socket.create_connection(server.getsockname()) as c:
            c.sendall(b"%03d" % n)
            assert c.recv(10) == (b"%03d" % n)[::-1]
    t.join()
    assert socket.gethostbyname("localhost") == "127.0.0.1"


def signals():
    """A handler, an alarm that ends a sleep by an exception, a mask."""
    got = []
    signal.signal(signal.SIGUSR1, lambda s, f: got.append(s))
    os.kill(os.getpid(), signal.SIGUSR1)
    assert got == [signal.SIGUSR1]

    def ring(s, f):
        raise TimeoutError

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    start = time.monotonic()
    try:
        time.sleep(30)
        raise AssertionError("the alarm did not ring")
    except TimeoutError:
        assert time.monotonic() - start < 20
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    os.kill(os.getpid(), signal.SIGTERM)
    assert signal.sigwait([signal.SIGTERM]) == signal.SIGTERM


for step in (threads, processes, database, sockets, signals):
    step()
    print("everyday:", step.__name__, flush=True)
print("everyday: ok")
