#!/usr/bin/env python3
"""Several members around line.py: a follower (its store, checkpoints, restarts, and the leader's line), answers that
outlive their epoch, and what an Open may record. The rules are those of docs/cluster.md.

Usage: members.py [runs]             with all rules on, under both ways in which an Open may be stamped, every schedule
                                     must hold
       members.py [runs] --teeth     also leaves out each rule in turn: some schedule must break under at least one of the
                                     two ways; the exit is 1 if none does
"""
import sys
import line
from line import Entry, World, INF

RULES = {
    "vector-after": "the leader reads its stable first, then the committed indexes that it sends with it",
    "index-first": "a group's committed index is published before its lane's floor rises",
    "all-groups": "a member's stable after a restart is the least, not the highest, that its groups know",
    "note-vector": "a noted stable counts only once every group has applied the indexes noted with it",
    "as-of-index": "a checkpoint's newest Open is that of its index (or: Open makes the cut known)",
    "gather-committed": "the cut is computed when everything gathered is committed in its group",
    "next-cut": "an answer of an ended epoch is released only below every cut since",
    "epoch-tag": "an answer of an ended epoch waits until its member has heard of the cut",
}
left = None
OPEN_KNOWS_CUT = True      # Open is stamped with stable = cut


def rule(name):
    if name not in RULES:
        raise ValueError(name)                         # not an AssertionError: that would count as a rule that is missed
    return left != name


class Member:
    def __init__(self, S):
        self.S = S
        self.g = [dict(applied=0, store=[], opened=None, known=1, ckpt=None, seen=[]) for _ in range(S)]
        self.stable, self.note = 1, (1, None)

    def apply(self, g, e):
        s = self.g[g]
        if e.landed != e.epoch:
            return
        if e.kind == "open":
            if s["opened"] and s["opened"][0] >= e.epoch:
                return
            s["opened"] = (e.epoch, e.revision)
            s["store"] = [w for w in s["store"] if w.revision <= e.revision]
            s["known"] = max(s["known"], e.stable, e.revision if OPEN_KNOWS_CUT else 0)
        elif s["opened"] and s["opened"][0] == e.epoch:
            s["known"] = max(s["known"], e.stable)
            assert not s["store"] or e.revision > max(w.revision for w in s["store"]), "R2 on a member"
            s["store"].append(e)


