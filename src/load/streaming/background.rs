//! Background load during a run: idle watchers, and leases about to end.

use super::cluster::ClusterWatchers;
use super::expiring::Expiring;
use super::idle::IdleWatchers;
use super::{Facts, StreamArguments};
use crate::load::run::Plan;

/// Load that goes on beside a run, until this is dropped.
pub(in crate::load) struct BackgroundLoad {
    held: Option<IdleWatchers>,
    expiring: Option<Expiring>,
    cluster: Option<ClusterWatchers>,
}

impl BackgroundLoad {
    /// Starts what the arguments ask for.
    pub(in crate::load) fn gather(
        arguments: &StreamArguments,
        plan: &Plan,
    ) -> Result<BackgroundLoad, String> {
        let StreamArguments { idle_watchers, watch_connections, streams, .. } = *arguments;
        let held = match idle_watchers {
            0 => None,
            count => Some(IdleWatchers::create(plan, count, watch_connections, streams)?),
        };
        let expiring = match arguments.expiring_leases {
            0 => None,
            count => Some(Expiring::prepare(plan, count, arguments.expire_after)?),
        };
        let cluster = match plan.workload.own_rate {
            None => None,
            Some(_) => Some(ClusterWatchers::create(plan)?),
        };
        Ok(BackgroundLoad { held, expiring, cluster })
    }

    /// Until the run is to begin.
    pub(in crate::load) fn wait(&self, plan: &Plan) {
        if let Some(expiring) = &self.expiring {
            expiring.wait(plan.warm_up);
        }
    }

    /// Returns the facts that are known of it after the run.
    pub(in crate::load) fn facts(&self, plan: &Plan) -> Result<Facts, String> {
        let mut facts = Facts::new();
        if let Some(held) = &self.held {
            facts.extend(held.facts());
        }
        if let Some(cluster) = &self.cluster {
            facts.extend(cluster.facts());
        }
        if let Some(expiring) = &self.expiring {
            facts.extend(expiring.facts(plan)?);
        }
        Ok(facts)
    }
}
