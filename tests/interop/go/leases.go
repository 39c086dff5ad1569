package main

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func leases(ctx context.Context, c *clientv3.Client) error {
	granted, err := c.Grant(ctx, 60)
	if err != nil {
		return err
	}
	for _, key := range []string{"go/lease/b", "go/lease/a"} {
		if _, err := c.Put(ctx, key, "v", clientv3.WithLease(granted.ID)); err != nil {
			return err
		}
	}
	left, err := c.TimeToLive(ctx, granted.ID, clientv3.WithAttachedKeys())
	if err != nil {
		return err
	}
	if left.GrantedTTL != 60 || left.TTL <= 30 || left.TTL > 60 || len(left.Keys) != 2 {
		return fmt.Errorf("time to live: %v", left)
	}
	listed, err := c.Leases(ctx)
	if err != nil {
		return err
	}
	found := false
	for _, lease := range listed.Leases {
		found = found || lease.ID == granted.ID
	}
	if !found {
		return fmt.Errorf("%x is not in %v", granted.ID, listed.Leases)
	}
	once, err := c.KeepAliveOnce(ctx, granted.ID)
	if err != nil {
		return err
	}
	if once.TTL != 60 {
		return fmt.Errorf("kept alive: %v", once)
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := c.Watch(watching, "go/lease/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-watch
	if _, err := c.Revoke(ctx, granted.ID); err != nil {
		return err
	}
	if err := expectEvents(watch, "delete lease/a", "delete lease/b"); err != nil {
		return err
	}
	if _, err := c.Revoke(ctx, granted.ID); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("revoked again: %v", err)
	}
	if _, err := c.KeepAliveOnce(ctx, granted.ID); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("a revoked lease is kept alive: %v", err)
	}
	gone, err := c.TimeToLive(ctx, granted.ID)
	if err != nil {
		return err
	}
	if gone.TTL != -1 {
		return fmt.Errorf("a revoked lease lives: %v", gone)
	}
	_, err = c.Put(ctx, "go/lease/a", "v", clientv3.WithLease(granted.ID))
	if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("a put with a revoked lease: %v", err)
	}
	return nil
}

// expiry lets one lease end while another of the same TTL is kept alive.
func expiry(ctx context.Context, c *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kept, err := c.Grant(ctx, 2)
	if err != nil {
		return err
	}
	left, err := c.Grant(ctx, 2)
	if err != nil {
		return err
	}
	alive, err := c.KeepAlive(ctx, kept.ID)
	if err != nil {
		return err
	}
	watch := c.Watch(ctx, "go/expiry/", clientv3.WithPrefix())
	for key, lease := range map[string]clientv3.LeaseID{"kept": kept.ID, "left": left.ID} {
		if _, err := c.Put(ctx, "go/expiry/"+key, "v", clientv3.WithLease(lease)); err != nil {
			return err
		}
	}
	seen, err := events(watch, 3)
	if err != nil {
		return err
	}
	if seen[2] != "delete expiry/left" {
		return fmt.Errorf("the lease that nobody kept: %v", seen)
	}
	answers := 0
	for len(alive) > 0 {
		if answer := <-alive; answer == nil || answer.TTL != 2 {
			return fmt.Errorf("kept alive: %v", answer)
		}
		answers++
	}
	got, err := c.Get(ctx, "go/expiry/kept")
	if err != nil {
		return err
	}
	if answers == 0 || len(got.Kvs) != 1 || got.Kvs[0].Lease != int64(kept.ID) {
		return fmt.Errorf("after %d answers the kept lease has %v", answers, got.Kvs)
	}
	_, err = c.Revoke(ctx, kept.ID)
	return err
}