class Cluster(World):
    def __init__(self, rng, shards):
        super().__init__(rng, shards)
        for group in self.groups:
            group.offset, group.gauge = 0, 0
        self.member, self.lines, self.making = Member(shards), [], None
        self.line_heard = 0
        self.kept = []                     # [epoch, revision, write, whether the cut was heard of]: answers of ended epochs

    # --- the leader's side --------------------------------------------------------------------------------------------
    def truncate(self, g):
        group, before = self.groups[g], len(self.groups[g].log)
        super().truncate(g)
        group.offset += before - len(group.log)

    def committed(self, g):
        return self.groups[g].offset + self.groups[g].committed

    def commit(self, g, upto):
        if rule("index-first"):
            super().commit(g, upto)
            self.groups[g].gauge = self.committed(g)
        else:
            super().commit(g, upto)        # the gauge follows at some later step

    def propose_open(self, leadership, g):
        if g not in leadership.opened:
            known = leadership.cut if OPEN_KNOWS_CUT else self.groups[g].stable()
            self.groups[g].log.append(Entry(leadership.epoch, "open", leadership.cut, known, landed=leadership.epoch))
            leadership.opened.add(g)

    def take(self, leadership, g):
        super().take(leadership, g)
        if rule("gather-committed") and leadership.state == "gathering":
            self.groups[g].committed = len(self.groups[g].log)

    def make_line(self, leadership):
        """One line message is put together over several steps."""
        if self.making is None or self.making["epoch"] != leadership.epoch:
            self.making = {"epoch": leadership.epoch, "S": None, "c": [None] * self.S}
        m, rng = self.making, self.rng
        if rule("vector-after") and m["S"] is None:
            m["S"] = leadership.published
        elif None in m["c"]:
            g = rng.choice([i for i, c in enumerate(m["c"]) if c is None])
            m["c"][g] = self.groups[g].gauge
        else:
            if m["S"] is None:
                m["S"] = leadership.published
            self.lines.append((m["epoch"], m["S"], tuple(m["c"])))
            self.making = None

    # --- the member's side --------------------------------------------------------------------------------------------
    def member_step(self):
        rng, me, g = self.rng, self.member, self.rng.randrange(self.S)
        s, group, dice = me.g[g], self.groups[g], rng.random()
        if dice < 0.5:
            if s["applied"] < group.offset:                   # the log is gone: the leader's checkpoint
                s.update(applied=group.offset, store=list(group.base), known=max(s["known"], group.base_stable),
                         opened=(group.base_opens[-1].epoch, group.base_opens[-1].revision) if group.base_opens else None,
                         ckpt=None, seen=[])
                s["ckpt"] = dict(applied=s["applied"], store=list(s["store"]), known=s["known"], opened=s["opened"])
                return
            upto = rng.randint(s["applied"], self.committed(g))
            for e in group.log[s["applied"] - group.offset:upto - group.offset]:
                me.apply(g, e)
                s["seen"].append((s["applied"], e))
                s["applied"] += 1
        elif dice < 0.85 and self.lines:
            epoch, S, c = rng.choice(self.lines[-6:])
            if all(me.g[i]["applied"] >= c[i] for i in range(self.S)) and S > me.stable:
                me.stable = S
                me.note = (S, c) if rng.random() < 0.5 else me.note
            self.show()
        elif dice < 0.93:                                     # a checkpoint of its own
            tail = [i for i, e in s["seen"] if e.kind == "write" and e in s["store"] and e.revision > s["known"]]
            index = tail[0] if tail else s["applied"]
            opened = s["opened"]
            if rule("as-of-index") and not OPEN_KNOWS_CUT:
                older = s["ckpt"]["opened"] if s["ckpt"] else None
                for i, e in s["seen"]:
                    if i < index and e.kind == "open" and e.landed == e.epoch and (older is None or older[0] < e.epoch):
                        older = (e.epoch, e.revision)
                opened = older
            s["ckpt"] = dict(applied=index, store=[w for w in s["store"] if w.revision <= s["known"]], known=s["known"], opened=opened)
            s["seen"] = [(i, e) for i, e in s["seen"] if i >= index]
        elif dice > 0.97:
            self.restart()

    def restart(self):
        """Checkpoint, then its own log; what it knows to be committed of that may lag, but for what it has noted."""
        me, rng = self.member, self.rng
        S, c = me.note
        for i, s in enumerate(me.g):
            old = s["ckpt"] or dict(applied=0, store=[], known=1, opened=None)
            seen = s["seen"]
            upto = rng.randint(old["applied"], s["applied"])
            if c is not None and rule("note-vector"):
                upto = max(upto, min(c[i], s["applied"]))
            s.update(applied=old["applied"], store=list(old["store"]), known=old["known"], opened=old["opened"])
            s["seen"] = [(j, e) for j, e in seen if j < upto]
            for j, e in s["seen"]:
                if j < old["applied"]:
                    continue
                if e.kind == "write" and e.revision <= old["known"]:
                    s["applied"] += 1
                    continue
                me.apply(i, e)
                s["applied"] += 1
        known = [s["known"] for s in me.g]
        me.stable = max(S if c is not None else 1, min(known) if rule("all-groups") else max(known))
        self.show()

    def show(self):
        me = self.member
        seen = frozenset((g, w.revision, w.write) for g, s in enumerate(me.g) for w in s["store"] if w.revision <= me.stable)
        self.promised.append((me.stable, seen))

    # --- answers that outlive their epoch -------------------------------------------------------------------------------
    def begin_epoch(self):
        if self.leaderships:
            old = self.leaderships[-1]
            self.kept = getattr(self, "kept", []) + [[old.epoch, r, w, False] for r, (w, _) in old.waiting.items()]
            old.waiting = {}
        super().begin_epoch()

    def release_kept(self):
        newest = self.leaderships[-1]
        if newest.state != "open":
            return
        for item in list(self.kept):
            epoch, revision, write, heard = item
            cuts = [r.cut for r in self.leaderships if r.epoch > epoch and r.cut is not None]
            if not heard:
                if rule("epoch-tag") and self.rng.random() < 0.5:
                    continue                                   # this core has not heard yet
                if rule("epoch-tag"):
                    limit = min(cuts) if rule("next-cut") else newest.cut
                    if revision > limit:
                        self.kept.remove(item)                 # unknown
                        continue
                    item[3] = True
            if revision <= newest.published:
                self.kept.remove(item)
                self.acked[write] = revision
                self.highest_acked = max(self.highest_acked, revision)

    def step(self):
        super().step()
        leadership = self.rng.choice(self.leaderships[-2:])
        if leadership.state == "open" and self.rng.random() < 0.5:
            self.make_line(leadership)
        if self.rng.random() < 0.3:
            g = self.rng.randrange(self.S)
            self.groups[g].gauge = self.committed(g)
        if self.rng.random() < 0.6:
            self.member_step()
        if self.rng.random() < 0.3:
            self.release_kept()

    def follow(self):
        pass


def run(seed):
    import random
    rng = random.Random(seed)
    world = Cluster(rng, rng.randint(2, 4))
    for _ in range(rng.randint(50, 600)):
        world.step()
    world.finish()
    return len(world.acked), len(world.promised)


def many(runs, first=1):
    for seed in range(first, first + runs):
        try:
            run(seed)
        except (AssertionError, KeyError) as broken:
            return seed, broken
    return None


def main():
    global OPEN_KNOWS_CUT, left
    args = [a for a in sys.argv[1:] if not a.startswith("--")]
    runs = int(args[0]) if args else 2000
    for OPEN_KNOWS_CUT in (True, False):
        left = None
        if found := many(runs):
            sys.exit(f"Open knows the cut: {OPEN_KNOWS_CUT}; seed {found[0]}: {found[1]}")
        print(f"Open knows the cut: {OPEN_KNOWS_CUT}; {runs} schedules hold")
    if "--teeth" not in sys.argv:
        return
    missed = 0
    for left in RULES:
        for OPEN_KNOWS_CUT in (True, False):
            if found := many(runs):
                print(f"without {left:16} (Open knows the cut: {OPEN_KNOWS_CUT}) seed {found[0]}: {found[1]}")
                break
        else:
            missed += 1
            print(f"without {left:16} NOT CAUGHT in {runs} schedules")
    print(f"{len(RULES)} rules, {missed} of them not caught when left out")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
