"""redis-py's Lock, driven by lines: `try NAME` answers 1 or 0, `release NAME` 1."""

import sys

import redis

client = redis.Redis(host=sys.argv[1], port=int(sys.argv[2]))
held = {}
for line in sys.stdin:
    what, name = line.split()
    try:
        if what == "try":
            lock = client.lock(name, timeout=60)
            got = lock.acquire(blocking=False)
            if got:
                held[name] = lock
            print(int(got), flush=True)
        else:
            held.pop(name).release()
            print(1, flush=True)
    except Exception as e:
        print(type(e).__name__, e, flush=True)
