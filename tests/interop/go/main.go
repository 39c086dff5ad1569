// Real work of the Go client against one endpoint, concurrent where clients are: puts, gets,
// prefixes, pages, old revisions, compare-and-swap counters, transfers between two keys, deletes,
// compaction, typed errors, watches, leases, locks and elections. It prints one line per step and exits 1 at the first wrong answer.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	workers = 8
	perTask = 40
)

type step struct {
	name string
	work func(context.Context, *clientv3.Client) error
}

var steps = []step{
	{"put and get", putAndGet},
	{"prefix, pages and sort orders", prefixes},
	{"old revisions", oldRevisions},
	{"counter by compare and swap", counter},
	{"transfers keep the sum", transfers},
	{"nested txn", nestedTxn},
	{"delete with previous values", deletes},
	{"typed errors", typedErrors},
	{"range stream", rangeStream},
	{"large values over one connection", largeReads},
	{"compressed calls", compressed},
	{"compaction", compaction},
	{"status, members, hash", maintenance},
	{"watch events", watchEvents},
	{"many watchers of one stream", watchMany},
	{"progress of a watch", watchProgress},
	{"a watch below the compaction", watchCompacted},
	{"leases", leases},
	{"expiry and keep-alives", expiry},
	{"mutex of the client", mutex},
	{"lock service", lockService},
	{"election of the client", election},
	{"election service", electionService},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: interop ENDPOINT")
		os.Exit(2)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{os.Args[1]},
		DialTimeout: 5 * time.Second,
		Logger:      zap.NewNop(),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "connect:", err)
		os.Exit(1)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if _, err := client.Delete(ctx, "go/", clientv3.WithPrefix()); err != nil {
		fmt.Fprintln(os.Stderr, "clean:", err)
		os.Exit(1)
	}
	for _, step := range steps {
		if err := step.work(ctx, client); err != nil {
			fmt.Fprintf(os.Stderr, "go: %s: %v\n", step.name, err)
			os.Exit(1)
		}
		fmt.Printf("go: %s: ok\n", step.name)
	}
}

// workAll runs work on every worker at once and returns the first error.
func workAll(work func(worker int) error) error {
	var group sync.WaitGroup
	found := make(chan error, workers)
	for worker := range workers {
		group.Add(1)
		go func() {
			defer group.Done()
			if err := work(worker); err != nil {
				found <- err
			}
		}()
	}
	group.Wait()
	close(found)
	return <-found
}

