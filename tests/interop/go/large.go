package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
)

const (
	largeBytes = 1 << 20
	largeKeys  = 8
)

// counting is a client of default options whose connections are counted. grpc-go measures the way by
// pings after data frames; a server that takes those for abuse sends it away (GOAWAY), and all that
// shows is a second connection, since the client repeats its reads by itself.
func counting(c *clientv3.Client) (*clientv3.Client, *atomic.Int32, error) {
	var dials atomic.Int32
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   c.Endpoints(),
		DialTimeout: 5 * time.Second,
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(dial)},
		Logger:      zap.NewNop(),
	})
	return client, &dials, err
}

// largeReads does thousands of calls on one connection: values of 1 MB, ranges and range streams of
// 8 MB, watches of large events, small calls beside them.
func largeReads(ctx context.Context, outer *clientv3.Client) error {
	c, dials, err := counting(outer)
	if err != nil {
		return err
	}
	defer c.Close()
	value := bytes.Repeat([]byte{'v'}, largeBytes)
	for i := range largeKeys {
		if _, err := c.Put(ctx, fmt.Sprintf("go/large/%d", i), string(value)); err != nil {
			return err
		}
	}
	var group sync.WaitGroup
	found := make(chan error, 16)
	run := func(count int, work func(i int) error) {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range count {
				if err := work(i); err != nil {
					found <- err
					return
				}
			}
		}()
	}
	for range 4 {
		run(100, func(i int) error { return expectLarge(ctx, c, i%largeKeys) })
	}
	run(30, func(int) error { return expectRange(ctx, c) })
	run(15, func(int) error { return expectStream(ctx, c) })
	run(2000, func(int) error {
		_, err := c.Get(ctx, "go/large/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		return err
	})
	for range 3 {
		run(1, func(int) error { return expectLargeEvents(ctx, c, value) })
	}
	group.Wait()
	close(found)
	if err := <-found; err != nil {
		return err
	}
	if _, err := c.Delete(ctx, "go/large", clientv3.WithPrefix()); err != nil {
		return err
	}
	if count := dials.Load(); count != 1 {
		return fmt.Errorf("it took %d connections, so the client was sent away", count)
	}
	return nil
}

func expectLarge(ctx context.Context, c *clientv3.Client, key int) error {
	got, err := c.Get(ctx, fmt.Sprintf("go/large/%d", key))
	if err != nil {
		return err
	}
	if len(got.Kvs) != 1 || len(got.Kvs[0].Value) != largeBytes {
		return fmt.Errorf("read %d keys", len(got.Kvs))
	}
	return nil
}

func expectRange(ctx context.Context, c *clientv3.Client) error {
	got, err := c.Get(ctx, "go/large/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	if len(got.Kvs) != largeKeys {
		return fmt.Errorf("a range of %d keys", len(got.Kvs))
	}
	return nil
}

func expectStream(ctx context.Context, c *clientv3.Client) error {
	stream, err := c.GetStream(ctx, "go/large/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	merged, err := clientv3.GetStreamToGetResponse(stream)
	if err != nil {
		return err
	}
	if len(merged.Kvs) != largeKeys {
		return fmt.Errorf("a stream of %d keys", len(merged.Kvs))
	}
	return nil
}

// expectLargeEvents watches while somebody puts large values.
func expectLargeEvents(ctx context.Context, c *clientv3.Client, value []byte) error {
	const puts = 16
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first, err := c.Put(ctx, "go/large-events", "first")
	if err != nil {
		return err
	}
	watch := c.Watch(ctx, "go/large-events", clientv3.WithRev(first.Header.Revision+1))
	failed := make(chan error, 1)
	go func() {
		for range puts {
			if _, err := c.Put(ctx, "go/large-events", string(value)); err != nil {
				failed <- err
				return
			}
		}
	}()
	for seen := 0; seen < puts; {
		select {
		case err := <-failed:
			return err
		case response, open := <-watch:
			if !open || response.Err() != nil {
				return fmt.Errorf("the watch ended after %d events: %v", seen, response.Err())
			}
			seen += len(response.Events)
		case <-time.After(20 * time.Second):
			return fmt.Errorf("nothing more after %d large events", seen)
		}
	}
	return nil
}

// compressed calls with gzip both ways, and with an encoding that no server has.
func compressed(ctx context.Context, c *clientv3.Client) error {
	kv := etcdserverpb.NewKVClient(c.ActiveConnection())
	squeezed := grpc.UseCompressor(gzip.Name)
	value := bytes.Repeat([]byte("a value that repeats itself "), 4000)
	put := &etcdserverpb.PutRequest{Key: []byte("go/gzip"), Value: value}
	if _, err := kv.Put(ctx, put, squeezed); err != nil {
		return err
	}
	got, err := kv.Range(ctx, &etcdserverpb.RangeRequest{Key: []byte("go/gzip")}, squeezed)
	if err != nil {
		return err
	}
	if len(got.Kvs) != 1 || !bytes.Equal(got.Kvs[0].Value, value) {
		return fmt.Errorf("a compressed value came back as %d keys", len(got.Kvs))
	}
	bomb := &etcdserverpb.PutRequest{Key: []byte("go/gzip"), Value: make([]byte, 16<<20)}
	if _, err := kv.Put(ctx, bomb, squeezed); status.Code(err) != codes.ResourceExhausted {
		return fmt.Errorf("16 MiB of zeros in a small message: %v", err)
	}
	watches := etcdserverpb.NewWatchClient(c.ActiveConnection())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := watches.Watch(ctx, squeezed)
	if err != nil {
		return err
	}
	create := &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: &etcdserverpb.WatchCreateRequest{
		Key: []byte("go/gzip"), StartRevision: got.Kvs[0].ModRevision,
	}}
	if err := stream.Send(&etcdserverpb.WatchRequest{RequestUnion: create}); err != nil {
		return err
	}
	for {
		told, err := stream.Recv()
		if err != nil {
			return err
		}
		if len(told.Events) > 0 {
			if !bytes.Equal(told.Events[0].Kv.Value, value) {
				return fmt.Errorf("a compressed event of %v", told.Events[0].Kv)
			}
			return nil
		}
	}
}
