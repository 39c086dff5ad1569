#!/usr/bin/env python3
"""An executable model of the revision line (docs/design.md 3 to 6): leaders in succession over S shard logs.

A group is reduced to what Raft guarantees: one log, a committed prefix that survives, and an uncommitted suffix of which
any prefix may survive a change of leader. A deposed leader keeps working in the groups that it still leads until they
are taken, and a proposal that was lost may come back late. Schedules are random. The invariants are checked at every
step and against the final history.

Usage: line.py [runs] [first seed]      with all rules on, every schedule must hold
       line.py [runs] --without RULE    with one rule left out, some schedule must break: it is shown, and the exit is 1
       line.py [runs] --teeth           leaves out each rule in turn; the exit is 1 if one of them is not missed
"""
import random
import sys
from dataclasses import dataclass, field

INF = float("inf")
RULES = {
    "stable": "a write is acknowledged when stable reaches its revision, not when its own group has committed it",
    "floor-first": "a lane stores its floor before it takes a revision",
    "freeze": "a shard evaluates no write between its freeze and its thaw",
    "freeze-floor": "a shard stores its floor when it is frozen and keeps it until its entry of the round is logged",
    "gather": "the cut is computed only when the new leader leads every group",
    "whole": "a cross-shard write is present only if every participant has it",
    "prefix": "the line is cut at the first revision that is not there, whatever lies above it",
    "void": "Open(epoch, cut) voids what earlier epochs logged above the cut",
    "all-open": "the epoch opens only when every group has committed its Open",
    "one-leadership": "losing a group ends the epoch",
    "own-term": "an entry counts only in the leadership that proposed it",
    "stable-only": "checkpoints and truncation cover stable revisions only, and record that stable",
    "answer-waits": "an answer without effect waits until stable covers what it saw",
    "answer-header": "its header is no higher than what it saw or what was stable when it was evaluated",
}
without = None


def rule(name):
    if name not in RULES:
        raise ValueError(name)                         # not an AssertionError: that would count as a rule that is missed
    return without != name


@dataclass(frozen=True)
class Entry:
    epoch: int                   # of the leadership that proposed it
    kind: str                    # "write" | "open"
    revision: int                # write: its revision; open: the cut, the last revision that the epoch inherits
    stable: int                  # the stable known to the proposer
    participants: tuple = ()
    write: int = 0               # identity of the write
    landed: int = 0              # epoch of the leadership in whose term the log took it


@dataclass
class Group:
    log: list = field(default_factory=list)
    base: list = field(default_factory=list)       # the checkpoint: writes whose entries were truncated
    base_opens: list = field(default_factory=list) # its Opens: a checkpoint remembers the epochs it lived through
    base_stable: int = 1
    committed: int = 0                             # length of the committed prefix of log
    leader: int = 0                                # epoch of the leadership that leads it, 0: an interim leader

    def writes(self, upto=None):
        """What a replica's store holds after it has applied the log."""
        found = list(self.base)
        for e in self.log[:upto]:
            if e.kind == "open" and rule("void"):
                found = [w for w in found if w.revision <= e.revision]
            elif e.kind == "write" and (e.landed == e.epoch or not rule("own-term")):
                found.append(e)
        return found

    def opens(self, upto=None):
        return self.base_opens + [e for e in self.log[:upto] if e.kind == "open"]

    def stable(self):
        return max([self.base_stable] + [e.stable for e in self.log[:self.committed]])


def whole_prefix(start, logs):
    """The last revision such that every one up to it, from start on, is in every log it belongs to."""
    logs = [{w.revision: w for w in log} for log in logs]
    if not rule("prefix"):
        return max([start] + [r for log in logs for r in log])
    while True:
        found = [log[start + 1] for log in logs if start + 1 in log]
        if not found or rule("whole") and not all(start + 1 in logs[g] for g in found[0].participants):
            return start
        start += 1


class Leadership:
    """The volatile state of one leader in one epoch: sequencer, lanes, round."""

    def __init__(self, epoch, shards):
        self.epoch, self.state = epoch, "gathering"    # gathering -> opening -> open -> over
        self.next, self.published, self.cut = 0, 0, None
        self.floor = [INF] * shards
        self.pending = [[] for _ in range(shards)]     # revisions logged, not yet committed, per shard
        self.frozen = {}                               # shard -> floor stored at its freeze
        self.round = None
        self.waiting = {}                              # revision -> (write, participants), unacknowledged
        self.answers = []                              # answers without effect: (shard, seen writes, newest seen, header)
        self.scan = None                               # a core halfway through reading the floors
        self.opened = set()

    def refloor(self, g):
        pending = min(self.pending[g]) - 1 if self.pending[g] else INF
        self.floor[g] = min(pending, self.frozen.get(g, INF) if rule("freeze-floor") else INF)

    def scan_step(self, rng):
        """stable = min(next - 1, floors), next first, then the floors one by one in any order."""
        if self.scan is None:
            lanes = list(range(len(self.floor)))
            rng.shuffle(lanes)
            self.scan = [self.next - 1, lanes]
        elif self.scan[1]:
            self.scan[0] = min(self.scan[0], self.floor[self.scan[1].pop()])
        else:
            self.published = max(self.published, self.scan[0])
            self.scan = None


