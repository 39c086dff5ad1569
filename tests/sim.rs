//! The simulator on a handful of seeds: a few that are always the same, and those that ever failed.
//! Equal seeds must give equal traces. `.ci/run simulator` runs fresh seeds.

use std::collections::BTreeSet;

use braid::sim::{Options, Summary, simulate};

fn hold(seed: u64, steps: u64) -> Summary {
    let options = Options { seed, steps, cores: None, shards: None, without: None };
    simulate(&options).unwrap_or_else(|failure| {
        let skipped = failure.events.len().saturating_sub(30);
        let events: Vec<&str> = failure.events.iter().skip(skipped).map(String::as_str).collect();
        panic!(
            "seed {seed} fails at step {}: {}\n{}\nagain: braid-sim --seed {seed} --steps {steps}",
            failure.step,
            failure.what,
            events.join("\n")
        )
    })
}

#[test]
fn the_same_few_seeds_hold() {
    let (mut crashes, mut harms, mut revisions, mut events) = (0, 0, 0, 0);
    let mut kinds = BTreeSet::new();
    for seed in 1..=30 {
        let summary = hold(seed, 3000);
        crashes += summary.crashes;
        harms += summary.harms;
        revisions += summary.revisions;
        events += summary.events;
        kinds.extend(summary.kinds.into_keys());
    }
    assert!(crashes > 50 && harms > 10 && revisions > 2000, "the seeds do too little");
    assert!(events > 2000, "watchers are told too little");
    for kind in ["Put", "Range", "DeleteRange", "Txn", "Compact", "HashKv", "Status", "Defragment"]
    {
        assert!(kinds.contains(kind), "nobody was ever answered {kind}");
    }
    for kind in ["LeaseGrant", "LeaseRevoke", "LeaseKeepAlive", "LeaseTimeToLive", "LeaseLeases"] {
        assert!(kinds.contains(kind), "nobody was ever answered {kind}");
    }
    for kind in ["Created", "Refused", "Events", "Progress", "Notified", "Canceled", "Compacted"] {
        assert!(kinds.contains(&format!("Watch{kind}")), "nobody was ever told {kind}");
    }
    for kind in ["FullMailbox", "FullBudget"] {
        assert!(kinds.contains(kind), "nobody ever waited for {kind}");
    }
    for kind in ["Compacted", "FutureRevision", "KeyNotFound", "NoSpace", "DeadlineExceeded"]
        .into_iter()
        .chain(["LeaseNotFound", "LeaseExist"])
    {
        assert!(kinds.contains(kind), "nobody was ever refused with {kind}");
    }
}

/// Lines of `seed steps  what was wrong`.
#[test]
fn seeds_that_ever_failed_hold() {
    let list = include_str!("sim_seeds.txt");
    let mut count = 0;
    for line in list.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let mut words = line.split_whitespace();
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
        hold(number(), number());
        count += 1;
    }
    assert!(count > 0, "the list is empty");
}

#[test]
fn equal_seeds_give_equal_traces() {
    for seed in 100..106 {
        let (one, two) = (hold(seed, 2000), hold(seed, 2000));
        assert_eq!(one, two);
        assert_ne!(one.digest, hold(seed + 1000, 2000).digest);
    }
}
