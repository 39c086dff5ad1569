//go:build tools

// The programs that `tests/interop/run` builds from this module besides its own: etcdctl as a
// foreign client, and etcd itself, against which the programs and the table of cases are proven.
package main

import (
	_ "go.etcd.io/etcd/etcdctl/v3"
	_ "go.etcd.io/etcd/server/v3"
)
