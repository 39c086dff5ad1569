//go:build tools

// What `tests/interop/run h2spec` builds: a client that breaks the rules of HTTP/2 one by one.
package main

import _ "github.com/summerwind/h2spec/cmd/h2spec"