func putAndGet(ctx context.Context, c *clientv3.Client) error {
	var mu sync.Mutex
	revisions := map[int64]string{}
	err := workAll(func(worker int) error {
		for i := range perTask {
			key := fmt.Sprintf("go/put/%d/%03d", worker, i)
			put, err := c.Put(ctx, key, "value of "+key)
			if err != nil {
				return err
			}
			mu.Lock()
			other, taken := revisions[put.Header.Revision]
			revisions[put.Header.Revision] = key
			mu.Unlock()
			if taken {
				return fmt.Errorf("%s and %s share revision %d", key, other, put.Header.Revision)
			}
			got, err := c.Get(ctx, key)
			if err != nil {
				return err
			}
			if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "value of "+key {
				return fmt.Errorf("%s: read %v after its put", key, got.Kvs)
			}
			if got.Kvs[0].ModRevision != put.Header.Revision || got.Kvs[0].Version != 1 {
				return fmt.Errorf("%s: put at %d, read %v", key, put.Header.Revision, got.Kvs[0])
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	again, err := c.Put(ctx, "go/put/0/000", "second", clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	if again.PrevKv == nil || string(again.PrevKv.Value) != "value of go/put/0/000" {
		return fmt.Errorf("previous value: %v", again.PrevKv)
	}
	return nil
}

func prefixes(ctx context.Context, c *clientv3.Client) error {
	count, err := c.Get(ctx, "go/put/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	if count.Count != workers*perTask || len(count.Kvs) != 0 {
		return fmt.Errorf("count %d with %d keys", count.Count, len(count.Kvs))
	}
	pages, last := 0, "go/put/"
	seen := map[string]bool{}
	end := clientv3.GetPrefixRangeEnd("go/put/")
	for more := true; more; pages++ {
		page, err := c.Get(ctx, last, clientv3.WithRange(end), clientv3.WithLimit(37))
		if err != nil {
			return err
		}
		for _, kv := range page.Kvs {
			if seen[string(kv.Key)] || string(kv.Key) < last {
				return fmt.Errorf("page %d: %s out of order", pages, kv.Key)
			}
			seen[string(kv.Key)] = true
			last = string(kv.Key) + "\x00"
		}
		more = page.More
	}
	if len(seen) != workers*perTask {
		return fmt.Errorf("%d keys in %d pages", len(seen), pages)
	}
	down, err := c.Get(ctx, "go/put/", clientv3.WithPrefix(), clientv3.WithKeysOnly(),
		clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend), clientv3.WithLimit(5))
	if err != nil {
		return err
	}
	if len(down.Kvs) != 5 || string(down.Kvs[0].Key) != "go/put/0/000" {
		return fmt.Errorf("newest by mod revision: %v", down.Kvs)
	}
	for i := 1; i < len(down.Kvs); i++ {
		if down.Kvs[i].ModRevision >= down.Kvs[i-1].ModRevision || len(down.Kvs[i].Value) != 0 {
			return fmt.Errorf("descending, keys only: %v", down.Kvs)
		}
	}
	return nil
}

func oldRevisions(ctx context.Context, c *clientv3.Client) error {
	var revisions []int64
	for i := range 5 {
		put, err := c.Put(ctx, "go/old", strconv.Itoa(i))
		if err != nil {
			return err
		}
		revisions = append(revisions, put.Header.Revision)
	}
	for i, revision := range revisions {
		got, err := c.Get(ctx, "go/old", clientv3.WithRev(revision))
		if err != nil {
			return err
		}
		if string(got.Kvs[0].Value) != strconv.Itoa(i) || got.Kvs[0].Version != int64(i+1) {
			return fmt.Errorf("at %d: %v", revision, got.Kvs)
		}
		if got.Header.Revision < revisions[4] {
			return fmt.Errorf("header %d below %d", got.Header.Revision, revisions[4])
		}
	}
	return nil
}

func counter(ctx context.Context, c *clientv3.Client) error {
	const key = "go/counter"
	const each = 10
	err := workAll(func(int) error {
		for done := 0; done < each; {
			got, err := c.Get(ctx, key)
			if err != nil {
				return err
			}
			value, revision := 0, int64(0)
			if len(got.Kvs) == 1 {
				value, _ = strconv.Atoi(string(got.Kvs[0].Value))
				revision = got.Kvs[0].ModRevision
			}
			txn, err := c.Txn(ctx).
				If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
				Then(clientv3.OpPut(key, strconv.Itoa(value+1))).
				Else(clientv3.OpGet(key)).
				Commit()
			if err != nil {
				return err
			}
			if txn.Succeeded {
				done++
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	got, err := c.Get(ctx, key)
	if err != nil {
		return err
	}
	if string(got.Kvs[0].Value) != strconv.Itoa(workers*each) || got.Kvs[0].Version != workers*each {
		return fmt.Errorf("%d increments made %v", workers*each, got.Kvs[0])
	}
	return nil
}

// transfers moves money between accounts in txns of two keys while readers add up all of them.
func transfers(ctx context.Context, c *clientv3.Client) error {
	const accounts, balance = 6, 100
	name := func(i int) string { return fmt.Sprintf("go/account/%d", i%accounts) }
	for i := range accounts {
		if _, err := c.Put(ctx, name(i), strconv.Itoa(balance)); err != nil {
			return err
		}
	}
	return workAll(func(worker int) error {
		for i := range 20 {
			all, err := c.Get(ctx, "go/account/", clientv3.WithPrefix())
			if err != nil {
				return err
			}
			sum := 0
			for _, kv := range all.Kvs {
				value, _ := strconv.Atoi(string(kv.Value))
				sum += value
			}
			if sum != accounts*balance {
				return fmt.Errorf("revision %d: the sum is %d", all.Header.Revision, sum)
			}
			from, to := (worker+i)%accounts, (worker+i+1+worker%3)%accounts
			if from == to {
				continue
			}
			a, _ := strconv.Atoi(string(all.Kvs[from].Value))
			b, _ := strconv.Atoi(string(all.Kvs[to].Value))
			_, err = c.Txn(ctx).
				If(clientv3.Compare(clientv3.ModRevision(name(from)), "=", all.Kvs[from].ModRevision),
					clientv3.Compare(clientv3.ModRevision(name(to)), "=", all.Kvs[to].ModRevision)).
				Then(clientv3.OpPut(name(from), strconv.Itoa(a-1)),
					clientv3.OpPut(name(to), strconv.Itoa(b+1))).
				Commit()
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func nestedTxn(ctx context.Context, c *clientv3.Client) error {
	txn, err := c.Txn(ctx).
		If(clientv3.Compare(clientv3.Version("go/nested/a"), "=", 0)).
		Then(clientv3.OpPut("go/nested/a", "1"),
			clientv3.OpTxn(
				[]clientv3.Cmp{clientv3.Compare(clientv3.Value("go/counter"), "=", "80")},
				[]clientv3.Op{clientv3.OpPut("go/nested/b", "2"), clientv3.OpGet("go/nested/a")},
				nil)).
		Commit()
	if err != nil {
		return err
	}
	if !txn.Succeeded || len(txn.Responses) != 2 {
		return fmt.Errorf("%v", txn)
	}
	inner := txn.Responses[1].GetResponseTxn()
	if !inner.Succeeded || string(inner.Responses[1].GetResponseRange().Kvs[0].Value) != "1" {
		return fmt.Errorf("inner: %v", inner)
	}
	both, err := c.Get(ctx, "go/nested/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	if len(both.Kvs) != 2 || both.Kvs[0].ModRevision != both.Kvs[1].ModRevision ||
		both.Kvs[0].ModRevision != txn.Header.Revision {
		return fmt.Errorf("one revision for both: %v", both.Kvs)
	}
	return nil
}

func deletes(ctx context.Context, c *clientv3.Client) error {
	deleted, err := c.Delete(ctx, "go/put/3/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	if deleted.Deleted != perTask || len(deleted.PrevKvs) != perTask {
		return fmt.Errorf("deleted %d, %d previous", deleted.Deleted, len(deleted.PrevKvs))
	}
	nothing, err := c.Delete(ctx, "go/put/3/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	if nothing.Deleted != 0 || nothing.Header.Revision != deleted.Header.Revision {
		return fmt.Errorf("deleting nothing: %v", nothing)
	}
	before, err := c.Get(ctx, "go/put/3/", clientv3.WithPrefix(), clientv3.WithCountOnly(),
		clientv3.WithRev(deleted.Header.Revision-1))
	if err != nil {
		return err
	}
	if before.Count != perTask {
		return fmt.Errorf("before the delete there were %d", before.Count)
	}
	return nil
}

func typedErrors(ctx context.Context, c *clientv3.Client) error {
	_, future := c.Get(ctx, "go/old", clientv3.WithRev(1<<40))
	if !errors.Is(future, rpctypes.ErrFutureRev) {
		return fmt.Errorf("future revision: %v", future)
	}
	if _, err := c.Put(ctx, "", "x"); !errors.Is(err, rpctypes.ErrEmptyKey) {
		return fmt.Errorf("empty key: %v", err)
	}
	_, err := c.Txn(ctx).Then(clientv3.OpPut("go/x", "1"), clientv3.OpPut("go/x", "2")).Commit()
	if !errors.Is(err, rpctypes.ErrDuplicateKey) {
		return fmt.Errorf("duplicate key: %v", err)
	}
	_, err = c.Put(ctx, "go/missing", "", clientv3.WithIgnoreValue())
	if !errors.Is(err, rpctypes.ErrKeyNotFound) {
		return fmt.Errorf("ignore value of a missing key: %v", err)
	}
	large := make([]byte, 1536*1024)
	if _, err := c.Put(ctx, "go/large", string(large)); !errors.Is(err, rpctypes.ErrRequestTooLarge) {
		return fmt.Errorf("large request: %v", err)
	}
	return nil
}

// rangeStream reads the same keys in one answer and as a stream of chunks.
func rangeStream(ctx context.Context, c *clientv3.Client) error {
	whole, err := c.Get(ctx, "go/put/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	stream, err := c.GetStream(ctx, "go/put/", clientv3.WithPrefix(),
		clientv3.WithRev(whole.Header.Revision))
	if err != nil {
		return err
	}
	merged, err := clientv3.GetStreamToGetResponse(stream)
	if err != nil {
		return err
	}
	if len(merged.Kvs) != len(whole.Kvs) || merged.Count != whole.Count {
		return fmt.Errorf("streamed %d of %d keys", len(merged.Kvs), len(whole.Kvs))
	}
	for i, kv := range merged.Kvs {
		if string(kv.Key) != string(whole.Kvs[i].Key) || kv.ModRevision != whole.Kvs[i].ModRevision {
			return fmt.Errorf("streamed %v for %v", kv, whole.Kvs[i])
		}
	}
	return nil
}

func compaction(ctx context.Context, c *clientv3.Client) error {
	first, err := c.Put(ctx, "go/compact", "1")
	if err != nil {
		return err
	}
	second, err := c.Put(ctx, "go/compact", "2")
	if err != nil {
		return err
	}
	at := second.Header.Revision
	if _, err := c.Compact(ctx, at, clientv3.WithCompactPhysical()); err != nil {
		return err
	}
	_, err = c.Get(ctx, "go/compact", clientv3.WithRev(first.Header.Revision))
	if !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("below the compaction: %v", err)
	}
	kept, err := c.Get(ctx, "go/compact", clientv3.WithRev(at))
	if err != nil {
		return err
	}
	if string(kept.Kvs[0].Value) != "2" {
		return fmt.Errorf("at the compaction: %v", kept.Kvs)
	}
	if _, err := c.Compact(ctx, at); !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("compacting again: %v", err)
	}
	return nil
}

func maintenance(ctx context.Context, c *clientv3.Client) error {
	status, err := c.Status(ctx, c.Endpoints()[0])
	if err != nil {
		return err
	}
	if status.Leader == 0 || status.Leader != status.Header.MemberId || status.DbSize == 0 {
		return fmt.Errorf("status: %v", status)
	}
	members, err := c.MemberList(ctx)
	if err != nil {
		return err
	}
	if len(members.Members) != 1 || members.Members[0].ID != status.Leader {
		return fmt.Errorf("members: %v", members.Members)
	}
	// At a revision that is not the last compaction's: of that one etcd answers the hash it had
	// kept from the compaction, with the compact revision before it.
	if _, err := c.Put(ctx, "go/hash", "x"); err != nil {
		return err
	}
	first, err := c.HashKV(ctx, c.Endpoints()[0], 0)
	if err != nil {
		return err
	}
	second, err := c.HashKV(ctx, c.Endpoints()[0], first.HashRevision)
	if err != nil {
		return err
	}
	if first.Hash != second.Hash || first.HashRevision != first.Header.Revision {
		return fmt.Errorf("hashes: %v, %v", first, second)
	}
	alarms, err := c.AlarmList(ctx)
	if err != nil {
		return err
	}
	if len(alarms.Alarms) != 0 {
		return fmt.Errorf("alarms: %v", alarms.Alarms)
	}
	return nil
}
