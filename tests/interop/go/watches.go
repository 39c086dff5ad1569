package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// told writes an event as `put KEY=VALUE` or `delete KEY`, with `<PREVIOUS` where one was sent.
func told(event *clientv3.Event) string {
	key := strings.TrimPrefix(string(event.Kv.Key), "go/")
	before := ""
	if event.PrevKv != nil {
		before = "<" + string(event.PrevKv.Value)
	}
	if event.Type == mvccpb.Event_DELETE {
		return "delete " + key + before
	}
	return "put " + key + "=" + string(event.Kv.Value) + before
}

// events reads so many events of one watcher and checks their order.
func events(watch clientv3.WatchChan, count int) ([]string, error) {
	var all []string
	last := int64(0)
	for len(all) < count {
		select {
		case response, open := <-watch:
			if !open {
				return all, fmt.Errorf("the watch ended after %v", all)
			}
			if err := response.Err(); err != nil {
				return all, fmt.Errorf("%v after %v", err, all)
			}
			for _, event := range response.Events {
				if event.Kv.ModRevision < last || event.Kv.ModRevision > response.Header.Revision {
					return all, fmt.Errorf("revision %d after %d", event.Kv.ModRevision, last)
				}
				last = event.Kv.ModRevision
				all = append(all, told(event))
			}
		case <-time.After(10 * time.Second):
			return all, fmt.Errorf("nothing more after %v", all)
		}
	}
	return all, nil
}

func expectEvents(watch clientv3.WatchChan, expected ...string) error {
	seen, err := events(watch, len(expected))
	if err == nil && !slices.Equal(seen, expected) {
		err = fmt.Errorf("saw %q, not %q", seen, expected)
	}
	return err
}

func watchEvents(ctx context.Context, c *clientv3.Client) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	first, err := c.Put(ctx, "go/watch/a", "1")
	if err != nil {
		return err
	}
	from := clientv3.WithRev(first.Header.Revision)
	all := c.Watch(ctx, "go/watch/", clientv3.WithPrefix(), clientv3.WithPrevKV(), from)
	one := c.Watch(ctx, "go/watch/a", clientv3.WithCreatedNotify())
	if created := <-one; !created.Created || created.Header.Revision != first.Header.Revision {
		return fmt.Errorf("created: %v", created)
	}
	puts := c.Watch(ctx, "go/watch/", clientv3.WithPrefix(), clientv3.WithFilterDelete(), from)
	deletes := c.Watch(ctx, "go/watch/", clientv3.WithPrefix(), clientv3.WithFilterPut(), from)
	if _, err := c.Put(ctx, "go/watch/a", "2"); err != nil {
		return err
	}
	_, err = c.Txn(ctx).Then(
		clientv3.OpPut("go/watch/c", "3"),
		clientv3.OpDelete("go/watch/a"),
		clientv3.OpPut("go/watch/b", "3")).Commit()
	if err != nil {
		return err
	}
	if _, err := c.Delete(ctx, "go/watch/", clientv3.WithPrefix()); err != nil {
		return err
	}
	for _, pair := range []struct {
		watch    clientv3.WatchChan
		expected []string
	}{
		{all, []string{"put watch/a=1", "put watch/a=2<1", "put watch/c=3", "delete watch/a<2",
			"put watch/b=3", "delete watch/b<3", "delete watch/c<3"}},
		{one, []string{"put watch/a=2", "delete watch/a"}},
		{puts, []string{"put watch/a=1", "put watch/a=2", "put watch/c=3", "put watch/b=3"}},
		{deletes, []string{"delete watch/a", "delete watch/b", "delete watch/c"}},
	} {
		if err := expectEvents(pair.watch, pair.expected...); err != nil {
			return err
		}
	}
	return nil
}

// watchMany has many watchers on one stream while all workers write.
func watchMany(ctx context.Context, c *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	now, err := c.Get(ctx, "go/many", clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	from := clientv3.WithRev(now.Header.Revision + 1)
	var watches []clientv3.WatchChan
	for worker := range workers {
		for range 10 {
			key := fmt.Sprintf("go/many/%d/", worker)
			watches = append(watches, c.Watch(ctx, key, clientv3.WithPrefix(), from))
		}
	}
	all := c.Watch(ctx, "go/many/", clientv3.WithPrefix(), from, clientv3.WithFragment())
	written := make(chan error, 1)
	go func() {
		written <- workAll(func(worker int) error {
			for i := range perTask {
				key := fmt.Sprintf("go/many/%d/%03d", worker, i)
				if _, err := c.Put(ctx, key, "v"); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	for at, watch := range watches {
		seen, err := events(watch, perTask)
		if err != nil {
			return fmt.Errorf("watcher %d: %w", at, err)
		}
		for i, event := range seen {
			if event != fmt.Sprintf("put many/%d/%03d=v", at/10, i) {
				return fmt.Errorf("watcher %d: event %d is %s", at, i, event)
			}
		}
	}
	if err := <-written; err != nil {
		return err
	}
	seen, err := events(all, workers*perTask)
	if err != nil {
		return err
	}
	slices.Sort(seen)
	if len(slices.Compact(seen)) != workers*perTask {
		return fmt.Errorf("the watcher of all saw some event twice")
	}
	return nil
}

func watchProgress(ctx context.Context, c *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := c.Watch(ctx, "go/progress", clientv3.WithCreatedNotify())
	<-watch
	put, err := c.Put(ctx, "go/elsewhere", "1")
	if err != nil {
		return err
	}
	if err := c.RequestProgress(ctx); err != nil {
		return err
	}
	progress := <-watch
	if !progress.IsProgressNotify() || progress.Header.Revision != put.Header.Revision {
		return fmt.Errorf("progress after revision %d: %v", put.Header.Revision, progress)
	}
	return nil
}

func watchCompacted(ctx context.Context, c *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first, err := c.Put(ctx, "go/compacted", "1")
	if err != nil {
		return err
	}
	second, err := c.Put(ctx, "go/compacted", "2")
	if err != nil {
		return err
	}
	at := second.Header.Revision
	if _, err := c.Compact(ctx, at); err != nil {
		return err
	}
	lost := <-c.Watch(ctx, "go/compacted", clientv3.WithRev(first.Header.Revision))
	if !errors.Is(lost.Err(), rpctypes.ErrCompacted) || lost.CompactRevision != at {
		return fmt.Errorf("below the compaction: %v, %d", lost.Err(), lost.CompactRevision)
	}
	return expectEvents(c.Watch(ctx, "go/compacted", clientv3.WithRev(at)), "put compacted=2")
}
