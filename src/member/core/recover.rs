//! A core from what the disk holds for its groups.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::{Core, CoreEffects, MemberConfig};
use crate::control::Control;
use crate::member::account::GroupAccount;
use crate::member::leader::{Leader, LeaderEffects};
use crate::member::shared::Shared;
use crate::replica::{RecoverError, ReplicaConfig};
use crate::router::{Router, RouterConfig, RouterEffects};
use crate::shard::{LeaseIds, RecoveredShard, Recovery, Shard, ShardEffects, Switches};
use crate::types::{CoreId, Epoch, GroupId, RequestQueue, Revision, ShardId};
use crate::wal::ReadDisk;
use crate::watch::{Hub, HubConfig, HubEffects};

/// The groups of one core, and what is to be told of them.
struct Groups {
    shards: Vec<Shard>,
    control: Option<Control>,
    accounts: Vec<GroupAccount>,
    warnings: Vec<String>,
}

impl Groups {
    fn recover(
        config: &MemberConfig,
        id: CoreId,
        shared: &Arc<Shared>,
        disk: &dyn ReadDisk,
    ) -> Result<Groups, RecoverError> {
        let replica = |group| ReplicaConfig {
            group,
            cluster: config.identity.cluster,
            member: config.identity.member,
            salt: config.identity.salt,
            elects: group == GroupId::CONTROL,
            election_ticks: config.election_ticks,
            segment_bytes: config.segment_bytes,
            batch_bytes_max: config.batch_bytes_max,
        };
        let (mut warnings, mut accounts) = (Vec::new(), Vec::new());
        let mut shards = Vec::new();
        let own = (0..shared.shards).map(ShardId).filter(|&shard| shared.core_of(shard) == id);
        // The keys that a turn visits are shared by all of them.
        let read_slice_keys = (config.read_slice_keys / own.clone().count().max(1)).max(1);
        for shard in own {
            let recovery = Recovery {
                shard,
                replica: replica(GroupId::of(shard)),
                checkpoint_log_bytes: config.checkpoint_log_bytes,
                read_slice_keys,
            };
            let recovered = Shard::recover(&recovery, &shared.sequencer, disk, &mut warnings)?;
            let RecoveredShard { shard, found, account } = recovered;
            accounts.push(GroupAccount::of_shard(shard.group(), found, account));
            shards.push(shard);
        }
        let mut control = None;
        if shared.leader_core() == id {
            let (replica, me) = (replica(GroupId::CONTROL), config.identity.member);
            let (recovered, found) = Control::recover(&replica, me, disk, &mut warnings)?;
            accounts.push(GroupAccount::of_control(found, recovered.state().epoch));
            control = Some(recovered);
        }
        Ok(Groups { shards, control, accounts, warnings })
    }
}

impl Core {
    /// From what the disk holds for the groups of this core.
    pub fn recover(
        config: &Arc<MemberConfig>,
        id: CoreId,
        shared: &Arc<Shared>,
        disk: &dyn ReadDisk,
    ) -> Result<Core, RecoverError> {
        let groups = Groups::recover(config, id, shared, disk)?;
        let Groups { mut shards, control, accounts, warnings } = groups;
        let leases = LeaseIds::default();
        shards.iter_mut().for_each(|shard| shard.follow_leases(leases.clone()));
        let leader = control.map(|control| {
            Leader::new(config.member.clone(), control, config.leases, Arc::clone(shared))
        });
        let router = RouterConfig {
            request_timeout: config.request_timeout,
            slice_keys: config.read_slice_keys,
        };
        Ok(Core {
            id,
            router: Router::new(id, Arc::clone(&shared.sequencer), &router),
            hub: Hub::new(HubConfig {
                shards: shared.shards,
                seed: config.identity.salt,
                progress_interval: config.watch_progress_interval,
                limits: config.watch_limits,
            }),
            looked: Revision(0),
            epoch: Epoch(0),
            config: Arc::clone(config),
            shared: Arc::clone(shared),
            shards,
            leader,
            open: false,
            parked: RequestQueue::default(),
            switches: Switches::default(),
            leases,
            alarms: Arc::from([]),
            members: Arc::from([]),
            own: VecDeque::new(),
            effects: CoreEffects::default(),
            cancelled: FxHashSet::default(),
            closed: FxHashSet::default(),
            to_router: RouterEffects::default(),
            to_shard: ShardEffects::default(),
            to_leader: LeaderEffects::default(),
            to_hub: HubEffects::default(),
            ticks: 0,
            warnings,
            accounts,
        })
    }
}
