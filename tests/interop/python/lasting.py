"""Watches, leases, locks and elections of the Python client, and of the server over raw calls."""

import queue

import etcd3
import grpc

from services import Service

WAIT = 10


class Watched:
    """What one watcher of the client is told."""

    def __init__(self, client, key, **options):
        self.arrived = queue.Queue()
        self.id = client.add_watch_callback(key, self.arrived.put, **options)

    def response(self):
        response = self.arrived.get(timeout=WAIT)
        if isinstance(response, Exception):
            raise response
        return response

    def events(self, count):
        told, last = [], 0
        while len(told) < count:
            response = self.response()
            for event in response.events:
                assert last <= event.mod_revision <= response.header.revision, response
                last = event.mod_revision
                kind = "put" if isinstance(event, etcd3.events.PutEvent) else "delete"
                before = f"<{event.prev_value.decode(errors='replace')}" if event.prev_value else ""
                told.append(f"{kind} {event.key.decode().removeprefix('python/')}"
                            f"={event.value.decode(errors='replace')}{before}")
        return told


def watches(client):
    first, end = client.put("python/watch/a", "1").header.revision, "python/watch0"
    key, prefix = "python/watch/a", "python/watch/"
    one = Watched(client, key)
    every = Watched(client, prefix, range_end=end, start_revision=first, prev_kv=True)
    client.put(key, "2")
    client.transaction(
        compare=[],
        success=[client.transactions.put(prefix + "b", "3"), client.transactions.delete(key)],
        failure=[],
    )
    client.delete(prefix + "b")
    assert one.events(2) == ["put watch/a=2", "delete watch/a="]
    assert every.events(5) == ["put watch/a=1", "put watch/a=2<1", "put watch/b=3",
                               "delete watch/a=<2", "delete watch/b=<3"]
    client.cancel_watch(one.id)
    client.put(key, "4")
    assert every.events(1) == ["put watch/a=4"]
    assert one.arrived.empty()


def compacted_watch(client):
    old = client.put("python/compacted", "1").header.revision
    now = client.put("python/compacted", "2").header.revision
    client.compact(now)
    lost = Watched(client, "python/compacted", start_revision=old)
    try:
        lost.response()
    except etcd3.exceptions.RevisionCompactedError as refused:
        assert refused.compacted_revision == now, refused.compacted_revision
    else:
        raise AssertionError("a watch below the compaction went on")
    kept = Watched(client, "python/compacted", start_revision=now)
    assert kept.events(1) == ["put compacted=2"]


def leases(client):
    lease = client.lease(60)
    assert lease.id > 0 and lease.ttl == 60, lease
    for name in ("b", "a"):
        client.put(f"python/lease/{name}", "v", lease=lease)
    assert sorted(lease.keys) == [b"python/lease/a", b"python/lease/b"], lease.keys
    assert lease.granted_ttl == 60 and 30 < lease.remaining_ttl <= 60
    assert [answer.TTL for answer in lease.refresh()] == [60]
    assert client.lease(30, lease_id=4711).id == 4711
    try:
        client.lease(30, lease_id=4711)
    except etcd3.exceptions.PreconditionFailedError:
        pass
    except grpc.RpcError as refused:
        assert refused.code() == grpc.StatusCode.FAILED_PRECONDITION, refused
    else:
        raise AssertionError("a lease was granted twice")
    client.revoke_lease(4711)
    watched = Watched(client, "python/lease/", range_end="python/lease0")
    lease.revoke()
    assert watched.events(2) == ["delete lease/a=", "delete lease/b="]
    assert lease.remaining_ttl == -1
    assert [answer.TTL for answer in lease.refresh()] == [0]
    short = client.lease(2)
    client.put("python/lease/short", "v", lease=short)
    assert watched.events(2) == ["put lease/short=v", "delete lease/short="]


def locks(client):
    """The lock of the client: one key in a txn, on a lease. Not contended: etcd3 0.12.0 cannot wait
    for one with a tenacity that runs on the Pythons of today."""
    first, second = client.lock("python", ttl=30), client.lock("python", ttl=30)
    assert first.acquire() and first.is_acquired() and not second.is_acquired()
    assert not second.release() and first.is_acquired()
    assert [answer.TTL for answer in first.refresh()] == [30]
    watched = Watched(client, first.key)
    assert first.release() and not first.is_acquired()
    assert len(watched.events(1)) == 1
    with second:
        assert second.is_acquired()
        second.lease.revoke()
        assert not second.is_acquired()


def refused(code, message, call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code and error.details() == message, error
    else:
        raise AssertionError(f"not refused: {message}")


def lock_service(client):
    service = Service(client.channel, "v3lockpb", "Lock")
    one, two = client.lease(60).id, client.lease(60).id
    held = service.Lock(name=b"python/lock", lease=one)
    assert held.key == b"python/lock/%x" % one, held
    assert service.Lock(name=b"python/lock", lease=one).key == held.key
    watched = Watched(client, "python/lock/", range_end="python/lock0")
    waiting = service.Lock(name=b"python/lock", lease=two, future=True)
    assert watched.events(1) == [f"put lock/{two:x}="]
    assert not waiting.done()
    service.Unlock(key=held.key)
    assert waiting.result().key == b"python/lock/%x" % two
    # A deadline gives the place up.
    code = grpc.StatusCode.DEADLINE_EXCEEDED
    try:
        service.Lock(name=b"python/lock", lease=one, timeout=0.3)
    except grpc.RpcError as late:
        assert late.code() == code, late
    else:
        raise AssertionError("two hold the lock")
    assert watched.events(3) == [f"delete lock/{one:x}=", f"put lock/{one:x}=",
                                 f"delete lock/{one:x}="]
    refused(grpc.StatusCode.UNKNOWN, "etcdserver: requested lease not found",
            lambda: service.Lock(name=b"python/lock", lease=4711))


def election_service(client):
    service = Service(client.channel, "v3electionpb", "Election", streams=["Observe"])
    name, unknown = b"python/election", grpc.StatusCode.UNKNOWN
    refused(unknown, "election: no leader", lambda: service.Leader(name=name))
    observed = service.Observe(name=name)
    one, two = client.lease(60).id, client.lease(60).id
    first = service.Campaign(name=name, lease=one, value=b"one").leader
    assert (first.name, first.key, first.lease) == (name, b"%s/%x" % (name, one), one), first
    assert next(observed).kv.value == b"one"
    waiting = service.Campaign(name=name, lease=two, value=b"two", future=True)
    service.Proclaim(leader=first, value=b"still one")
    assert next(observed).kv.value == b"still one"
    assert service.Leader(name=name).kv.create_revision == first.rev
    assert not waiting.done()
    client.revoke_lease(one)
    assert waiting.result().leader.lease == two
    assert next(observed).kv.value == b"two"
    refused(unknown, "election: not leader", lambda: service.Proclaim(leader=first, value=b"x"))
    service.Resign(leader=first)
    assert service.Leader(name=name).kv.value == b"two"
    refused(unknown, '"leader" field must be provided', lambda: service.Resign())
    observed.cancel()
