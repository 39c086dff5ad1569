// Watches, leases, locks and elections of the Node client, and of the server over raw calls.
'use strict';
const assert = require('node:assert/strict');
const { once } = require('node:events');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const { EtcdLockFailedError } = require('etcd3');

const PROTO = path.join(__dirname, '../../../proto');

// What a watcher is told, in words; take(n) waits for n of them.
function told(watcher, prefix) {
  const arrived = [];
  let wake = () => {};
  let last = 0;
  watcher.on('data', response => {
    for (const event of response.events) {
      const revision = Number(event.kv.mod_revision);
      assert.ok(last <= revision && revision <= Number(response.header.revision));
      last = revision;
      const before = event.prev_kv ? `<${event.prev_kv.value}` : '';
      const key = event.kv.key.toString().replace(prefix, '');
      arrived.push(`${event.type} ${key}=${event.kv.value}${before}`);
    }
    wake();
  });
  return async count => {
    const deadline = Date.now() + 10000;
    while (arrived.length < count) {
      assert.ok(Date.now() < deadline, `nothing more after ${arrived}`);
      await new Promise(resolve => {
        wake = resolve;
        setTimeout(resolve, 1000);
      });
    }
    return arrived.splice(0, count);
  };
}

async function watches({ ours }) {
  const first = await ours.put('watch/a').value('1');
  const from = first.header.revision;
  const since = () => ours.watch().prefix('watch/').startRevision(from);
  const watchers = [
    ours.watch().key('watch/a'), since().withPreviousKV(), since().only('put'), since().only('delete'),
  ].map(builder => builder.watcher());
  const [one, every, puts, deletes] = watchers;
  // Listened to before they are there: history may come with the answer to the creation.
  const seen = watchers.map(watcher => told(watcher, 'watch/'));
  await Promise.all(watchers.map(watcher => once(watcher, 'connected')));
  await ours.put('watch/a').value('2');
  await ours
    .if('watch/a', 'Version', '==', 2)
    .then(ours.put('watch/b').value('3'), ours.delete().key('watch/a'))
    .commit();
  await ours.delete().prefix('watch/');
  assert.deepEqual(await seen[0](2), ['Put a=2', 'Delete a=']);
  assert.deepEqual(await seen[1](5),
    ['Put a=1', 'Put a=2<1', 'Put b=3', 'Delete a=<2', 'Delete b=<3']);
  assert.deepEqual(await seen[2](3), ['Put a=1', 'Put a=2', 'Put b=3']);
  assert.deepEqual(await seen[3](2), ['Delete a=', 'Delete b=']);
  await one.cancel();
  await ours.put('watch/a').value('4');
  assert.deepEqual(await seen[2](1), ['Put a=4']);
  for (const watcher of [every, puts, deletes]) await watcher.cancel();
}

async function manyWatchers({ ours }) {
  const watchers = await Promise.all(
    Array.from({ length: 40 }, (_, i) => ours.watch().prefix(`many/${i % 4}/`).create()));
  const seen = watchers.map((watcher, i) => told(watcher, `many/${i % 4}/`));
  await Promise.all([0, 1, 2, 3].map(async number => {
    for (let i = 0; i < 20; i++) await ours.put(`many/${number}/${i}`).value('v');
  }));
  const expected = Array.from({ length: 20 }, (_, i) => `Put ${i}=v`);
  for (const take of seen) assert.deepEqual(await take(20), expected);
  for (const watcher of watchers) await watcher.cancel();
}

async function leases({ client, ours }) {
  const lease = ours.lease(60, { autoKeepAlive: false });
  const id = await lease.grant();
  await lease.put('lease/b').value('v');
  await lease.put('lease/a').value('v');
  assert.equal((await lease.keepaliveOnce()).TTL, '60');
  const left = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
  assert.deepEqual(left.keys.map(String).sort(), ['node/lease/a', 'node/lease/b']);
  assert.ok(Number(left.TTL) > 30 && left.grantedTTL === '60', JSON.stringify(left));
  const listed = await client.leaseClient.leaseLeases();
  assert.ok(listed.leases.some(one => one.ID === id));
  const watcher = await ours.watch().prefix('lease/').create();
  const take = told(watcher, 'lease/');
  await lease.revoke();
  assert.deepEqual(await take(2), ['Delete a=', 'Delete b=']);
  assert.equal((await client.leaseClient.leaseTimeToLive({ ID: id })).TTL, '-1');
  await assert.rejects(client.leaseClient.leaseRevoke({ ID: id }), /requested lease not found/);

  // One that is kept alive outlives one that is not.
  const kept = ours.lease(2);
  const lost = ours.lease(2, { autoKeepAlive: false });
  await kept.put('lease/kept').value('v');
  await lost.put('lease/lost').value('v');
  assert.equal((await take(3))[2], 'Delete lost=');
  assert.equal(await ours.get('lease/kept').string(), 'v');
  await kept.revoke();
  await watcher.cancel();
}

