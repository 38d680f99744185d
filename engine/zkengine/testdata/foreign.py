"""Holds locks by kazoo's recipes for the tests of engine/zkengine.

It reads commands from stdin, a line each, and answers with lines:

    acquire KIND PATH ID   granted ID, when it is
    release ID             released ID
"""

import sys
import threading

from kazoo.client import KazooClient

client = KazooClient(hosts=sys.argv[1], timeout=60)
client.start(timeout=40)
speaking = threading.Lock()
held = {}


def say(line):
    with speaking:
        print(line, flush=True)


def hold(kind, path, name, release):
    try:
        if kind == "leader":
            def lead():
                say("granted " + name)
                release.wait()
            client.Election(path, name).run(lead)
            say("released " + name)
            return
        lock = {"mutex": client.Lock, "read": client.ReadLock, "write": client.WriteLock}[kind](path, name)
        lock.acquire()
        say("granted " + name)
        release.wait()
        lock.release()
        say("released " + name)
    except Exception as e:  # the test is told, whatever it was
        say("failed %s %r" % (name, e))


say("ready")
for line in sys.stdin:
    f = line.split()
    if f[0] == "acquire":
        held[f[3]] = threading.Event()
        threading.Thread(target=hold, args=(f[1], f[2], f[3], held[f[3]]), daemon=True).start()
    else:
        held[f[1]].set()
