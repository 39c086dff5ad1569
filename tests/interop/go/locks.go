package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// counted adds one to a key without a txn: only a lock makes that right.
func counted(ctx context.Context, c *clientv3.Client, key string) error {
	got, err := c.Get(ctx, key)
	if err != nil {
		return err
	}
	value := 0
	if len(got.Kvs) == 1 {
		value, _ = strconv.Atoi(string(got.Kvs[0].Value))
	}
	_, err = c.Put(ctx, key, strconv.Itoa(value+1))
	return err
}

func expectCount(ctx context.Context, c *clientv3.Client, key string, expected int) error {
	got, err := c.Get(ctx, key)
	if err != nil {
		return err
	}
	if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != strconv.Itoa(expected) {
		return fmt.Errorf("%s should be %d: %v", key, expected, got.Kvs)
	}
	return nil
}

// mutex is the lock that the client makes of keys, leases and watches.
func mutex(ctx context.Context, c *clientv3.Client) error {
	err := workAll(func(int) error {
		session, err := concurrency.NewSession(c, concurrency.WithTTL(10))
		if err != nil {
			return err
		}
		defer session.Close()
		mutex := concurrency.NewMutex(session, "go/mutex")
		for range 5 {
			if err := mutex.Lock(ctx); err != nil {
				return err
			}
			if err := counted(ctx, c, "go/mutex-count"); err != nil {
				return err
			}
			if err := mutex.Unlock(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := expectCount(ctx, c, "go/mutex-count", workers*5); err != nil {
		return err
	}
	session, err := concurrency.NewSession(c)
	if err != nil {
		return err
	}
	defer session.Close()
	held := concurrency.NewMutex(session, "go/mutex")
	if err := held.Lock(ctx); err != nil {
		return err
	}
	other, err := concurrency.NewSession(c)
	if err != nil {
		return err
	}
	defer other.Close()
	if err := concurrency.NewMutex(other, "go/mutex").TryLock(ctx); !errors.Is(err, concurrency.ErrLocked) {
		return fmt.Errorf("trying a lock that is held: %v", err)
	}
	return nil
}

// lockService is the lock that the server makes.
func lockService(ctx context.Context, c *clientv3.Client) error {
	locks := v3lockpb.NewLockClient(c.ActiveConnection())
	err := workAll(func(int) error {
		granted, err := c.Grant(ctx, 30)
		if err != nil {
			return err
		}
		for range 5 {
			request := &v3lockpb.LockRequest{Name: []byte("go/lock"), Lease: int64(granted.ID)}
			locked, err := locks.Lock(ctx, request)
			if err != nil {
				return err
			}
			if string(locked.Key) != fmt.Sprintf("go/lock/%x", granted.ID) {
				return fmt.Errorf("locked with %s", locked.Key)
			}
			if err := counted(ctx, c, "go/lock-count"); err != nil {
				return err
			}
			if _, err := locks.Unlock(ctx, &v3lockpb.UnlockRequest{Key: locked.Key}); err != nil {
				return err
			}
		}
		_, err = c.Revoke(ctx, granted.ID)
		return err
	})
	if err != nil {
		return err
	}
	if err := expectCount(ctx, c, "go/lock-count", workers*5); err != nil {
		return err
	}
	locked, err := locks.Lock(ctx, &v3lockpb.LockRequest{Name: []byte("go/lock")})
	if err != nil {
		return err
	}
	// Who goes away while waiting leaves nothing behind.
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	left := make(chan error, 1)
	watch := c.Watch(ctx, "go/lock/", clientv3.WithPrefix(), clientv3.WithRev(locked.Header.Revision+1))
	go func() {
		_, err := locks.Lock(waiting, &v3lockpb.LockRequest{Name: []byte("go/lock")})
		left <- err
	}()
	seen, err := events(watch, 1)
	if err != nil {
		return err
	}
	cancel()
	if err := <-left; status.Code(err) != codes.Canceled {
		return fmt.Errorf("leaving a lock: %v", err)
	}
	gone, err := events(watch, 1)
	if err != nil {
		return err
	}
	if "put"+gone[0][len("delete"):]+"=" != seen[0] {
		return fmt.Errorf("%v, then %v", seen, gone)
	}
	_, err = locks.Unlock(ctx, &v3lockpb.UnlockRequest{Key: locked.Key})
	return err
}

// election is the one that the client makes.
func election(ctx context.Context, c *clientv3.Client) error {
	sessions := make([]*concurrency.Session, 2)
	for i := range sessions {
		session, err := concurrency.NewSession(c, concurrency.WithTTL(10))
		if err != nil {
			return err
		}
		defer session.Close()
		sessions[i] = session
	}
	first := concurrency.NewElection(sessions[0], "go/election")
	second := concurrency.NewElection(sessions[1], "go/election")
	if _, err := first.Leader(ctx); !errors.Is(err, concurrency.ErrElectionNoLeader) {
		return fmt.Errorf("nobody leads: %v", err)
	}
	if err := first.Campaign(ctx, "one"); err != nil {
		return err
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	observed := second.Observe(watching)
	if leader := <-observed; string(leader.Kvs[0].Value) != "one" {
		return fmt.Errorf("observed %v", leader.Kvs)
	}
	won := make(chan error, 1)
	go func() { won <- second.Campaign(ctx, "two") }()
	if err := first.Proclaim(ctx, "still one"); err != nil {
		return err
	}
	if leader := <-observed; string(leader.Kvs[0].Value) != "still one" {
		return fmt.Errorf("observed %v", leader.Kvs)
	}
	select {
	case err := <-won:
		return fmt.Errorf("two leaders: %v", err)
	default:
	}
	// The end of a session is the end of its leadership.
	if err := sessions[0].Close(); err != nil {
		return err
	}
	if err := <-won; err != nil {
		return err
	}
	if leader := <-observed; string(leader.Kvs[0].Value) != "two" {
		return fmt.Errorf("observed %v", leader.Kvs)
	}
	if err := first.Proclaim(ctx, "again"); err == nil {
		return errors.New("who leads no more proclaims")
	}
	return second.Resign(ctx)
}

// electionService is the one that the server makes.
func electionService(ctx context.Context, c *clientv3.Client) error {
	elections := v3electionpb.NewElectionClient(c.ActiveConnection())
	name := []byte("go/elected")
	_, err := elections.Leader(ctx, &v3electionpb.LeaderRequest{Name: name})
	if told := status.Convert(err); told.Code() != codes.Unknown || told.Message() != "election: no leader" {
		return fmt.Errorf("nobody leads: %v", err)
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	observed, err := elections.Observe(watching, &v3electionpb.LeaderRequest{Name: name})
	if err != nil {
		return err
	}
	one, err := elections.Campaign(ctx, &v3electionpb.CampaignRequest{Name: name, Value: []byte("one")})
	if err != nil {
		return err
	}
	if leader, err := observed.Recv(); err != nil || string(leader.Kv.Value) != "one" {
		return fmt.Errorf("observed %v, %v", leader, err)
	}
	won := make(chan error, 1)
	go func() {
		request := &v3electionpb.CampaignRequest{Name: name, Value: []byte("two")}
		_, err := elections.Campaign(ctx, request)
		won <- err
	}()
	proclaim := &v3electionpb.ProclaimRequest{Leader: one.Leader, Value: []byte("still one")}
	if _, err := elections.Proclaim(ctx, proclaim); err != nil {
		return err
	}
	if leader, err := observed.Recv(); err != nil || string(leader.Kv.Value) != "still one" {
		return fmt.Errorf("observed %v, %v", leader, err)
	}
	if _, err := elections.Resign(ctx, &v3electionpb.ResignRequest{Leader: one.Leader}); err != nil {
		return err
	}
	if err := <-won; err != nil {
		return err
	}
	if leader, err := observed.Recv(); err != nil || string(leader.Kv.Value) != "two" {
		return fmt.Errorf("observed %v, %v", leader, err)
	}
	_, err = elections.Proclaim(ctx, proclaim)
	if told := status.Convert(err); told.Message() != "election: not leader" {
		return fmt.Errorf("who leads no more proclaims: %v", err)
	}
	return nil
}