class World:
    def __init__(self, rng, shards):
        self.rng, self.S = rng, shards
        self.groups = [Group() for _ in range(shards)]
        self.leaderships, self.late = [], []
        self.writes, self.highest_acked = 0, 0
        self.invoked, self.acked, self.saw = {}, {}, {}     # write -> highest acked when invoked; -> revision; -> writes it saw
        self.promised, self.answered = [], []               # (stable, writes shown); answers without effect
        self.applied, self.follower_stable = [0] * shards, 1
        self.begin_epoch()

    # ---- leadership and recovery -----------------------------------------------------------------------------------------
    def begin_epoch(self):
        """Committed in the control group: nobody else has this number."""
        self.leaderships.append(Leadership(len(self.leaderships) + 1, self.S))

    def lose_suffix(self, g):
        group = self.groups[g]
        keep = self.rng.randint(group.committed, len(group.log))
        self.late += [(g, e) for e in group.log[keep:] if e.kind == "write"]
        del group.log[keep:]

    def take(self, leadership, g):
        """The leadership wins group g; Raft's election has it hold every committed entry, and some of the others."""
        if self.groups[g].leader != leadership.epoch:
            self.lose_suffix(g)
            self.groups[g].leader = leadership.epoch

    def flap(self, g):
        """Group g changes hands for a moment."""
        group, leadership = self.groups[g], self.leaderships[-1]
        self.lose_suffix(g)
        group.committed = len(group.log)                    # the interim leader commits what it found
        if rule("one-leadership"):
            group.leader = 0
            leadership.state = "over"
            self.begin_epoch()
        else:
            leadership.pending[g] = []
            leadership.refloor(g)

    def find_cut(self):
        return whole_prefix(max(group.stable() for group in self.groups), [group.writes() for group in self.groups])

    def propose_open(self, leadership, g):
        if g not in leadership.opened:
            self.groups[g].log.append(Entry(leadership.epoch, "open", leadership.cut, self.groups[g].stable(), landed=leadership.epoch))
            leadership.opened.add(g)

    def open(self, leadership):
        done = [any(e.kind == "open" and e.epoch == leadership.epoch for e in group.log[:group.committed]) for group in self.groups]
        if all(done) or not rule("all-open"):
            leadership.next, leadership.published, leadership.state = leadership.cut + 1, leadership.cut, "open"

    def truncate(self, g):
        """A checkpoint, then the log before it goes."""
        group = self.groups[g]
        known, n = group.stable(), 0
        while n < group.committed and (group.log[n].revision <= known or not rule("stable-only")):
            n += 1
        group.base, group.base_opens = group.writes(n), group.opens(n)
        group.base_stable = known if rule("stable-only") else max([known] + [w.revision for w in group.base])
        group.log, group.committed = group.log[n:], group.committed - n
        self.applied[g] = max(0, self.applied[g] - n)

    # ---- the leader's work -------------------------------------------------------------------------------------------------
    def append(self, leadership, g, revision, write, participants):
        entry = Entry(leadership.epoch, "write", revision, leadership.published, participants, write, self.groups[g].leader)
        self.groups[g].log.append(entry)
        leadership.pending[g].append(revision)

    def invoke(self):
        self.writes += 1
        self.invoked[self.writes], self.saw[self.writes] = self.highest_acked, set()
        return self.writes

    def put(self, leadership, g):
        write = self.invoke()
        self.saw[write] = {w.write for w in self.groups[g].writes()}
        revision, leadership.next = leadership.next, leadership.next + 1
        if rule("floor-first"):
            leadership.floor[g] = min(leadership.floor[g], revision - 1)
        else:                                               # another core reads the floors in between
            for _ in range(self.S + 3):
                leadership.scan_step(self.rng)
        self.append(leadership, g, revision, write, (g,))
        leadership.refloor(g)
        leadership.waiting[revision] = (write, (g,))

    def answer(self, leadership, g):
        """A failed compare, a delete of nothing, a refusal: no revision, but it saw pending writes."""
        seen = self.groups[g].writes()
        newest = max([0] + [w.revision for w in seen])
        header = max(newest, leadership.published) if rule("answer-waits") else leadership.published
        leadership.answers.append((g, {w.write for w in seen}, newest, header))

    def step_round(self, leadership):
        """A cross-shard write: freeze one by one, take the revision, log one by one."""
        if leadership.round is None:
            shards = self.rng.sample(range(self.S), self.rng.randint(2, self.S))
            leadership.round = {"shards": tuple(shards), "to_freeze": list(shards), "to_log": set(shards), "saw": set(), "revision": 0}
            return
        r = leadership.round
        if r["to_freeze"]:
            g = r["to_freeze"].pop()
            leadership.frozen[g] = leadership.next - 1
            leadership.refloor(g)
            r["saw"] |= {w.write for w in self.groups[g].writes()}
        elif not r["revision"]:
            r["write"] = self.invoke()
            self.saw[r["write"]] = r["saw"]
            r["revision"], leadership.next = leadership.next, leadership.next + 1
            leadership.waiting[r["revision"]] = (r["write"], r["shards"])
        else:
            g = self.rng.choice(sorted(r["to_log"]))
            if self.groups[g].leader != leadership.epoch:
                return
            self.append(leadership, g, r["revision"], r["write"], r["shards"])
            r["to_log"].discard(g)
            del leadership.frozen[g]
            leadership.refloor(g)
            if not r["to_log"]:
                leadership.round = None

    def commit(self, g, upto):
        group = self.groups[g]
        leadership = self.leaderships[group.leader - 1]
        for e in group.log[group.committed:upto]:
            if e.kind == "write" and e.landed == e.epoch and e.revision in leadership.pending[g]:
                leadership.pending[g].remove(e.revision)
        group.committed = max(group.committed, upto)
        leadership.refloor(g)

    def acknowledge(self, leadership):
        stable = leadership.published
        for revision, (write, shards) in sorted(leadership.waiting.items()):
            if revision <= stable if rule("stable") else not any(revision in leadership.pending[g] for g in shards):
                del leadership.waiting[revision]
                self.acked[write] = revision
                self.highest_acked = max(self.highest_acked, revision)
        for answer in [a for a in leadership.answers if a[3] <= stable]:
            leadership.answers.remove(answer)
            self.answered.append(answer if rule("answer-header") else answer[:3] + (stable,))
            self.highest_acked = max(self.highest_acked, self.answered[-1][3])
        self.promised.append((stable, self.visible(stable)))

    def visible(self, upto):
        return frozenset((g, w.revision, w.write) for g, group in enumerate(self.groups)
                         for w in group.writes(group.committed) if w.revision <= upto)

    def follow(self):
        """Another member: it has applied some committed prefix of each log, and shows the whole prefix of that."""
        g = self.rng.randrange(self.S)
        self.applied[g] = self.rng.randint(self.applied[g], self.groups[g].committed)
        logs = [group.writes(n) for group, n in zip(self.groups, self.applied)]
        opens = [e for group, n in zip(self.groups, self.applied) for e in group.opens(n)]
        logs = [[w for w in log if not any(o.epoch > w.epoch and w.revision > o.revision for o in opens)] for log in logs]
        stable = whole_prefix(1, logs)                      # not a stable recorded in one log: the others may lag behind it
        assert stable >= self.follower_stable, "R4: a follower's line went back"
        self.follower_stable = stable
        self.promised.append((stable, frozenset((g, w.revision, w.write) for g, log in enumerate(logs) for w in log if w.revision <= stable)))

    # ---- one random step -------------------------------------------------------------------------------------------------
    def step(self):
        rng, g = self.rng, self.rng.randrange(self.S)
        leadership = rng.choice(self.leaderships[-3:])                # deposed leaders may still be acting
        newest, led, dice = leadership is self.leaderships[-1], self.groups[g].leader == leadership.epoch, rng.random()
        if rng.random() < 0.1 and (without is None or without in ("void", "all-open")):
            self.follow()
        if self.late and rng.random() < 0.02:
            shard, e = self.late.pop(rng.randrange(len(self.late)))
            self.groups[shard].log.append(Entry(e.epoch, e.kind, e.revision, e.stable, e.participants, e.write, -1))
        if leadership.state == "open" and rng.random() < 0.6:
            leadership.scan_step(rng)
        if led and dice < 0.25:
            self.commit(g, rng.randint(self.groups[g].committed, len(self.groups[g].log)))
        elif newest and leadership.state == "gathering":
            self.take(leadership, g)
            if all(x.leader == leadership.epoch for x in self.groups) or (not rule("gather") and rng.random() < 0.3):
                leadership.cut, leadership.state = self.find_cut(), "opening"
        elif newest and leadership.state == "opening":
            self.take(leadership, g)
            self.propose_open(leadership, g)
            self.open(leadership)
        elif leadership.state == "open":
            if dice < 0.55 and led and (g not in leadership.frozen or not rule("freeze")):
                self.put(leadership, g)
            elif dice < 0.62 and led and g not in leadership.frozen:
                self.answer(leadership, g)
            elif dice < 0.80:
                self.step_round(leadership)
            elif dice < 0.95:
                self.acknowledge(leadership)
            elif dice < 0.97:
                self.truncate(g)
        if dice > 0.997:
            self.begin_epoch()
        elif dice > 0.992 and newest and led and leadership.state != "gathering":
            self.flap(g)
        self.check()

    # ---- invariants ------------------------------------------------------------------------------------------------------
    def check(self):
        owner, newest = {}, self.leaderships[-1]
        for group in self.groups:
            last = 0
            for w in group.writes():
                assert w.revision > last, "R2: revisions of one log must increase"
                last = w.revision
        if newest.state == "open":
            for group in self.groups:
                for w in group.writes(group.committed):
                    assert owner.setdefault(w.revision, w.write) == w.write, "R1: a revision used twice"
            assert newest.published >= self.highest_acked, "a linearizable read would miss an acknowledged write"

    def finish(self):
        self.begin_epoch()
        newest = self.leaderships[-1]
        for g in range(self.S):
            self.take(newest, g)
        newest.cut = self.find_cut()
        for g in range(self.S):
            self.propose_open(newest, g)
            self.commit(g, len(self.groups[g].log))
        self.open(newest)
        self.check()
        final, where = self.visible(INF), {}
        for g, revision, write in final:
            where.setdefault(write, (revision, set()))[1].add(g)
        for group in self.groups:
            for w in group.writes():
                assert set(w.participants) == where[w.write][1], "R6: half a cross-shard write"
        assert sorted(r for r, _ in where.values()) == list(range(2, newest.next)), "R5: the line has a hole"
        for write, (revision, _) in where.items():
            assert revision > self.invoked[write], "real-time order: a later write got a lower revision"
            assert all(s in where and where[s][0] < revision for s in self.saw[write]), "R6: a write survived one that it saw"
        for write, revision in self.acked.items():
            assert write in where and where[write][0] == revision, "an acknowledged write is lost or moved"
        for stable, seen in self.promised:
            assert seen == frozenset(x for x in final if x[1] <= stable), "R3/R4: a shown prefix changed"
            assert newest.published >= stable, "R4: the line went back"
        for g, seen, newest_seen, header in self.answered:
            assert seen <= set(where), "an answer saw a write that never was"
            assert not any(x[0] == g and newest_seen < x[1] <= header for x in final), "an answer's header covers a write it did not see"


