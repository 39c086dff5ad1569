// Real work of the Node client (npm etcd3 1.1.2) against one endpoint; exits 1 at the first wrong
// answer.
'use strict';
const assert = require('node:assert/strict');
const { Etcd3 } = require('etcd3');
const lasting = require('./lasting.js');

const WORKERS = 8;
const EACH = 25;
const endpoint = process.argv[2].replace(/^(http:\/\/)?/, 'http://');
const client = new Etcd3({ hosts: endpoint });
const ours = client.namespace('node/');

const onAll = work => Promise.all(Array.from({ length: WORKERS }, (_, number) => work(number)));

async function putAndGet() {
  const revisions = new Set();
  await onAll(async number => {
    for (let i = 0; i < EACH; i++) {
      const key = `put/${number}/${String(i).padStart(3, '0')}`;
      const put = await ours.put(key).value(`value ${key}`);
      revisions.add(put.header.revision);
      assert.equal(await ours.get(key).string(), `value ${key}`);
    }
  });
  assert.equal(revisions.size, WORKERS * EACH, 'every put has a revision of its own');
  assert.equal(await ours.get('missing').string(), null);
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  await ours.put('bytes').value(bytes);
  assert.deepEqual(await ours.get('bytes').buffer(), bytes);
  assert.deepEqual((await ours.put('bytes').value('x').getPrevious()).value, bytes);
  await ours.put('bytes').value('').ignoreLease();
  assert.equal(await ours.get('bytes').string(), '');
}

async function prefixes() {
  const all = await ours.getAll().prefix('put/').strings();
  assert.equal(Object.keys(all).length, WORKERS * EACH);
  assert.equal(await ours.getAll().prefix('put/').count(), WORKERS * EACH);
  const keys = await ours.getAll().prefix('put/3/').limit(3).keys();
  assert.deepEqual(keys, ['put/3/000', 'put/3/001', 'put/3/002']);
  const newest = await ours.getAll().prefix('put/').sort('Mod', 'Descend').limit(2).exec();
  assert.ok(Number(newest.kvs[0].mod_revision) > Number(newest.kvs[1].mod_revision));
  assert.equal(newest.more, true);
  assert.equal(Number(newest.count), WORKERS * EACH);
}

async function oldRevisions() {
  const first = await ours.put('old').value('1');
  await ours.put('old').value('2');
  assert.equal(await ours.get('old').revision(first.header.revision).string(), '1');
  assert.equal(await ours.get('old').string(), '2');
}

async function counter() {
  await ours.put('counter').value(0);
  await onAll(async () => {
    for (let i = 0; i < 5; i++) {
      await ours
        .stm({ retries: 1000 })
        .transact(async tx => {
          const value = await tx.get('counter').number();
          await tx.put('counter').value(value + 1);
        });
    }
  });
  assert.equal(await ours.get('counter').number(), WORKERS * 5);
}

async function transactions() {
  const once = () =>
    ours.if('once', 'Create', '==', 0).then(ours.put('once').value('1'))
      .else(ours.get('once')).commit();
  assert.equal((await once()).succeeded, true);
  const again = await once();
  assert.equal(again.succeeded, false);
  assert.equal(again.responses[0].response_range.kvs[0].value.toString(), '1');
  const both = await ours
    .if('once', 'Value', '==', '1').and('missing', 'Version', '==', 0)
    .then(ours.put('both/a').value('a'), ours.put('both/b').value('b'), ours.delete().key('once'))
    .commit();
  assert.equal(both.succeeded, true);
  const kvs = (await ours.getAll().prefix('both/').exec()).kvs;
  assert.deepEqual(kvs.map(kv => kv.mod_revision), Array(2).fill(both.header.revision));
  assert.equal(await ours.get('once').exists(), false);
}

async function deletes() {
  const gone = await ours.delete().prefix('put/2/').getPrevious();
  assert.equal(gone.length, EACH);
  assert.equal(Number((await ours.delete().prefix('put/2/')).deleted), 0);
  assert.equal(await ours.getAll().prefix('put/').count(), (WORKERS - 1) * EACH);
}

async function compaction() {
  const old = await ours.put('compact').value('old');
  const now = await ours.put('compact').value('new');
  await client.kv.compact({ revision: now.header.revision, physical: true });
  await assert.rejects(
    async () => ours.get('compact').revision(old.header.revision).string(),
    { message: '11 OUT_OF_RANGE: etcdserver: mvcc: required revision has been compacted' },
  );
  assert.equal(await ours.get('compact').revision(now.header.revision).string(), 'new');
}

async function maintenance() {
  const status = await client.maintenance.status();
  assert.ok(Number(status.dbSize) > 0 && status.leader !== '0');
  const members = (await client.cluster.memberList({})).members;
  assert.deepEqual(members.map(member => member.ID), [status.leader]);
  assert.deepEqual((await client.maintenance.alarm({ action: 'Get' })).alarms, []);
}

async function main() {
  await ours.delete().all();
  const rooms = {
    kv: [putAndGet, prefixes, oldRevisions, counter, transactions, deletes, compaction, maintenance],
    ...lasting,
  };
  for (const steps of Object.values(rooms)) {
    for (const step of steps) {
      await step({ client, ours, endpoint });
      console.log(`node: ${step.name}: ok`);
    }
  }
  client.close();
}

main().catch(failure => {
  console.error('node:', failure);
  process.exit(1);
});
