"""Real work of the Python client (etcd3 0.12.0) against one endpoint; exits 1 at the first wrong
answer."""

import os
import sys
import threading

import etcd3
import grpc

import lasting

WORKERS = 4
EACH = 30


def connect():
    host, port = sys.argv[1].removeprefix("http://").rsplit(":", 1)
    return etcd3.client(host=host, port=int(port), timeout=20)


def on_all(work):
    """Runs work(client, number) on all workers at once and raises what one of them raised."""
    failures = []

    def one(number):
        try:
            work(connect(), number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def put_and_get(client):
    def work(mine, number):
        for i in range(EACH):
            key, value = f"python/put/{number}/{i:03}", f"value {number} {i}"
            put = mine.put(key, value, prev_kv=True)
            assert not put.prev_kv.key, f"{key} existed: {put.prev_kv}"
            got, meta = mine.get(key)
            assert got == value.encode(), f"{key}: {got}"
            assert meta.mod_revision == put.header.revision and meta.version == 1, meta

    on_all(work)
    assert client.get("python/missing") == (None, None)
    binary = bytes(range(256))
    client.put(b"python/bytes/" + binary, binary)
    assert client.get(b"python/bytes/" + binary)[0] == binary


def prefixes(client):
    pairs = list(client.get_prefix("python/put/"))
    keys = [meta.key for _, meta in pairs]
    assert len(keys) == WORKERS * EACH and keys == sorted(keys), len(keys)
    down = list(client.get_prefix("python/put/", sort_order="descend", keys_only=True))
    assert [meta.key for _, meta in down] == keys[::-1]
    assert all(value == b"" for value, _ in down)
    some = list(client.get_range("python/put/0/005", "python/put/0/010"))
    assert [meta.key for _, meta in some] == keys[5:10], some


def transactions(client):
    assert client.put_if_not_exists("python/once", "1")
    assert not client.put_if_not_exists("python/once", "2")
    assert client.replace("python/once", "1", "3")
    assert not client.replace("python/once", "1", "4")

    def work(mine, _):
        done = 0
        while done < 10:
            value, _ = mine.get("python/counter")
            told, responses = mine.transaction(
                compare=[mine.transactions.value("python/counter") == value]
                if value
                else [mine.transactions.version("python/counter") == 0],
                success=[mine.transactions.put("python/counter", str(int(value or 0) + 1))],
                failure=[mine.transactions.get("python/counter")],
            )
            done += told
            assert told or responses[0][0][0] is not None

    on_all(work)
    value, meta = client.get("python/counter")
    assert int(value) == WORKERS * 10 == meta.version, (value, meta.version)


def nested(client):
    t = client.transactions
    told, responses = client.transaction(
        compare=[t.create("python/nested") == 0],
        success=[
            t.put("python/nested", "outer"),
            t.txn(
                compare=[t.version("python/once") > 1],
                success=[t.put("python/nested2", "inner"), t.get("python/nested")],
                failure=[],
            ),
        ],
        failure=[],
    )
    assert told, responses
    assert client.get("python/nested2")[0] == b"inner"
    first, second = client.get("python/nested")[1], client.get("python/nested2")[1]
    assert first.mod_revision == second.mod_revision


def deletes(client):
    assert client.delete("python/put/1/000")
    assert not client.delete("python/put/1/000")
    gone = client.delete_prefix("python/put/1/")
    assert gone.deleted == EACH - 1, gone.deleted
    assert list(client.get_prefix("python/put/1/")) == []


def compaction(client):
    client.put("python/compact", "old")
    now = client.put("python/compact", "new").header.revision
    client.compact(now, physical=True)
    try:
        client.compact(now)
    except grpc.RpcError as refused:
        assert refused.code() == grpc.StatusCode.OUT_OF_RANGE, refused
        assert refused.details() == "etcdserver: mvcc: required revision has been compacted"
    else:
        raise AssertionError("a compaction below the last one was accepted")
    assert client.get("python/compact")[0] == b"new"


def maintenance(client):
    status = client.status()
    assert status.leader is not None and status.db_size > 0 and status.raft_term > 0, status
    members = list(client.members)
    assert len(members) == 1 and members[0].id == status.leader.id, members
    assert client.hash() == client.hash()
    assert list(client.list_alarms()) == []


STEPS = {
    "kv": (put_and_get, prefixes, transactions, nested, deletes, compaction, maintenance),
    "watch": (lasting.watches, lasting.compacted_watch),
    "lease": (lasting.leases,),
    "lock": (lasting.locks, lasting.lock_service),
    "election": (lasting.election_service,),
}


def main():
    client = connect()
    client.delete_prefix("python/")
    for steps in STEPS.values():
        for work in steps:
            work(client)
            print(f"python: {work.__name__.replace('_', ' ')}: ok", flush=True)


main()