def run(seed):
    rng = random.Random(seed)
    world = World(rng, rng.randint(2, 4))
    for _ in range(rng.randint(50, 600)):
        world.step()
    world.finish()
    return len(world.acked), len(world.answered)


def teeth(runs):
    """Leaves out each rule in turn. Returns how many of them no schedule missed."""
    global without
    missed = 0
    for without in RULES:
        for seed in range(1, runs + 1):
            try:
                run(seed)
            except (AssertionError, KeyError) as broken:
                print(f"without {without:14} seed {seed:4}: {broken}")
                break
        else:
            missed += 1
            print(f"without {without:14} NOT CAUGHT in {runs} schedules")
    print(f"{len(RULES)} rules, {missed} of them not caught when left out")
    return missed


def main():
    global without
    args = [a for a in sys.argv[1:] if not a.startswith("--")]
    if "--without" in sys.argv:
        without = args.pop()
    runs, first = int(args[0]) if args else 2000, int(args[1]) if len(args) > 1 else 1
    if "--teeth" in sys.argv:
        sys.exit(1 if teeth(runs) else 0)
    acked = answered = 0
    for seed in range(first, first + runs):
        try:
            more, told = run(seed)
        except (AssertionError, KeyError) as broken:
            sys.exit(f"seed {seed}: {broken}")
        acked, answered = acked + more, answered + told
    print(f"{runs} schedules hold, {acked} acknowledged writes, {answered} answers without effect")


if __name__ == "__main__":
    main()