async function locks({ ours }) {
  let holders = 0;
  let done = 0;
  await Promise.all(Array.from({ length: 4 }, async () => {
    for (;;) {
      try {
        await ours.lock('lock').ttl(10).do(async () => {
          assert.equal(++holders, 1);
          await ours.get('lock').string();
          holders--;
          done++;
        });
        return;
      } catch (failure) {
        if (!(failure instanceof EtcdLockFailedError)) throw failure;
      }
    }
  }));
  assert.equal(done, 4);
}

async function elections({ client }) {
  const election = client.namespace('node/').election('chair', 10);
  assert.equal(await election.leader(), undefined);
  const one = election.campaign('one');
  await once(one, 'elected');
  const observer = await election.observe();
  assert.equal(observer.leader(), 'one');
  const two = election.campaign('two');
  const won = once(two, 'elected');
  const changed = once(observer, 'change');
  await one.proclaim('still one');
  assert.deepEqual(await changed, ['still one']);
  await one.resign();
  await won;
  assert.equal(await election.leader(), 'two');
  await observer.cancel();
  await two.resign();
}

// The services of the server, with the stubs of this repository's .proto files.
function stubs(endpoint, name) {
  const options = { includeDirs: [PROTO], keepCase: true, longs: String };
  const packages = grpc.loadPackageDefinition(loader.loadSync(`v3${name}pb.proto`, options));
  const service = packages[`v3${name}pb`][name[0].toUpperCase() + name.slice(1)];
  const client = new service(endpoint.replace(/^http:\/\//, ''), grpc.credentials.createInsecure());
  const unary = (rpc, request) => new Promise((resolve, reject) =>
    client[rpc](request, (failure, answer) => (failure ? reject(failure) : resolve(answer))));
  return { client, unary };
}

async function lockService({ ours, endpoint }) {
  const { client, unary } = stubs(endpoint, 'lock');
  const [one, two] = [ours.lease(60), ours.lease(60)];
  const ids = [await one.grant(), await two.grant()];
  const key = id => `node/service/${BigInt(id).toString(16)}`;
  const name = Buffer.from('node/service');
  const held = await unary('Lock', { name, lease: ids[0] });
  assert.equal(held.key.toString(), key(ids[0]));
  const watcher = await ours.watch().prefix('service/').create();
  const take = told(watcher, 'service/');
  const waiting = unary('Lock', { name, lease: ids[1] });
  assert.equal((await take(1))[0], `Put ${BigInt(ids[1]).toString(16)}=`);
  await unary('Unlock', { key: held.key });
  assert.equal((await waiting).key.toString(), key(ids[1]));
  await assert.rejects(unary('Lock', { name, lease: '4711' }),
    { code: grpc.status.UNKNOWN, details: 'etcdserver: requested lease not found' });
  await watcher.cancel();
  await one.revoke();
  await two.revoke();
  client.close();
}

async function electionService({ ours, endpoint }) {
  const { client, unary } = stubs(endpoint, 'election');
  const name = Buffer.from('node/elected');
  const value = text => Buffer.from(text);
  await assert.rejects(unary('Leader', { name }),
    { code: grpc.status.UNKNOWN, details: 'election: no leader' });
  const lease = ours.lease(60);
  const observed = client.Observe({ name });
  const leader = async () => (await once(observed, 'data'))[0].kv.value.toString();
  // No `data` may come while nobody listens.
  const first = leader();
  const one = await unary('Campaign', { name, lease: await lease.grant(), value: value('one') });
  assert.equal(await first, 'one');
  const waiting = unary('Campaign', { name, value: value('two') });
  const second = leader();
  await unary('Proclaim', { leader: one.leader, value: value('still one') });
  assert.equal(await second, 'still one');
  const third = leader();
  await lease.revoke();
  const two = await waiting;
  assert.equal(await third, 'two');
  await assert.rejects(unary('Proclaim', { leader: one.leader, value: value('x') }),
    { code: grpc.status.UNKNOWN, details: 'election: not leader' });
  await unary('Resign', { leader: two.leader });
  observed.on('error', () => {});
  observed.cancel();
  client.close();
}

module.exports = {
  watch: [watches, manyWatchers],
  lease: [leases],
  lock: [locks, lockService],
  election: [elections, electionService],
};
